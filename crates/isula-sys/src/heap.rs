//! The heap of a program that is asked much at times and nothing at others: dlmalloc, and a way to
//! give the kernel back what was freed in the middle of it.
//!
//! dlmalloc returns the end of its memory alone. What a hundred requests at once have taken and
//! freed lies between what lives on, and would stay with the program for good.

use std::{
    alloc::{GlobalAlloc, Layout},
    ptr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use dlmalloc::{Allocator, Dlmalloc};

/// Sizes of the pieces that free memory is looked for in: all are below the size that dlmalloc asks
/// the kernel for by itself, and the smallest has a whole page in it.
const PIECES: [usize; 5] = [128 << 10, 64 << 10, 32 << 10, 16 << 10, 8 << 10];
/// Enough for every type; what is larger is asked for with the page.
const ALIGNMENT: usize = 16;

static HEAP: Mutex<Dlmalloc<Kernel>> = Mutex::new(Dlmalloc::new_with_allocator(Kernel));
/// The heap gets nothing new from the kernel.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// The allocator, for `#[global_allocator]`.
#[derive(Debug)]
pub struct Heap;

fn heap() -> MutexGuard<'static, Dlmalloc<Kernel>> {
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

// SAFETY: dlmalloc gives memory of the layout that is asked for, or null, and is locked meanwhile.
// The lock is a futex: it allocates nothing.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the layout is valid.
        unsafe { heap().malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the layout is valid.
        unsafe { heap().calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller has it from here, with this layout.
        unsafe { heap().free(memory, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller has it from here, with this layout.
        unsafe { heap().realloc(memory, layout.size(), layout.align(), size) }
    }
}

/// The begin of a piece of free memory while it is held.
struct Piece {
    next: *mut Piece,
    size: usize,
}

/// Gives the kernel back the pages of the heap that nothing lives in. They cost memory again when
/// they are next used.
pub fn give_back() {
    let mut heap = heap();
    // What is free is taken piece by piece, until nothing is left to take.
    CLOSED.store(true, Ordering::Relaxed);
    let mut held: *mut Piece = ptr::null_mut();
    for size in PIECES {
        loop {
            // SAFETY: the size is not 0 and the alignment is a power of two.
            let piece: *mut Piece = unsafe { heap.malloc(size, ALIGNMENT) }.cast();
            if piece.is_null() {
                break;
            }
            // SAFETY: the memory is ours alone, aligned, and larger than a `Piece`.
            unsafe { piece.write(Piece { next: held, size }) };
            discard(piece);
            held = piece;
        }
    }
    while !held.is_null() {
        // SAFETY: it was written above, in a part that was not discarded.
        let Piece { next, size } = unsafe { held.read() };
        // SAFETY: it comes from the same heap, with this size and alignment.
        unsafe { heap.free(held.cast(), size, ALIGNMENT) };
        held = next;
    }
    CLOSED.store(false, Ordering::Relaxed);
    // SAFETY: the heap is locked.
    unsafe { heap.trim(0) };
}

/// Drops the whole pages of a piece behind its begin.
fn discard(piece: *mut Piece) {
    let page = rustix::param::page_size();
    // SAFETY: it was written before.
    let size = unsafe { (*piece).size };
    let begin = (piece.addr() + size_of::<Piece>()).next_multiple_of(page);
    let end = (piece.addr() + size) / page * page;
    if begin < end {
        let pages = piece.cast::<u8>().wrapping_add(begin - piece.addr());
        // SAFETY: the pages lie within the piece, which nobody else uses and nobody reads before it
        // is written again. Where the kernel refuses, they stay as they are.
        let _ = unsafe { libc::madvise(pages.cast(), end - begin, libc::MADV_DONTNEED) };
    }
}

/// Where dlmalloc has its memory from.
struct Kernel;

// SAFETY: `alloc` gives private pages of their own; the others change such pages alone.
unsafe impl Allocator for Kernel {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        const NONE: (*mut u8, usize, u32) = (ptr::null_mut(), 0, 0);
        if CLOSED.load(Ordering::Relaxed) {
            return NONE;
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: new pages, wherever the kernel wants them.
        let pages = unsafe { libc::mmap(ptr::null_mut(), size, access, kind, -1, 0) };
        if pages == libc::MAP_FAILED { NONE } else { (pages.cast(), size, 0) }
    }

    fn remap(&self, pages: *mut u8, size: usize, wanted: usize, may_move: bool) -> *mut u8 {
        let flags = if may_move { libc::MREMAP_MAYMOVE } else { 0 };
        // SAFETY: dlmalloc passes pages of `alloc` and forgets where they were.
        let pages = unsafe { libc::mremap(pages.cast(), size, wanted, flags) };
        if pages == libc::MAP_FAILED { ptr::null_mut() } else { pages.cast() }
    }

    fn free_part(&self, pages: *mut u8, size: usize, wanted: usize) -> bool {
        // SAFETY: dlmalloc has nothing in the pages behind `wanted` bytes.
        unsafe { libc::munmap(pages.wrapping_add(wanted).cast(), size - wanted) == 0 }
    }

    fn free(&self, pages: *mut u8, size: usize) -> bool {
        // SAFETY: dlmalloc has nothing in these pages any more.
        unsafe { libc::munmap(pages.cast(), size) == 0 }
    }

    fn can_release_part(&self, _: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        rustix::param::page_size()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// KiB of memory that is this process's own.
    fn resident() -> usize {
        let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn what_was_freed_in_the_middle_is_given_back_and_what_lives_stays_as_it_is() {
        const LAYOUT: Layout = Layout::new::<[u64; 300]>();
        let before = resident();
        let filled = |number: u64| {
            // SAFETY: the layout has a size.
            let memory = unsafe { Heap.alloc(LAYOUT) }.cast::<[u64; 300]>();
            assert!(!memory.is_null());
            // SAFETY: the memory is of that size, aligned, and nobody else's.
            unsafe { memory.write([number; 300]) };
            memory
        };
        // 24 MiB, of which one piece in a hundred lives on.
        let all: Vec<_> = (0..10_000).map(filled).collect();
        let full = resident();
        assert!(full > before + 20_000, "{before} {full}");
        let (kept, freed): (Vec<_>, Vec<_>) =
            all.into_iter().enumerate().partition(|(number, _)| number % 100 == 0);
        for (_, memory) in freed {
            // SAFETY: it comes from `filled`.
            unsafe { Heap.dealloc(memory.cast(), LAYOUT) };
        }
        for _ in 0..2 {
            give_back();
            let left = resident();
            assert!(left < before + 3000, "{before} {full} {left}");
        }
        for (number, memory) in kept {
            // SAFETY: it comes from `filled` and was not freed.
            let content = unsafe { memory.read() };
            assert_eq!(content, [number as u64; 300]);
            // SAFETY: nobody uses it any more.
            unsafe { Heap.dealloc(memory.cast(), LAYOUT) };
        }
        // And the heap serves as before.
        let again = filled(7);
        // SAFETY: it comes from `filled`; only the new place is used.
        let grown = unsafe { Heap.realloc(again.cast(), LAYOUT, 1 << 20) };
        // SAFETY: what was there has come along.
        assert_eq!(unsafe { grown.cast::<u64>().read() }, 7);
        // SAFETY: it has this size now.
        unsafe { Heap.dealloc(grown, Layout::from_size_align(1 << 20, 8).unwrap()) };
    }
}

//! Memory of this process.

use std::{ffi, io, ops::Range, slice};

/// Unmaps the pages of this program's text and constants. They stay in the page cache, where the
/// kernel may drop them, and each is mapped again when it is next needed: nothing changes but how
/// much memory this process holds on to.
///
/// Whole pages of those segments only that can't be written (elf(5), `PT_LOAD` without `PF_W`):
/// what the loader relocated is in none of them.
///
/// # Errors
/// madvise(2) refuses.
pub fn release_program() -> io::Result<()> {
    for range in constant_segments() {
        let (start, length) = (range.start as *mut ffi::c_void, range.len());
        // SAFETY: the range lies in a private mapping of the program's file that has never been
        // writable, so each page that is dropped is read again from the file with the same content.
        let done = unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The whole pages of the program's segments that can't be written, as addresses.
fn constant_segments() -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let data = (&raw mut found).cast();
    // SAFETY: `of_program` is called before this returns, with `data`, and with nothing else that
    // uses `found`.
    unsafe { libc::dl_iterate_phdr(Some(of_program), data) };
    found
}

/// Takes the first object, which is the program itself (dl_iterate_phdr(3)), and ends the iteration.
unsafe extern "C" fn of_program(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    data: *mut ffi::c_void,
) -> ffi::c_int {
    // SAFETY: `constant_segments` passes this type, and uses it only after the iteration.
    let found = unsafe { &mut *data.cast::<Vec<Range<usize>>>() };
    // SAFETY: the C library passes a valid object for the time of this call.
    let info = unsafe { &*info };
    // SAFETY: it has that many program headers, which are mapped as long as the program runs.
    let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let page = rustix::param::page_size();
    let base = usize::try_from(info.dlpi_addr).unwrap_or_default();
    let constant = |flags| flags & libc::PF_W == 0;
    for header in headers.iter().filter(|it| it.p_type == libc::PT_LOAD && constant(it.p_flags)) {
        let (Ok(address), Ok(size)) =
            (usize::try_from(header.p_vaddr), usize::try_from(header.p_filesz))
        else {
            continue;
        };
        let begin = base.wrapping_add(address);
        let (begin, end) = (begin.next_multiple_of(page), begin.wrapping_add(size) / page * page);
        if begin < end {
            found.push(begin..end);
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{constant_segments, release_program};

    #[test]
    fn what_is_released_is_the_programs_and_cannot_be_written() {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let program = fs::read_link("/proc/self/exe").unwrap();
        let segments = constant_segments();
        assert!(!segments.is_empty());
        let here = what_is_released_is_the_programs_and_cannot_be_written as fn() as usize;
        assert!(segments.iter().any(|segment| segment.contains(&here)));
        for segment in segments {
            let line = maps.lines().find(|line| {
                let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
                let address = |text| usize::from_str_radix(text, 16).unwrap();
                address(start) <= segment.start && segment.end <= address(end)
            });
            let line = line.unwrap_or_else(|| panic!("{segment:x?} is in no mapping:\n{maps}"));
            assert!(line.ends_with(program.to_str().unwrap()), "{line}");
            assert_eq!(line.split(' ').nth(1).unwrap().as_bytes()[1], b'-', "{line}");
        }
    }

    #[test]
    fn the_program_goes_on_after_its_pages_are_released() {
        let text = || "constants and code".to_owned().repeat(3);
        let before = text();
        release_program().unwrap();
        assert_eq!(text(), before);
    }
}

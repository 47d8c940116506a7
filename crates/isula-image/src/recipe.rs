//! What a layer's tar holds beside the content of its files, kept so that the tar can be made again
//! byte for byte from the unpacked layer (`docs/adr/0006-layers-are-written-again.md`).
//!
//! ```text
//! recipe   = zstd( magic record* end )
//! record   = 0 length bytes                                  (headers, padding, end mark)
//!          | 1 length path  count (offset length)*           (segments of a file of the layer)
//! end      = 2 length                                        (of the whole tar)
//! ```
//!
//! Numbers are LEB128. A recipe is no more trusted than the layer: what is made from it is hashed.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
};

use isula_sys::beneath::{self, Beneath, FileType, Links, writeback};

use crate::archive::{Entry, Kind, Reader, Segment};
use crate::unpack::path;

const MAGIC: &[u8] = b"isula-recipe-1\n";
const BYTES: u8 = 0;
const CONTENT: u8 = 1;
const END: u8 = 2;
/// A record of bytes is at most this long.
const PIECE: usize = 64 << 10;
/// The most bytes that a recipe stands for by itself; a layer that needs more gets none.
const LIMIT: u64 = 512 << 20;
/// The compressor's window, as a power of two: headers repeat soon, and memory is dear.
const WINDOW: u32 = 17;
const LEVEL: i32 = 1;
/// The longest name of a file, and the most segments of one.
const PATH_LIMIT: u64 = 1 << 20;
const SEGMENT_LIMIT: u64 = 1 << 16;
const BUFFER: usize = 128 << 10;

/// Writes a recipe.
struct Writer {
    output: zstd::Encoder<'static, File>,
    pending: Vec<u8>,
    own: u64,
}

impl Writer {
    fn new(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).open(path)?;
        let mut output = zstd::Encoder::new(file, LEVEL)?;
        output.window_log(WINDOW)?;
        output.include_checksum(true)?;
        output.write_all(MAGIC)?;
        Ok(Self { output, pending: Vec::new(), own: 0 })
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.own += bytes.len() as u64;
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        for piece in self.pending.chunks(PIECE) {
            self.output.write_all(&[BYTES])?;
            number(&mut self.output, piece.len() as u64)?;
            self.output.write_all(piece)?;
        }
        self.pending.clear();
        Ok(())
    }

    fn content(&mut self, path: &[u8], segments: &[Segment]) -> io::Result<()> {
        self.flush()?;
        self.own += path.len() as u64 + 16 * segments.len() as u64;
        self.output.write_all(&[CONTENT])?;
        number(&mut self.output, path.len() as u64)?;
        self.output.write_all(path)?;
        number(&mut self.output, segments.len() as u64)?;
        for segment in segments {
            number(&mut self.output, segment.offset)?;
            number(&mut self.output, segment.length)?;
        }
        Ok(())
    }

    /// Completes the recipe, and has it on the disk as the files of the layer are.
    fn finish(mut self, path: &Path, total: u64) -> io::Result<()> {
        self.flush()?;
        self.output.write_all(&[END])?;
        number(&mut self.output, total)?;
        let file = self.output.finish()?;
        match writeback::guarantee(path) {
            writeback::Guarantee::OneCommit => {
                writeback::start(&file)?;
                writeback::finish(&file)
            }
            writeback::Guarantee::EachFile => writeback::sync(&file),
        }
    }
}

fn number(output: &mut impl Write, mut value: u64) -> io::Result<()> {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            return output.write_all(&[low]);
        }
        output.write_all(&[low | 0x80])?;
    }
}

/// A reader that writes the recipe of the tar that is read through it.
pub(crate) struct Recording<R> {
    input: R,
    writer: Option<Writer>,
    /// Bytes to come that are the content of a file.
    content: u64,
    total: u64,
    failure: Option<io::Error>,
}

impl<R: BufRead> Recording<R> {
    /// Writes the recipe to a new file at `path`.
    ///
    /// # Errors
    /// The file can't be made.
    pub(crate) fn new(input: R, path: &Path) -> io::Result<Self> {
        let writer = Some(Writer::new(path)?);
        Ok(Self { input, writer, content: 0, total: 0, failure: None })
    }

    /// Takes note of the content of `entry`, of which `stored` bytes are next.
    fn entry(&mut self, entry: &Entry, stored: u64) {
        let (Some(writer), Kind::File { size, sparse }) = (&mut self.writer, &entry.kind) else {
            return;
        };
        // What does not become a file (a whiteout, say) has its bytes here.
        let Some(path) = path::clean(&entry.path) else { return };
        if stored == 0 || path::components(&path).any(|part| part.starts_with(b".wh.")) {
            return;
        }
        let whole = [Segment { offset: 0, length: *size }];
        let noted = writer.content(&path, sparse.as_deref().unwrap_or(&whole));
        self.content = stored;
        self.note(noted);
    }

    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.writer = None;
            self.failure = Some(error);
        } else if self.writer.as_ref().is_some_and(|writer| writer.own > LIMIT) {
            self.writer = None;
        }
    }

    /// Reads to the end (what comes after more than `limit` bytes is left), and completes the recipe
    /// at `path`; says how long the tar is, or `None` where its recipe would be too long. Gives back
    /// the reader too.
    ///
    /// # Errors
    /// As the input's; the recipe can't be written.
    pub(crate) fn finish(mut self, path: &Path, limit: u64) -> io::Result<(R, Option<u64>)> {
        let mut left = limit;
        let whole = loop {
            let length = self.fill_buf()?.len();
            if length == 0 || left == 0 {
                break length == 0;
            }
            left = left.saturating_sub(length as u64);
            self.consume(length);
        };
        if let Some(error) = self.failure {
            return Err(error);
        }
        let recorded = (whole && self.writer.is_some()).then_some(self.total);
        if let Some(writer) = self.writer {
            writer.finish(path, self.total)?;
        }
        Ok((self.input, recorded))
    }
}

/// Notes for [`crate::unpack::unpack_noting`].
pub(crate) fn note<R: BufRead>(archive: &mut Reader<Recording<R>>, entry: &Entry) {
    let stored = archive.stored();
    archive.input_mut().entry(entry, stored);
}

impl<R: BufRead> BufRead for Recording<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        let skipped = usize::try_from(self.content).unwrap_or(usize::MAX).min(amount);
        self.content -= skipped as u64;
        self.total += amount as u64;
        if skipped < amount
            && let Some(writer) = &mut self.writer
        {
            // What is consumed is in the buffer: nothing is read here.
            let written = self
                .input
                .fill_buf()
                .and_then(|buffer| writer.bytes(buffer.get(skipped..amount).unwrap_or_default()));
            self.note(written);
        }
        self.input.consume(amount);
    }
}

impl<R: BufRead> Read for Recording<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

/// Writes the tar of the layer whose unpacked tree is at `diff`, and whose recipe is at `recipe`.
///
/// # Errors
/// As the output's; `InvalidData` when the recipe or a file of the layer is damaged.
pub(crate) fn replay(recipe: &Path, diff: &Path, output: &mut impl Write) -> io::Result<()> {
    let mut input = zstd::Decoder::new(File::open(recipe)?)?;
    input.window_log_max(WINDOW)?;
    let mut input = BufReader::with_capacity(PIECE, input);
    let layer = Beneath::open(diff)?;
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(damaged("it is of an unknown version"));
    }
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let mut tag = [0];
        input.read_exact(&mut tag)?;
        match tag {
            [BYTES] => {
                let length = read_number(&mut input, PIECE as u64)?;
                copy(&mut input, length, output, &mut buffer)?;
                total += length;
            }
            [CONTENT] => total += content(&mut input, &layer, output, &mut buffer)?,
            [END] if read_number(&mut input, u64::MAX)? == total => return Ok(()),
            _ => return Err(damaged("it is malformed")),
        }
    }
}

fn content(
    input: &mut impl Read,
    layer: &Beneath,
    output: &mut impl Write,
    buffer: &mut [u8],
) -> io::Result<u64> {
    let length = read_number(input, PATH_LIMIT)?;
    let mut path = Vec::new();
    input.by_ref().take(length).read_to_end(&mut path)?;
    let shown = || String::from_utf8_lossy(&path).into_owned();
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            damaged(&format!("its file {:?} is missing", shown()))
        }
        _ => error,
    };
    let mut file = layer.open_read(&path, Links::InRoot).map_err(missing)?;
    if beneath::kind(&beneath::stat_fd(&file)?) != FileType::RegularFile {
        return Err(damaged(&format!("its {:?} is no regular file", shown())));
    }
    let mut total = 0;
    for _ in 0..read_number(input, SEGMENT_LIMIT)? {
        let offset = read_number(input, u64::MAX)?;
        let length = read_number(input, u64::MAX)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
        copy(&mut file, length, output, buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(&format!("its file {:?} is shorter", shown())),
            _ => error,
        })?;
        total += length;
    }
    Ok(total)
}

fn read_number(input: &mut impl Read, limit: u64) -> io::Result<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        let [byte] = byte;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return if value <= limit { Ok(value) } else { Err(damaged("a number is too large")) };
        }
    }
    Err(damaged("a number is too long"))
}

/// Copies exactly so many bytes.
///
/// # Errors
/// `UnexpectedEof` when there are fewer; as the output's.
pub(crate) fn copy(
    input: &mut impl Read,
    length: u64,
    output: &mut impl Write,
    buffer: &mut [u8],
) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..most).unwrap_or_default();
        let read = match input.read(part) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        };
        output.write_all(part.get(..read).unwrap_or_default())?;
        left -= read as u64;
    }
    Ok(())
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

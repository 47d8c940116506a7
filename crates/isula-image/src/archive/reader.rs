//! Reading an archive entry by entry.

use std::io::{self, BufRead, Read};

use super::{
    BLOCK, EXTENSION_LIMIT, EXTENSIONS_LIMIT, Entry, Error, Kind, header::Header, pax, shown,
    sparse,
};

/// Reads a tar from front to back in bounded memory.
pub(crate) struct Reader<R> {
    input: R,
    /// Bytes of the archive consumed.
    position: u64,
    /// Bytes of the current entry's data that are left, and of the padding after it.
    data: u64,
    padding: u64,
    ended: bool,
}

/// What the headers before an entry said of it.
#[derive(Default)]
struct Extensions {
    pax: pax::Extended,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, position: 0, data: 0, padding: 0, ended: false }
    }

    /// Where the next byte (of the current entry's data, say) is in the archive.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Whether the archive's end mark was seen.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many bytes of the current entry's data are left.
    pub(crate) fn stored(&self) -> u64 {
        self.data
    }

    /// What is read from.
    pub(crate) fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// The bytes after the archive.
    pub(crate) fn into_rest(self) -> R {
        self.input
    }

    /// The next entry; what is left of the last one's data is skipped.
    ///
    /// # Errors
    /// The archive is cut off or malformed, or can't be read.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let mut extensions = Extensions::default();
        let mut extended = 0;
        loop {
            self.skip()?;
            let Some(block) = self.header_block()? else {
                return match extended {
                    0 => Ok(None),
                    _ => Err(Error::Truncated),
                };
            };
            let header = Header::new(block)?;
            let flag = header.type_flag();
            extended += 1;
            if extended > EXTENSIONS_LIMIT {
                return Err(Error::Header("an entry has too many extended headers"));
            }
            match flag {
                b'x' => extensions.pax = pax::Extended::parse(&self.extension(&header)?)?,
                b'g' => pax::check_global(&self.extension(&header)?)?,
                b'L' => extensions.path = Some(long_name(self.extension(&header)?)?),
                b'K' => extensions.link = Some(long_name(self.extension(&header)?)?),
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    /// The next block, or `None` at the end of the archive: two zero blocks, or nothing.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        if self.ended {
            return Ok(None);
        }
        let Some(block) = self.block()? else { return Ok(None) };
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        self.ended = true;
        match self.block()? {
            Some(second) if second != [0; BLOCK] => {
                Err(Error::Header("a lone block of zeros is followed by more entries"))
            }
            _ => Ok(None),
        }
    }

    /// A whole block; `None` when the input ends before its first byte.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        if self.input.fill_buf().map_err(Error::from)?.is_empty() {
            return Ok(None);
        }
        self.input.read_exact(&mut block)?;
        self.position += BLOCK as u64;
        Ok(Some(block))
    }

    /// The data of an extension header.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let size = header.size().ok_or(Error::Header("a size is no number"))?;
        if size > EXTENSION_LIMIT {
            return Err(Error::Header("an extended header or long name is larger than 1 MiB"));
        }
        self.announce(size);
        let mut bytes = Vec::new();
        self.data().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn announce(&mut self, size: u64) {
        self.data = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, Error> {
        let Extensions { pax, path, link } = extensions;
        let path = pax.path.or(path).unwrap_or_else(|| header.path());
        let name = path.clone();
        let error = move |why| Error::Entry { name: shown(&name), why };
        let number = |value: Option<i64>, field| {
            let id = value.and_then(|value| u32::try_from(value).ok());
            // -1 means "leave it" to chown(2).
            id.filter(|id| *id != u32::MAX).ok_or_else(|| error(field))
        };
        let mut entry = Entry {
            path,
            kind: Kind::Directory,
            mode: number(header.mode(), "its mode is no number")? & 0o7777,
            uid: number(pax.uid.or_else(|| header.uid()), "its user id is out of range")?,
            gid: number(pax.gid.or_else(|| header.gid()), "its group id is out of range")?,
            modified: match (pax.modified, header.modified()) {
                (Some(time), _) => time,
                (None, Some(seconds)) => (seconds, 0),
                (None, None) => return Err(error("its time is no number")),
            },
            xattrs: pax.xattrs,
        };
        let link = pax.link.or(link).unwrap_or_else(|| header.link());
        let device = || header.device().ok_or_else(|| error("its device number is no number"));
        self.announce(0);
        entry.kind = match header.type_flag() {
            0 if entry.path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => {
                let size = pax.size.or_else(|| header.size());
                let size = size.ok_or_else(|| error("its size is no number"))?;
                self.announce(size);
                if let Some(name) = &pax.sparse.name {
                    entry.path.clone_from(name);
                }
                self.file(header, pax.sparse, size)?
            }
            b'1' if !link.is_empty() => Kind::Hardlink(link),
            b'2' if !link.is_empty() => Kind::Symlink(link),
            b'1' | b'2' => return Err(error("it is a link to nothing")),
            b'3' => device().map(|(major, minor)| Kind::Character(major, minor))?,
            b'4' => device().map(|(major, minor)| Kind::Block(major, minor))?,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return Err(error("it is of an unknown type")),
        };
        Ok(entry)
    }

    /// A regular file, whose map is read if it is sparse.
    fn file(
        &mut self,
        header: &Header,
        records: pax::SparseRecords,
        size: u64,
    ) -> Result<Kind, Error> {
        let malformed = Error::Header("a sparse file has a malformed map");
        if header.type_flag() == b'S' {
            let (map, real_size, read) = sparse::old(header.bytes(), &mut self.input)?;
            self.position += read;
            let segments = sparse::check(map, real_size, size)?;
            return Ok(Kind::File { size: real_size, sparse: Some(segments) });
        }
        if !records.is_used() {
            return Ok(Kind::File { size, sparse: None });
        }
        let real_size = records.real_size.ok_or(malformed)?;
        let map = match (records.major, records.minor, records.map) {
            (Some(1), Some(0), None) => sparse::in_data(&mut self.data())?.0,
            (None | Some(0), None | Some(0 | 1), Some(map)) => map,
            _ => return Err(Error::Header("a sparse file is of an unknown version")),
        };
        let segments = sparse::check(map, real_size, self.data)?;
        Ok(Kind::File { size: real_size, sparse: Some(segments) })
    }

    /// The stored data of the current entry.
    pub(crate) fn data(&mut self) -> Data<'_, R> {
        Data { reader: self }
    }

    fn skip(&mut self) -> Result<(), Error> {
        self.data += std::mem::take(&mut self.padding);
        while self.data > 0 {
            let length = self.data().fill_buf()?.len();
            self.data().consume(length);
        }
        Ok(())
    }
}

fn long_name(bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    let name = super::header::text(&bytes);
    match name.is_empty() {
        true => Err(Error::Header("a long name is empty")),
        false => Ok(name.to_vec()),
    }
}

/// The data of one entry, to its end.
pub(crate) struct Data<'a, R> {
    reader: &'a mut Reader<R>,
}

impl<R: BufRead> BufRead for Data<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let left = self.reader.data;
        if left == 0 {
            return Ok(&[]);
        }
        let available = self.reader.input.fill_buf()?;
        if available.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(available.len());
        Ok(available.get(..length).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.reader.input.consume(amount);
        self.reader.data -= amount as u64;
        self.reader.position += amount as u64;
    }
}

impl<R: BufRead> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

//! Tars byte by byte; nothing is checked.

/// An archive under construction.
#[derive(Default, Clone)]
pub struct Tar(Vec<u8>);

impl Tar {
    /// A header with a name, a kind, a target and a size, changed at will, and then its data.
    pub fn entry(
        mut self,
        (name, kind, link): (&[u8], u8, &[u8]),
        data: &[u8],
        change: impl FnOnce(&mut [u8; 512]),
    ) -> Self {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &name[..name.len().min(100)]);
        put(100, if kind == b'5' { b"0000755" } else { b"0000644" });
        put(108, b"0000000\x000000000\0");
        put(124, format!("{:011o}", data.len()).as_bytes());
        put(136, b"14000000000\0");
        put(156, &[kind]);
        put(157, &link[..link.len().min(100)]);
        put(257, b"ustar\x0000");
        change(&mut block);
        if block[148] == 0 {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
        self.0.extend(block);
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn raw(self, name: &[u8], kind: u8, link: &[u8], data: &[u8]) -> Self {
        self.entry((name, kind, link), data, |_| {})
    }

    pub fn file(self, name: &str, data: &[u8]) -> Self {
        self.raw(name.as_bytes(), b'0', b"", data)
    }

    pub fn dir(self, name: &str) -> Self {
        self.raw(name.as_bytes(), b'5', b"", b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.with_link(name, b'2', target)
    }

    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.with_link(name, b'1', target)
    }

    fn with_link(self, name: &str, kind: u8, target: &str) -> Self {
        let tar = match target.len() > 100 {
            true => self.pax(&[("linkpath", target.as_bytes())]),
            false => self,
        };
        tar.raw(name.as_bytes(), kind, target.as_bytes(), b"")
    }

    pub fn device(self, name: &str, kind: u8, (major, minor): (u32, u32)) -> Self {
        self.entry((name.as_bytes(), kind, b""), b"", |block| {
            block[329..336].copy_from_slice(format!("{major:07o}").as_bytes());
            block[337..344].copy_from_slice(format!("{minor:07o}").as_bytes());
        })
    }

    /// A file whose name is too long for a header, or odd.
    pub fn named(self, name: &[u8], kind: u8, data: &[u8]) -> Self {
        self.pax(&[("path", name)]).raw(b"x", kind, b"", data)
    }

    /// An extended header for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.extended(b'x', records)
    }

    pub fn extended(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let mut all = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            all.extend(format!("{length} {key}=").bytes());
            all.extend(*value);
            all.push(b'\n');
        }
        self.raw(b"PaxHeaders/x", kind, b"", &all)
    }

    /// The archive with these bytes behind it.
    pub fn open_with(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Without an end mark.
    pub fn open(self) -> Vec<u8> {
        self.0
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

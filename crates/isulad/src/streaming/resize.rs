//! Sizes of a terminal as clients send them: JSON objects in a row, cut anywhere.

use isula_core::ports::TerminalSize;
use serde::Deserialize;

/// Bytes that one object may have.
const LIMIT: usize = 1024;

/// The size as Kubernetes writes it.
#[derive(Deserialize)]
struct Size {
    #[serde(rename = "Width")]
    width: u16,
    #[serde(rename = "Height")]
    height: u16,
}

/// Collects the pieces.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    begun: Vec<u8>,
}

impl Sizes {
    /// The last size that is complete with these bytes. What cannot be one is dropped: a client whose
    /// sizes are garbage keeps its terminal.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<TerminalSize> {
        let mut last = None;
        for byte in bytes {
            self.begun.push(*byte);
            if *byte == b'}' {
                if let Ok(Size { width, height }) = serde_json::from_slice(&self.begun) {
                    last = Some(TerminalSize { rows: height, columns: width });
                }
                self.begun.clear();
            } else if self.begun.len() >= LIMIT {
                self.begun.clear();
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::Sizes;
    use isula_core::ports::TerminalSize;

    #[test]
    fn sizes_are_read_from_pieces_and_garbage_is_passed_over() {
        let mut sizes = Sizes::default();
        let size = |rows, columns| Some(TerminalSize { rows, columns });
        assert_eq!(sizes.push(br#"{"Width":80,"Hei"#), None);
        assert_eq!(sizes.push(b"ght\":24}\n"), size(24, 80));
        assert_eq!(sizes.push(br#"{"Width":1,"Height":2}{"Width":3,"Height":4}"#), size(4, 3));
        assert_eq!(sizes.push(br#"{"Width":99999,"Height":4}"#), None);
        assert_eq!(sizes.push(b"}}}{{{\xff"), None);
        assert_eq!(sizes.push(&[b'x'; 1 << 16]), None);
        assert!(sizes.begun.len() < super::LIMIT);
        assert_eq!(sizes.push(b"}"), None);
        assert_eq!(sizes.push(br#"{"Width":5,"Height":6}"#), size(6, 5));
    }
}

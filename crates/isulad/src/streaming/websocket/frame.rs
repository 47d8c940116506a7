//! Messages: the number of a channel, then bytes; or both as text.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::Message;

/// Text begins with the digit of the channel.
const DIGIT: u8 = b'0';

/// How bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::streaming) enum Coding {
    Binary,
    Base64,
}

impl Coding {
    /// A message for the client.
    pub(super) fn pack(self, channel: u8, bytes: &[u8]) -> Message {
        match self {
            Self::Binary => {
                let mut message = BytesMut::with_capacity(1 + bytes.len());
                message.put_u8(channel);
                message.put_slice(bytes);
                Message::Binary(message.freeze())
            }
            Self::Base64 => {
                let mut text = String::with_capacity(1 + bytes.len().div_ceil(3) * 4);
                text.push(char::from(DIGIT.saturating_add(channel)));
                STANDARD.encode_string(bytes, &mut text);
                Message::Text(text.into())
            }
        }
    }

    /// Channel and bytes of a message of the client's; none when it is empty or no base64.
    pub(super) fn unpack(self, mut message: Bytes) -> Option<(u8, Bytes)> {
        if message.is_empty() {
            return None;
        }
        let channel = *message.split_to(1).first()?;
        match self {
            Self::Binary => Some((channel, message)),
            Self::Base64 => {
                let bytes = STANDARD.decode(&message).ok()?;
                Some((channel.checked_sub(DIGIT)?, bytes.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Coding;
    use bytes::Bytes;
    use tokio_tungstenite::tungstenite::Message;

    #[test]
    fn messages_are_those_of_kubernetes() {
        assert_eq!(Coding::Binary.pack(1, b"hi"), Message::binary(&b"\x01hi"[..]));
        assert_eq!(Coding::Base64.pack(1, b"hi"), Message::text("1aGk="));
        assert_eq!(Coding::Base64.pack(3, b""), Message::text("3"));
        let unpack =
            |coding: Coding, bytes: &'static [u8]| coding.unpack(Bytes::from_static(bytes));
        assert_eq!(unpack(Coding::Binary, b"\x00hi"), Some((0, Bytes::from_static(b"hi"))));
        assert_eq!(unpack(Coding::Binary, b"\xff\x00"), Some((255, Bytes::from_static(b"\0"))));
        assert_eq!(unpack(Coding::Base64, b"0aGk="), Some((0, Bytes::from_static(b"hi"))));
        for garbage in [&b""[..], b"0a", b"!aGk=", b"0aG k="] {
            assert_eq!(unpack(Coding::Base64, garbage), None, "{garbage:?}");
        }
    }
}

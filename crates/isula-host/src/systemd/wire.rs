//! Messages of D-Bus as bytes, as far as systemd is asked for units (D-Bus Specification 0.43,
//! "Message Format" and "Marshaling"). All of it is little-endian: whoever speaks first chooses, and
//! the answers of another process on the same machine are in the same order.

/// The largest message of the specification.
const LIMIT: usize = 1 << 27;
/// The fixed part of a header.
pub const FIXED: usize = 16;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Codes of the fields of a header.
mod field {
    pub const PATH: u8 = 1;
    pub const INTERFACE: u8 = 2;
    pub const MEMBER: u8 = 3;
    pub const ERROR_NAME: u8 = 4;
    pub const REPLY_SERIAL: u8 = 5;
    pub const DESTINATION: u8 = 6;
    pub const SIGNATURE: u8 = 8;
}

/// A value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `b`.
    Bool(bool),
    /// `t`.
    Number(u64),
    /// `s`.
    Text(String),
    /// `ay`.
    Bytes(Vec<u8>),
    /// `au`.
    Numbers(Vec<u32>),
    /// `a(st)` with one element: a device and a number.
    Device(String, u64),
}

impl Value {
    const fn signature(&self) -> &'static str {
        match self {
            Self::Bool(_) => "b",
            Self::Number(_) => "t",
            Self::Text(_) => "s",
            Self::Bytes(_) => "ay",
            Self::Numbers(_) => "au",
            Self::Device(..) => "a(st)",
        }
    }
}

/// A property of a unit.
pub type Property = (&'static str, Value);

/// Bytes that are aligned from their beginning.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn u32(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.align(8);
        self.0.extend(number.to_le_bytes());
    }

    /// A text or an object's path.
    pub fn text(&mut self, text: &str) {
        self.u32(length(text.len()));
        self.0.extend(text.as_bytes());
        self.byte(0);
    }

    /// A truth.
    pub fn bool(&mut self, truth: bool) {
        self.u32(u32::from(truth));
    }

    fn signature(&mut self, text: &str) {
        self.byte(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.as_bytes());
        self.byte(0);
    }

    /// An array, whose elements have this alignment.
    fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.u32(0);
        let at = self.0.len();
        self.align(alignment);
        let begin = self.0.len();
        elements(self);
        let size = length(self.0.len() - begin).to_le_bytes();
        if let Some(place) = self.0.get_mut(at - 4..at) {
            place.copy_from_slice(&size);
        }
    }

    /// `a(sv)`.
    pub fn properties(&mut self, properties: &[Property]) {
        self.array(8, |out| {
            for (name, value) in properties {
                out.align(8);
                out.text(name);
                out.signature(value.signature());
                out.value(value);
            }
        });
    }

    /// `a(sa(sv))` without an element.
    pub fn no_units(&mut self) {
        self.array(8, |_| {});
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(truth) => self.bool(*truth),
            Value::Number(number) => self.u64(*number),
            Value::Text(text) => self.text(text),
            Value::Bytes(bytes) => self.array(1, |out| out.0.extend(bytes)),
            Value::Numbers(numbers) => {
                self.array(4, |out| numbers.iter().for_each(|number| out.u32(*number)));
            }
            Value::Device(path, number) => self.array(8, |out| {
                out.text(path);
                out.u64(*number);
            }),
        }
    }

    /// What was written.
    #[must_use]
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A method that is called, with the signature of its arguments.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// Whose it is.
    pub destination: &'static str,
    /// Of which object.
    pub path: &'static str,
    /// Of which interface.
    pub interface: &'static str,
    /// Its name.
    pub member: &'static str,
    /// Its arguments.
    pub signature: &'static str,
}

/// The message of a call.
#[must_use]
pub fn call(serial: u32, method: &Method, body: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    // Little-endian, a call, no flags, version 1 of the protocol.
    out.0.extend([b'l', CALL, 0, 1]);
    out.u32(length(body.len()));
    out.u32(serial);
    let texts = [
        (field::PATH, "o", method.path),
        (field::INTERFACE, "s", method.interface),
        (field::MEMBER, "s", method.member),
        (field::DESTINATION, "s", method.destination),
    ];
    out.array(8, |out| {
        for (code, kind, text) in texts {
            out.align(8);
            out.byte(code);
            out.signature(kind);
            out.text(text);
        }
        if !method.signature.is_empty() {
            out.align(8);
            out.byte(field::SIGNATURE);
            out.signature("g");
            out.signature(method.signature);
        }
    });
    out.align(8);
    out.0.extend(body);
    out.done()
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// The answer to a call.
    Return {
        /// Which call.
        to: u32,
        /// The first of its values, if that is a text.
        text: Option<String>,
    },
    /// A call failed.
    Error {
        /// Which call.
        to: u32,
        /// The name of the error.
        name: String,
        /// What it says.
        text: String,
    },
    /// `JobRemoved` of systemd: a job is over.
    JobRemoved {
        /// Its object.
        job: String,
        /// `done`, or why it is not.
        result: String,
    },
    /// Something else.
    Other,
}

/// How long the whole message is that begins with these bytes; `None` when it can't be one.
#[must_use]
pub fn size(fixed: &[u8; FIXED]) -> Option<usize> {
    let mut reader = Reader { bytes: fixed, at: 0 };
    if reader.byte()? != b'l' {
        return None;
    }
    reader.at = 4;
    let body = usize::try_from(reader.u32()?).ok()?;
    reader.at = 12;
    let fields = usize::try_from(reader.u32()?).ok()?;
    let size = FIXED.checked_add(fields)?.next_multiple_of(8).checked_add(body)?;
    (size <= LIMIT).then_some(size)
}

/// Reads a whole message; `None` when it breaks a rule.
#[must_use]
pub fn read(message: &[u8]) -> Option<Incoming> {
    let kind = *message.get(1)?;
    let mut reader = Reader { bytes: message, at: 12 };
    let end = FIXED.checked_add(usize::try_from(reader.u32()?).ok()?)?;
    let (mut to, mut name, mut member, mut signature) =
        (0, String::new(), String::new(), String::new());
    while reader.at < end {
        reader.align(8);
        let code = reader.byte()?;
        let variant = reader.signature()?;
        match (code, &*variant) {
            (field::REPLY_SERIAL, "u") => to = reader.u32()?,
            (field::ERROR_NAME, "s") => name = reader.text()?,
            (field::MEMBER, "s") => member = reader.text()?,
            (field::SIGNATURE, "g") => signature = reader.signature()?,
            (_, "s" | "o") => drop(reader.text()?),
            (_, "u") => drop(reader.u32()?),
            (_, "g") => drop(reader.signature()?),
            _ => return None,
        }
    }
    reader.align(8);
    let first_text = signature.starts_with(['s', 'o']);
    Some(match kind {
        RETURN => {
            let text = if first_text { Some(reader.text()?) } else { None };
            Incoming::Return { to, text }
        }
        ERROR => {
            let text = if first_text { reader.text()? } else { String::new() };
            Incoming::Error { to, name, text }
        }
        SIGNAL if member == "JobRemoved" && signature == "uoss" => {
            reader.u32()?;
            let job = reader.text()?;
            reader.text()?;
            Incoming::JobRemoved { job, result: reader.text()? }
        }
        _ => Incoming::Other,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.ended_text(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.ended_text(length)
    }

    fn ended_text(&mut self, length: usize) -> Option<String> {
        let text = std::str::from_utf8(self.take(length)?).ok()?.to_owned();
        (self.byte()? == 0).then_some(text)
    }
}

#[cfg(test)]
pub mod answers {
    //! What a systemd of the tests says.

    use super::*;

    fn message(kind: u8, fields: &[(u8, &str, Value)], body: &[u8]) -> Vec<u8> {
        let mut out = Writer::default();
        out.0.extend([b'l', kind, 1, 1]);
        out.u32(length(body.len()));
        out.u32(7);
        out.array(8, |out| {
            for (code, signature, value) in fields {
                out.align(8);
                out.byte(*code);
                out.signature(signature);
                match value {
                    Value::Text(text) if *signature == "g" => out.signature(text),
                    Value::Number(number) => out.u32(u32::try_from(*number).unwrap()),
                    other => out.value(other),
                }
            }
        });
        out.align(8);
        out.0.extend(body);
        out.done()
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    /// The answer to a call that has an object's path in it.
    pub fn returned(to: u32, path: &str) -> Vec<u8> {
        let mut body = Writer::default();
        body.text(path);
        let fields = [
            (field::REPLY_SERIAL, "u", Value::Number(u64::from(to))),
            (7, "s", text(":1.2")),
            (field::SIGNATURE, "g", text("o")),
        ];
        message(RETURN, &fields, &body.done())
    }

    /// A failure.
    pub fn failed(to: u32, name: &str, why: &str) -> Vec<u8> {
        let mut body = Writer::default();
        body.text(why);
        let fields = [
            (field::ERROR_NAME, "s", text(name)),
            (field::REPLY_SERIAL, "u", Value::Number(u64::from(to))),
            (field::SIGNATURE, "g", text("s")),
        ];
        message(ERROR, &fields, &body.done())
    }

    /// The end of a job.
    pub fn job_removed(job: &str, unit: &str, result: &str) -> Vec<u8> {
        let mut body = Writer::default();
        body.u32(4);
        for part in [job, unit, result] {
            body.text(part);
        }
        let fields = [
            (field::PATH, "o", text("/org/freedesktop/systemd1")),
            (field::INTERFACE, "s", text("org.freedesktop.systemd1.Manager")),
            (field::MEMBER, "s", text("JobRemoved")),
            (field::SIGNATURE, "g", text("uoss")),
        ];
        message(SIGNAL, &fields, &body.done())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Method = Method {
        destination: "org.x",
        path: "/o",
        interface: "org.x.I",
        member: "Ping",
        signature: "s",
    };

    #[test]
    fn a_call_is_written_as_the_specification_has_it() {
        let mut body = Writer::default();
        body.text("hi");
        let message = call(2, &PING, &body.done());
        let mut wanted = b"l\x01\x00\x01\x07\x00\x00\x00\x02\x00\x00\x00".to_vec();
        wanted.extend(b"\x47\x00\x00\x00"); // 71 bytes of fields
        wanted.extend(b"\x01\x01o\x00\x02\x00\x00\x00/o\x00\x00\x00\x00\x00\x00");
        wanted.extend(b"\x02\x01s\x00\x07\x00\x00\x00org.x.I\x00");
        wanted.extend(b"\x03\x01s\x00\x04\x00\x00\x00Ping\x00\x00\x00\x00");
        wanted.extend(b"\x06\x01s\x00\x05\x00\x00\x00org.x\x00\x00\x00");
        wanted.extend(b"\x08\x01g\x00\x01s\x00\x00");
        wanted.extend(b"\x02\x00\x00\x00hi\x00");
        assert_eq!(message, wanted);
        let fixed: &[u8; FIXED] = message.first_chunk().unwrap();
        assert_eq!(size(fixed), Some(message.len()));
    }

    #[test]
    fn properties_are_aligned_from_the_beginning_of_the_body() {
        let mut out = Writer::default();
        out.properties(&[("T", Value::Number(5)), ("B", Value::Bytes(vec![3]))]);
        let mut wanted = vec![0x29, 0, 0, 0, 0, 0, 0, 0];
        wanted.extend(b"\x01\0\0\0T\0\x01t\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0");
        wanted.extend(b"\x01\0\0\0B\0\x02ay\0\0\0\x01\0\0\0\x03");
        assert_eq!(out.done(), wanted);
    }

    #[test]
    fn answers_failures_and_the_end_of_jobs_are_read() {
        let returned = read(&answers::returned(3, "/job/1"));
        assert_eq!(returned, Some(Incoming::Return { to: 3, text: Some("/job/1".to_owned()) }));
        let (name, text) = ("org.x.No".to_owned(), "why".to_owned());
        let failed = read(&answers::failed(4, "org.x.No", "why"));
        assert_eq!(failed, Some(Incoming::Error { to: 4, name, text }));
        let removed = read(&answers::job_removed("/job/1", "a.scope", "done"));
        let (job, result) = ("/job/1".to_owned(), "done".to_owned());
        assert_eq!(removed, Some(Incoming::JobRemoved { job, result }));
    }

    #[test]
    fn no_part_of_a_message_and_no_changed_byte_is_more_than_an_unreadable_message() {
        let whole = answers::job_removed("/job/1", "a.scope", "done");
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), None, "{length}");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut broken = whole.clone();
                broken[at] = byte;
                let _ = read(&broken);
                let _ = size(broken.first_chunk().unwrap());
            }
        }
        assert_eq!(size(&[b'B'; FIXED]), None);
        assert_eq!(size(b"l\x01\x00\x01\xff\xff\xff\x7f\x02\x00\x00\x00\x10\x00\x00\x00"), None);
    }
}

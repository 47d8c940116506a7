//! Fetching an archive by plain http, for `import`. Small on purpose: no redirects, no
//! authentication, and a server that is on this machine, because nothing protects what comes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::error::Failure;

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line of a head, and the most lines.
const LINE: u64 = 8 << 10;
const LINES: usize = 100;

/// The body at a URL `http://HOST[:PORT]/PATH` of the loopback interface.
///
/// # Errors
/// The URL is another; the server does not answer, or not with a body of known length.
pub fn get(url: &str) -> Result<Body, Failure> {
    let failed = |why: &str| Failure::local(format!("cannot fetch {url}: {why}"));
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') || url.chars().any(|c| c.is_control() || c == ' ') {
        return Err(failed("it is no plain URL"));
    }
    let with_port = match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => authority.to_owned(),
        _ => format!("{authority}:80"),
    };
    let addresses = with_port.to_socket_addrs().map_err(|error| failed(&error.to_string()))?;
    let address = addresses.into_iter().find(|address| address.ip().is_loopback());
    let address = address
        .ok_or_else(|| failed("only servers of this machine may be asked without encryption"))?;
    let connect = || {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut stream = stream;
        stream.write_all(
            format!(
                "GET /{path} HTTP/1.0\r\nHost: {authority}\r\nUser-Agent: isula\r\n\
                 Connection: close\r\n\r\n"
            )
            .as_bytes(),
        )?;
        head(BufReader::new(stream))
    };
    match connect() {
        Ok((200, body)) => Ok(body),
        Ok((status, _)) => Err(failed(&format!("the server answered {status}"))),
        Err(error) => Err(failed(&error.to_string())),
    }
}

/// A body; one that ends before its length is an error.
pub struct Body {
    stream: BufReader<TcpStream>,
    left: u64,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.stream.read(buffer.get_mut(..most).unwrap_or_default())?;
        if length == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server broke off"));
        }
        self.left -= length as u64;
        Ok(length)
    }
}

fn head(mut stream: BufReader<TcpStream>) -> io::Result<(u16, Body)> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut line = || {
        let mut text = String::new();
        stream.by_ref().take(LINE).read_line(&mut text)?;
        match text.ends_with('\n') {
            true => Ok(text.trim_end().to_owned()),
            false => Err(bad("the head of its answer is malformed")),
        }
    };
    let status = line()?;
    let mut words = status.split(' ');
    let version = words.next().unwrap_or_default();
    let code = words.next().and_then(|code| code.parse().ok());
    let code = code.filter(|_| version.starts_with("HTTP/1."));
    let code = code.ok_or_else(|| bad("it does not speak HTTP/1"))?;
    let mut length = None;
    for _ in 0..LINES {
        let text = line()?;
        if text.is_empty() {
            let left = match (code, length) {
                (200, None) => return Err(bad("its answer has no Content-Length")),
                (_, length) => length.unwrap_or(0),
            };
            return Ok((code, Body { stream, left }));
        }
        let (name, value) = text.split_once(':').unwrap_or((&text, ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().map_err(|_| bad("its length is no number"))?);
        }
    }
    Err(bad("the head of its answer is too long"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::get;

    fn serve(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a/b.tar", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /a/b.tar HTTP/1.0\r\nHost: 127.0.0.1:"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    #[test]
    fn a_body_is_read_to_its_length_and_not_further() {
        let url = serve("HTTP/1.1 200 OK\r\nContent-length: 5\r\n\r\nhello more");
        let mut text = String::new();
        get(&url).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        let url = serve("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhello");
        let error = get(&url).unwrap().read_to_string(&mut text).unwrap_err();
        assert_eq!(error.to_string(), "the server broke off");
    }

    #[test]
    fn other_answers_and_other_servers_are_refused() {
        for answer in ["HTTP/1.0 404 no\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nx", "nonsense\n", ""] {
            assert!(get(&serve(answer)).is_err(), "{answer}");
        }
        for url in ["http://192.0.2.1/x", "http://a b/", "http://u:p@127.0.0.1/x"] {
            assert!(get(url).is_err(), "{url}");
        }
    }
}

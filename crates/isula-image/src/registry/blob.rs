//! A blob in pieces, in order, each byte once: resumed after a cut, by the next endpoint if need
//! be, and never more than its descriptor says.

use bytes::{Buf, Bytes};
use http::{StatusCode, header::CONTENT_RANGE};
use isula_core::{error::PortError, image::Digest};

use super::{error::Error, exchange::Answer, retry::Retry, session::Session};

/// So many bytes after a failure the count of failures begins anew: a large blob on a bad line is
/// cut more often than a small one.
const PROGRESS: u64 = 1024 * 1024;

/// The reading of one blob.
pub struct Blob<'a> {
    session: &'a Session,
    digest: Digest,
    size: u64,
    received: u64,
    answer: Option<Answer>,
    /// Bytes of the answer that were received before: the server did not take the range.
    skip: u64,
    /// Places after the session's endpoint.
    place: usize,
    retry: Retry,
    attempt: u32,
    failed_at: u64,
}

impl<'a> Blob<'a> {
    pub(super) fn new(session: &'a Session, digest: Digest, size: u64, retry: Retry) -> Self {
        Self {
            session,
            digest,
            size,
            received: 0,
            answer: None,
            skip: 0,
            place: 0,
            retry,
            attempt: 0,
            failed_at: 0,
        }
    }

    /// Begins at a later endpoint, for a blob whose digest was wrong at the ones before it; none
    /// if there is no such endpoint.
    #[must_use]
    pub fn at_endpoint(mut self, skipped: usize) -> Option<Self> {
        self.place = skipped;
        self.session.endpoint_from(skipped).map(|_| self)
    }

    /// The endpoint that is read from now, as [`Blob::at_endpoint`] counts.
    #[must_use]
    pub fn endpoint(&self) -> usize {
        self.place
    }

    /// The next piece, never empty; none when all of the blob has come. The digest is not checked
    /// here. Dropping the future loses nothing but the request.
    ///
    /// # Errors
    /// After all repetitions; names reference and registry.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, PortError> {
        self.next()
            .await
            .map_err(|error| self.session.port_error(error, self.session.endpoint_from(self.place)))
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.received == self.size {
                return self.end().await.map(|()| None);
            }
            match self.step().await {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Ok(Some(piece)),
                Err(error) => self.recover(error).await?,
            }
        }
    }

    /// Everything has come; there must be nothing more. Waiting for the end of the answer also
    /// frees its connection.
    async fn end(&mut self) -> Result<(), Error> {
        let Some(mut answer) = self.answer.take() else { return Ok(()) };
        match answer.piece().await {
            Ok(Some(_)) => Err(self.wrong_size("longer")),
            // What was promised is here; how the connection ends does not matter.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    async fn step(&mut self) -> Result<Bytes, Error> {
        if self.answer.is_none() {
            self.answer = Some(self.ask().await?);
        }
        let Some(answer) = &mut self.answer else { return Ok(Bytes::new()) };
        let Some(mut piece) = answer.piece().await? else {
            return Err(self.wrong_size("shorter"));
        };
        let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
        piece.advance(known);
        self.skip -= known as u64;
        let received = self.received.saturating_add(piece.len() as u64);
        if received > self.size {
            return Err(self.wrong_size("longer"));
        }
        self.received = received;
        Ok(piece)
    }

    async fn ask(&mut self) -> Result<Answer, Error> {
        let Some(endpoint) = self.session.endpoint_from(self.place) else {
            return Err(Error::BlobUnknown(self.digest.clone()));
        };
        let answer = self.session.ask_blob(endpoint, &self.digest, self.received).await?;
        let expected = match answer.status {
            StatusCode::OK => {
                self.skip = self.received;
                self.size
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
                let range = range.and_then(content_range);
                if range.is_none_or(|(first, _)| first != self.received) {
                    return Err(Error::Part(self.digest.clone()));
                }
                if let Some((_, Some(total))) = range
                    && total != self.size
                {
                    return Err(self.wrong_size(relation(total, self.size)));
                }
                self.skip = 0;
                self.size - self.received
            }
            _ => return Err(super::request::status_error(answer).await),
        };
        match answer.length() {
            Some(length) if length != expected => Err(self.wrong_size(relation(length, expected))),
            _ => Ok(answer),
        }
    }

    /// Waits and lets the caller try again, here or at the next endpoint, or gives the error back.
    async fn recover(&mut self, error: Error) -> Result<(), Error> {
        self.answer = None;
        if self.received >= self.failed_at.saturating_add(PROGRESS) {
            self.attempt = 0;
        }
        self.failed_at = self.received;
        let reached = self.session.has_reached(self.place);
        if error.is_transient(reached) && self.attempt < self.retry.attempts {
            let cause = isula_core::error::chain(&error);
            tracing::debug!("blob {}: again from byte {}: {cause}", self.digest, self.received);
            tokio::time::sleep(self.retry.pause(self.attempt, error.retry_after())).await;
            self.attempt += error.weight();
            return Ok(());
        }
        if self.session.endpoint_from(self.place + 1).is_none() {
            return Err(error);
        }
        let cause = isula_core::error::chain(&error);
        tracing::warn!(
            "blob {}: at the next endpoint from byte {}: {cause}",
            self.digest,
            self.received
        );
        self.place += 1;
        self.attempt = 0;
        Ok(())
    }

    fn wrong_size(&self, relation: &'static str) -> Error {
        Error::Size { digest: self.digest.clone(), relation, size: self.size }
    }
}

fn relation(found: u64, expected: u64) -> &'static str {
    if found > expected { "longer" } else { "shorter" }
}

/// The first byte and the size of the whole of `bytes FIRST-LAST/TOTAL`, where TOTAL may be `*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u64>().ok(),
        false => None,
    };
    let (first, last) = (number(first)?, number(last)?);
    let total = match total.trim() {
        "*" => None,
        total => Some(number(total)?),
    };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn a_content_range_is_read_or_refused() {
        for (text, wanted) in [
            ("bytes 0-9/10", Some((0, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes 5-9/9", None),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("bytes +5-9/10", None),
            ("items 0-9/10", None),
            ("bytes 0-18446744073709551616/*", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), wanted, "{text}");
        }
    }
}

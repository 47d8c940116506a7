//! The deadlines of callers (gRPC over HTTP/2, `grpc-timeout`).
//!
//! tonic ends a request whose time is over, but answers `CANCELLED`; gRPC clients ask for
//! `DEADLINE_EXCEEDED`, and see it or not by whose clock was the first: theirs or ours.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{Either, poll_fn};
use tokio::time::Instant;
use tonic::{
    Status,
    body::Body,
    codegen::http::{HeaderMap, Request, Response},
};
use tower::Service;

/// How long the caller waits, if it says so.
pub fn limit(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Answers `DEADLINE_EXCEEDED` where the service has no answer in the caller's time.
///
/// It has no timer: tonic's own, around it, ends later than this deadline and wakes it.
#[derive(Debug, Clone)]
pub struct Deadline<S>(pub S);

impl<S, B> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future =
        Either<S::Future, Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let end = limit(request.headers()).and_then(|limit| Instant::now().checked_add(limit));
        let answer = self.0.call(request);
        match end {
            None => Either::Left(answer),
            Some(end) => Either::Right(Box::pin(async move {
                let mut answer = pin!(answer);
                poll_fn(|context| match answer.as_mut().poll(context) {
                    Poll::Pending if Instant::now() >= end => {
                        let status = "there was no answer in the time that the caller gave";
                        Poll::Ready(Ok(Status::deadline_exceeded(status).into_http()))
                    }
                    other => other,
                })
                .await
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{convert::Infallible, future};

    fn request(timeout: &str) -> Request<()> {
        Request::builder().header("grpc-timeout", timeout).body(()).unwrap()
    }

    #[test]
    fn it_is_read_as_grpc_writes_it() {
        let of = |text: &str| limit(request(text).headers());
        assert_eq!(of("3S"), Some(Duration::from_secs(3)));
        assert_eq!(of("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(of("1500m"), Some(Duration::from_millis(1500)));
        for wrong in ["", "S", "3", "3x", "-1S", "99999999999999999999S"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(limit(&HeaderMap::new()), None);
    }

    /// As tonic ends it: a timer of its own around the service.
    async fn answer(after: Option<Duration>, timeout: &str) -> Option<String> {
        let mut service = Deadline(tower::service_fn(move |_: Request<()>| async move {
            match after {
                Some(after) => tokio::time::sleep(after).await,
                None => future::pending().await,
            }
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }));
        let answer = service.call(request(timeout));
        let limit = limit(request(timeout).headers()).unwrap_or(Duration::from_secs(3600));
        let answer = tokio::time::timeout(limit, answer).await.ok()?.unwrap();
        let status = answer.headers().get("grpc-status");
        Some(status.map_or("none", |status| status.to_str().unwrap()).to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn whose_time_is_over_is_told_so() {
        const DEADLINE_EXCEEDED: &str = "4";
        for timeout in ["1m", "900u", "7S", "0n"] {
            assert_eq!(
                answer(None, timeout).await.as_deref(),
                Some(DEADLINE_EXCEEDED),
                "{timeout}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_time_gets_the_answer() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(answer(second, "2S").await.as_deref(), Some("none"));
        assert_eq!(answer(second, "nonsense").await.as_deref(), Some("none"));
    }
}

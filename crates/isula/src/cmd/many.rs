//! One request for each of several objects.

use futures_util::{StreamExt, stream};

use crate::error::{Failure, Outcome};
use crate::output;

/// Requests that are under way at once; the daemon allows a connection a hundred streams.
const AT_ONCE: usize = 32;

/// Asks for each name at once and prints the answers in the order of the names. An error is told
/// where it belongs and the others go on.
///
/// # Errors
/// [`Failure::Told`] if any failed, [`Failure::Output`] if stdout can't be written.
pub async fn each<'a, F, Fut>(names: &'a [String], ask: F) -> Outcome
where
    F: Fn(&'a str) -> Fut,
    Fut: Future<Output = Result<String, Failure>>,
{
    let mut answers = stream::iter(names).map(|name| ask(name)).buffered(AT_ONCE);
    let mut status = 0;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(line) => output::print(&format!("{line}\n"))?,
            Err(failure) => {
                output::tell(&failure.to_string());
                status = 1;
            }
        }
    }
    if status == 0 { Ok(0) } else { Err(Failure::Told(status)) }
}

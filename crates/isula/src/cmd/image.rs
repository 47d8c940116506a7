//! What `create` and `run` do about an image that is not there.

use crate::client::Client;
use crate::error::Failure;
use crate::flags::Arguments;
use crate::output;
use crate::parse::names::{PullPolicy, pull_policy};
use crate::pull;

/// Tries, and if the image is missing and may be pulled, pulls it and tries again.
///
/// # Errors
/// Those of the pull and of the last try.
pub async fn with_image<T, F, Fut>(
    client: &Client,
    arguments: &Arguments,
    image: &str,
    mut attempt: F,
) -> Result<T, Failure>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    let policy = arguments.parsed("pull", pull_policy)?.unwrap_or(PullPolicy::Missing);
    let quiet = arguments.on("quiet");
    if policy == PullPolicy::Always && !image.is_empty() {
        pull::pull(client, image, "", quiet).await?;
    }
    match attempt().await {
        Err(failure) if policy == PullPolicy::Missing && failure.is_kind("image-not-found") => {
            if !quiet {
                output::tell(&format!("Unable to find image '{image}' locally"));
            }
            pull::pull(client, image, "", quiet).await?;
            attempt().await
        }
        result => result,
    }
}

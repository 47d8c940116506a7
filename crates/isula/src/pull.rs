//! Pulls an image, for `pull` and for `create` and `run` of an image that is not there.

use isula_api::v1::{PullRequest, PulledImage, pull_progress::Progress as Step};

use crate::client::Client;
use crate::credentials;
use crate::error::Failure;
use crate::interrupt::or_interrupted;
use crate::output::progress::Progress;

/// Pulls a reference as the user wrote it and tells so on stderr, unless `quiet`.
///
/// # Errors
/// The daemon refused or failed, or the user interrupted it.
pub async fn pull(
    client: &Client,
    reference: &str,
    platform: &str,
    quiet: bool,
) -> Result<PulledImage, Failure> {
    let mut progress = Progress::new(quiet);
    progress.line(&format!("Image \"{reference}\" pulling"));
    let pulled = or_interrupted(async {
        let request = PullRequest {
            reference: reference.to_owned(),
            platform: platform.to_owned(),
            credentials: credentials::find(credentials::registry_of(reference)).await?,
        };
        let mut steps = client.images().pull(request).await?.into_inner();
        while let Some(step) = steps.message().await? {
            match step.progress {
                Some(Step::Layer(layer)) => progress.layer(&layer),
                Some(Step::Line(line)) => progress.line(&line),
                Some(Step::Pulled(image)) => return Ok(image),
                None => {}
            }
        }
        Err(Failure::local("the daemon ended the pull without a result"))
    });
    let pulled = pulled.await;
    progress.clear();
    let pulled = pulled?;
    Progress::new(quiet).line(&format!("Image \"{}\" pulled", pulled.id));
    Ok(pulled)
}

//! `isula system check`: verifies what is stored.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use isula_api::v1::{CheckRequest, check_progress::Progress as Step};

use super::{Command, Context};
use crate::error::{Failure, Outcome};
use crate::flags::{Arguments, Flag, Syntax};
use crate::interrupt::or_interrupted;
use crate::output;

/// The command.
pub static COMMAND: Command = Command {
    syntax: Syntax {
        name: "system check",
        usage: "[OPTIONS]",
        about: "Verify all images against their digests",
        flags: &[&[Flag::switch("quiet", Some('q'), "Only damage")]],
        least: 0,
        most: 0,
        stops_at_argument: false,
    },
    runs_process: false,
    run: |context, arguments| Box::pin(run(context, arguments)),
};

/// How many times a second the bar is drawn at most.
const FRAMES: u8 = 15;

async fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let client = context.client().await?;
    let quiet = arguments.on("quiet");
    let bar = match std::io::stderr().is_terminal() && !quiet {
        true => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(FRAMES)),
        false => ProgressBar::hidden(),
    };
    let style = ProgressStyle::with_template("{msg} [{bar:32}] {pos}/{len} layers");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let result = or_interrupted(async {
        let mut steps = client.storage().check(CheckRequest {}).await?.into_inner();
        while let Some(step) = steps.message().await? {
            match step.progress {
                Some(Step::Layer(layer)) => {
                    bar.set_length(layer.total.into());
                    bar.set_position(layer.current.into());
                    bar.set_message(output::short(&layer.id).to_owned());
                }
                Some(Step::Damage(text)) => bar.suspend(|| output::tell(&text)),
                Some(Step::Result(result)) => return Ok(result),
                None => {}
            }
        }
        Err(Failure::local("the daemon ended the check without a result"))
    })
    .await;
    bar.finish_and_clear();
    let result = result?;
    if !quiet {
        let mut text = format!("Checked {} layers and {} images", result.layers, result.images);
        if result.unverifiable > 0 {
            text.push_str(&format!(" ({} layers can't be verified)", result.unverifiable));
        }
        output::print(&format!("{text}: {} damaged\n", result.damaged))?;
    }
    if result.damaged == 0 {
        return Ok(0);
    }
    output::tell("What is damaged was moved to quarantine; pull or load its images again.");
    Err(Failure::Told(1))
}

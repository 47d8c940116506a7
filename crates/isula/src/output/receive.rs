//! Receiving an archive from the daemon.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use isula_api::v1::{ArchivePiece, archive_piece::Piece};
use tonic::Streaming;

use super::{file::Target, tell};
use crate::error::Failure;

/// How many times a second the count of bytes is drawn at most.
const FRAMES: u8 = 15;

/// Writes all pieces to `target`, which has its name only when all of them came.
///
/// # Errors
/// The daemon failed or broke off; the target can't be written.
pub async fn receive(
    mut pieces: Streaming<ArchivePiece>,
    mut target: Target,
) -> Result<(), Failure> {
    let shown = std::io::stderr().is_terminal() && !matches!(target, Target::Stdout);
    let bar = match shown {
        true => ProgressBar::no_length()
            .with_style(style())
            .with_finish(indicatif::ProgressFinish::AndClear),
        false => ProgressBar::hidden(),
    };
    if shown {
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(FRAMES));
    }
    while let Some(piece) = pieces.message().await? {
        match piece.piece {
            Some(Piece::Data(bytes)) => {
                target.write(&bytes)?;
                bar.inc(bytes.len() as u64);
            }
            Some(Piece::Line(line)) if !line.is_empty() => bar.suspend(|| tell(&line)),
            Some(Piece::End(_)) => {
                bar.finish_and_clear();
                return target.finish();
            }
            _ => {}
        }
    }
    Err(Failure::local("the daemon ended the archive before it was whole"))
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner} {bytes} written, {bytes_per_sec}");
    style.unwrap_or_else(|_| ProgressStyle::default_spinner())
}

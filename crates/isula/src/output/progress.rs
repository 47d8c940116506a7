//! Progress of a pull or a load: bars for each layer on a terminal, nothing but lines elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use isula_api::v1::LayerProgress;

use super::{short, tell};

/// How many times a second the bars are drawn at most.
const FRAMES: u8 = 15;

/// What is shown while layers come in.
pub struct Progress {
    quiet: bool,
    bars: Option<(MultiProgress, HashMap<String, ProgressBar>)>,
}

impl Progress {
    /// Bars if stderr is a terminal; nothing at all if `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let terminal = !quiet && std::io::stderr().is_terminal();
        let bars = terminal.then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(FRAMES);
            (MultiProgress::with_draw_target(target), HashMap::new())
        });
        Self { quiet, bars }
    }

    /// A line of its own.
    pub fn line(&self, text: &str) {
        match &self.bars {
            _ if self.quiet => {}
            Some((all, _)) => all.suspend(|| tell(text)),
            None => tell(text),
        }
    }

    /// How far a layer has come.
    pub fn layer(&mut self, layer: &LayerProgress) {
        let Some((all, bars)) = &mut self.bars else { return };
        let bar = bars.entry(layer.id.clone()).or_insert_with(|| {
            let name = layer.id.strip_prefix("sha256:").unwrap_or(&layer.id);
            let bar = all.add(ProgressBar::new(layer.total).with_style(style()));
            bar.with_prefix(short(name).to_owned())
        });
        bar.set_message(layer.step.clone());
        if layer.total > 0 {
            bar.set_length(layer.total);
        }
        bar.set_position(layer.current);
    }

    /// Takes the bars away.
    pub fn clear(&mut self) {
        if let Some((all, bars)) = self.bars.take() {
            bars.values().for_each(ProgressBar::finish_and_clear);
            // The terminal may be gone; there is nothing left to clear then.
            let _ = all.clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style() -> ProgressStyle {
    let template = "{prefix}: {msg:12} [{bar:32}] {bytes}/{total_bytes}";
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

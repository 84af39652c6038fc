//! A bar for people, lines for logs.

use super::event::{RunEvent, RunObserver};
use super::metrics::StepMetrics;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Loss, learning rate, speed, memory and time left on standard error: a bar in a terminal, elsewhere a line every ten
/// seconds, for the first step and for the last.
pub fn progress_bar() -> RunProgress {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {wide_msg} {eta} left");
    // The template is a constant; if it were wrong, indicatif's own style would do.
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    RunProgress { bar: ProgressBar::new(0).with_style(style), told: None }
}

/// What [`progress_bar`] makes.
#[derive(Debug)]
pub struct RunProgress {
    bar: ProgressBar,
    /// When the last line was written.
    told: Option<Instant>,
}

impl RunProgress {
    /// A line that stays, above the bar.
    fn print(&self, line: &str) {
        if self.bar.is_hidden() {
            // Nobody may read any more: the run goes on.
            let _ = writeln!(std::io::stderr(), "{line}");
        } else {
            self.bar.println(line);
        }
    }
}

impl RunObserver for RunProgress {
    fn notice(&mut self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::Step { metrics, last } => {
                if self.bar.length() != Some(last) {
                    // A run that goes on has its time left from its own steps.
                    self.bar.set_length(last);
                    self.bar.set_position(metrics.step - 1);
                    self.bar.reset_eta();
                }
                self.bar.set_position(metrics.step);
                let line = describe(metrics);
                let due = self.told.is_none_or(|told| told.elapsed() >= LINE_EVERY) || metrics.step == last;
                if self.bar.is_hidden() && due {
                    self.told = Some(Instant::now());
                    self.print(&format!("step {}/{last}: {line}", metrics.step));
                }
                self.bar.set_message(line);
            }
            RunEvent::Evaluation { step, loss, best } => {
                self.print(&format!("step {step}: evaluation loss {loss:.4}{}", if best { ", the best" } else { "" }));
            }
            RunEvent::Checkpoint { step, path } => self.print(&format!("step {step}: saved {}", path.display())),
        }
    }
}

impl Drop for RunProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn describe(metrics: &StepMetrics) -> String {
    let StepMetrics { loss, learning_rate, tokens_per_second, memory_bytes, .. } = *metrics;
    let mut line = format!("loss {loss:.4} rate {learning_rate:.2e} {tokens_per_second:.0} tokens/s");
    if memory_bytes > 0 {
        line += &format!(" {:.2} GiB", memory_bytes as f64 / (1u64 << 30) as f64);
    }
    line
}

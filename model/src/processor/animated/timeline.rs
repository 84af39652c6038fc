//! How many frames an animation has and how long they last.
//!
//! As browsers and FFmpeg have it, a delay of 10 ms or less is no delay but a default of 100 ms.

/// Delays up to this many milliseconds count as none.
const NO_DELAY: f64 = 10.0;
/// What they become.
const DEFAULT_DELAY: f64 = 100.0;

/// The delays of the frames of an animation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::processor) struct Timeline {
    /// Milliseconds of each frame, as the file has them.
    delays: Vec<f64>,
}

impl Timeline {
    /// Adds a frame that lasts this many milliseconds.
    pub fn push(&mut self, delay: f64) {
        self.delays.push(delay);
    }

    /// Leaves the last frame out.
    pub fn drop_last(&mut self) {
        self.delays.pop();
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.delays.len()
    }

    /// Mean number of frames a second; `None` without frames.
    pub fn fps(&self) -> Option<f64> {
        let lasts = |delay: &f64| if *delay <= NO_DELAY { DEFAULT_DELAY } else { *delay };
        let milliseconds: f64 = self.delays.iter().map(lasts).sum();
        (self.frames() > 0).then(|| self.frames() as f64 * 1000.0 / milliseconds)
    }
}

impl FromIterator<f64> for Timeline {
    fn from_iter<I: IntoIterator<Item = f64>>(delays: I) -> Self {
        Self { delays: delays.into_iter().collect() }
    }
}

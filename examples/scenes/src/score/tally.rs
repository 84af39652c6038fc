//! Sums of scores.

use std::fmt;

use super::{RIGHT_IOU, Score};

/// What answers of one kind came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Answers.
    pub answers: usize,
    /// Those that are right as a whole.
    pub right: usize,
    /// Things that are expected in captions, lists and boxes.
    pub things: usize,
    /// Of them, those that are named at their place.
    pub placed: usize,
    /// Things that are not there, and parts that can't be read.
    pub invented: usize,
    /// Of each expected box, the intersection over union.
    pub ious: Vec<f32>,
}

impl Tally {
    /// Counts an answer.
    pub fn add(&mut self, score: &Score) {
        self.answers += 1;
        self.right += usize::from(score.right);
        self.things += score.things.len();
        self.placed += score.things.iter().filter(|thing| thing.placed).count();
        self.invented += score.invented;
        self.ious.extend(score.things.iter().filter_map(|thing| thing.iou));
    }

    /// The part of answers that are right, 0 to 1.
    pub fn right_part(&self) -> f64 {
        part(self.right, self.answers)
    }

    /// The part of things that are named at their place.
    pub fn placed_part(&self) -> f64 {
        part(self.placed, self.things)
    }

    /// Mean intersection over union; `None` without boxes.
    pub fn mean_iou(&self) -> Option<f64> {
        let sum: f64 = self.ious.iter().map(|&iou| f64::from(iou)).sum();
        (!self.ious.is_empty()).then(|| sum / self.ious.len() as f64)
    }

    /// The part of boxes that overlap their own by half at least.
    pub fn good_boxes(&self) -> f64 {
        part(self.ious.iter().filter(|&&iou| iou >= RIGHT_IOU).count(), self.ious.len())
    }
}

/// 0 of nothing.
fn part(some: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} of {:>6} right {:>5.1}%", self.right, self.answers, 100.0 * self.right_part())?;
        if self.things > 0 {
            let placed = 100.0 * self.placed_part();
            write!(f, "; {} things, {placed:.1}% right, {} invented", self.things, self.invented)?;
        }
        if let Some(iou) = self.mean_iou() {
            write!(f, "; mean IoU {iou:.3}, {:.1}% above {RIGHT_IOU}", 100.0 * self.good_boxes())?;
        }
        Ok(())
    }
}

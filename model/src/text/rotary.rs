//! Interleaved multimodal rotary angles.
//!
//! ```text
//! axis(i)  = height  where i = 3j + 1, j < section[1]
//!            width   where i = 3j + 2, j < section[2]
//!            time    elsewhere
//! angle(i) = position[axis(i)] · f_i               i < head_dim / 2
//! cos, sin = a · cos(angle(i)), a · sin(angle(i))
//! ```
//!
//! Frequencies `f_i` and the factor `a` are those of `frequencies.rs`. Frequencies and angles are f32, as in HF: at
//! position 262143 an angle computed otherwise would be off by hundredths of a radian. Source: Qwen3-VL technical
//! report, "Interleaved MRoPE".

use super::frequencies::{attention_scale, list_frequencies};
use crate::config::{RopeScaling, TextConfig};
use burn::tensor::{Tensor, TensorData};
use burn_kiln_fusion::{FusedOps, Rotary};
use std::sync::Arc;

/// The axes of a position, as indices into [`Positions::ids`](crate::positions::Positions::ids).
const TIME: usize = 0;
const HEIGHT: usize = 1;
const WIDTH: usize = 2;

/// The frequencies of a head and the axis that each turns with.
#[derive(Debug, Clone, PartialEq)]
pub struct MultimodalRotary {
    frequencies: Arc<[f32]>,
    axes: Arc<[usize]>,
    /// What cosines and sines are multiplied with.
    scale: f32,
    /// Whose frequencies depend on the sequence, where they do.
    dynamic: Option<Arc<TextConfig>>,
}

impl MultimodalRotary {
    /// The frequencies of `config`.
    pub fn new(config: &TextConfig) -> Self {
        let section = config.mrope_section;
        let axis = |i: usize| match (i % 3, i / 3) {
            (HEIGHT, j) if j < section[HEIGHT] => HEIGHT,
            (WIDTH, j) if j < section[WIDTH] => WIDTH,
            _ => TIME,
        };
        let dynamic = matches!(config.rope_scaling, RopeScaling::Dynamic { .. });
        Self {
            frequencies: list_frequencies(config, 0).into(),
            axes: (0..config.rotary_dim() / 2).map(axis).collect(),
            scale: attention_scale(config) as f32,
            dynamic: dynamic.then(|| Arc::new(config.clone())),
        }
    }

    /// Cosines and sines for sequences of these `lengths` behind each other.
    ///
    /// # Shapes
    /// `positions` `[length]` an axis, `cos` and `sin` `[1, length, head_dim / 2]`; `length` is the sum of `lengths`.
    pub fn forward<B: FusedOps>(&self, positions: &[Vec<i64>; 3], lengths: &[usize], device: &B::Device) -> Rotary<B> {
        let length = positions[TIME].len();
        let shape = [1, length, self.frequencies.len()];
        let (mut cos, mut sin) = (Vec::with_capacity(length * shape[2]), Vec::with_capacity(length * shape[2]));
        let mut start = 0;
        for &tokens in lengths {
            let sequence = positions.each_ref().map(|axis| &axis[start..start + tokens]);
            let frequencies = self.frequencies_of(sequence);
            let [time, height, width] = sequence;
            for ((&time, &height), &width) in time.iter().zip(height).zip(width) {
                let place = [time, height, width];
                for (&frequency, &axis) in frequencies.iter().zip(&*self.axes) {
                    let angle = place[axis] as f32 * frequency;
                    cos.push(angle.cos() * self.scale);
                    sin.push(angle.sin() * self.scale);
                }
            }
            start += tokens;
        }
        let upload = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, shape), device);
        Rotary { cos: upload(cos), sin: upload(sin) }
    }

    /// The frequencies for a sequence at these positions.
    fn frequencies_of(&self, positions: [&[i64]; 3]) -> Arc<[f32]> {
        let Some(config) = &self.dynamic else { return self.frequencies.clone() };
        let last = positions.into_iter().flatten().copied().max().unwrap_or(0);
        match usize::try_from(last) {
            Ok(last) if last >= config.max_position_embeddings => list_frequencies(config, last + 1).into(),
            _ => self.frequencies.clone(),
        }
    }
}

/// Positions of `count` text tokens from `start` on: the same on all axes.
pub(crate) fn list_text_positions(start: i64, count: usize) -> [Vec<i64>; 3] {
    let axis: Vec<i64> = (start..).take(count).collect();
    [axis.clone(), axis.clone(), axis]
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;

    /// head_dim 128 with the released section: 1, 4, .., 58 turn with height, 2, 5, .., 59 with width.
    #[test]
    fn released_section_is_interleaved() {
        let rotary = MultimodalRotary::new(&config(128, [24, 20, 20]));
        let on_axis = |wanted: usize| {
            let axes = rotary.axes.iter().enumerate();
            axes.filter(|(_, axis)| **axis == wanted).map(|(i, _)| i).collect::<Vec<_>>()
        };
        assert_eq!(on_axis(HEIGHT), (1..=58).step_by(3).collect::<Vec<_>>());
        assert_eq!(on_axis(WIDTH), (2..=59).step_by(3).collect::<Vec<_>>());
        assert_eq!(on_axis(TIME).len(), 24);
        assert_eq!(rotary.frequencies[0], 1.0);
        // 5e6^(-1/2)
        assert!((rotary.frequencies[32] - 4.472_136e-4).abs() < 1e-10);
    }

    #[test]
    fn each_axis_turns_its_frequencies() {
        let rotary = MultimodalRotary::new(&config(8, [2, 1, 1]));
        let turned = rotary.forward::<Flex>(&[vec![3], vec![5], vec![7]], &[1], &Default::default());
        let sin: Vec<f32> = turned.sin.into_data().to_vec().unwrap();
        let expected = [3.0, 5.0, 7.0, 3.0].iter().enumerate().map(|(i, p)| (p * 5e6f64.powf(-(i as f64) / 4.0)).sin());
        for (found, expected) in sin.iter().zip(expected) {
            assert!((*found as f64 - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    fn config(head_dim: usize, section: [usize; 3]) -> TextConfig {
        TextConfig::new(1, 1, 1, 1, 1, 1, head_dim, section, true)
    }
}

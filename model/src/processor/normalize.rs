//! From 8-bit samples to what the vision tower was trained on.
//!
//! `y = (x * rescale - mean) / std`, computed as HF's fast processors fuse it: `(x - mean / rescale) / (std / rescale)`
//! in f32. A sample has 256 values, so one table for each channel holds every result.

use super::PreprocessorConfig;

/// `table[channel][sample]`.
pub(super) type SampleTable = [[f32; 256]; 3];

/// Tabulates the normalised value of every sample of every channel (red, green, blue).
pub(super) fn tabulate_samples(config: &PreprocessorConfig) -> SampleTable {
    let mut table = [[0.0; 256]; 3];
    // As in HF, the scale folds into the mean and std in f32.
    let scale = if config.do_rescale { (1.0 / config.rescale_factor) as f32 } else { 1.0 };
    for (channel, values) in table.iter_mut().enumerate() {
        for (sample, value) in values.iter_mut().enumerate() {
            let x = sample as f32;
            *value = match (config.do_normalize, config.do_rescale) {
                (true, _) => (x - config.image_mean[channel] * scale) / (config.image_std[channel] * scale),
                (false, true) => x * config.rescale_factor as f32,
                (false, false) => x,
            };
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_mean_and_std_map_to_minus_one_and_one() {
        let table = tabulate_samples(&PreprocessorConfig::default());
        assert_eq!((table[0][0], table[1][255]), (-1.0, 1.0));
        assert_eq!(table[2][128], (128.0 - 127.5) / 127.5);
    }

    #[test]
    fn each_step_can_be_switched_off() {
        let plain = PreprocessorConfig { do_rescale: false, do_normalize: false, ..Default::default() };
        assert_eq!(tabulate_samples(&plain)[1][200], 200.0);
        let rescaled = PreprocessorConfig { do_normalize: false, ..Default::default() };
        assert_eq!(tabulate_samples(&rescaled)[1][255], 1.0);
        let mean = PreprocessorConfig { image_mean: [0.5, 0.25, 0.0], do_rescale: false, ..Default::default() };
        assert_eq!(tabulate_samples(&mean)[1][1], (1.0 - 0.25) / 0.5);
    }
}

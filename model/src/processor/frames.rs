//! Which frames of a video the model sees, and when they happened.
//!
//! ```text
//! n        = clamp(trunc(frames / source_fps * fps), min_frames, max_frames), at most frames
//! n        = min(num_frames, frames)                                      where that is set
//! index i  = round(i * (frames - 1) / (n - 1))                           ties to even, as NumPy
//! time j   = (index[j T] + index[j T + T - 1]) / (2 source_fps)          for each temporal patch of T frames, in seconds
//! ```
//!
//! Source: `sample_frames` and `_calculate_timestamps` of HF transformers' Qwen3-VL processors.

use super::{ImageError, VideoConfig};

/// Frames a second assumed for a video that doesn't tell.
pub const DEFAULT_SOURCE_FPS: f64 = 24.0;

/// Chooses frames of a video of `frames` frames; returns their indices, in order.
///
/// Without `source_fps`, [`DEFAULT_SOURCE_FPS`] is assumed, with a warning: timestamps may be wrong.
///
/// # Errors
/// [`ImageError::NoFrames`]; [`ImageError::FrameRate`] unless `source_fps` is positive and finite.
pub fn sample_frames(frames: usize, source_fps: Option<f64>, config: &VideoConfig) -> Result<Vec<usize>, ImageError> {
    let count = count_samples(frames, source_fps, config)?;
    if count < 2 {
        return Ok(vec![0]);
    }
    let step = (frames - 1) as f64 / (count - 1) as f64;
    let mut indices: Vec<usize> = (0..count).map(|i| (i as f64 * step).round_ties_even() as usize).collect();
    // NumPy sets the last point exactly; `i * step` may miss it.
    indices[count - 1] = frames - 1;
    Ok(indices)
}

/// Counts the frames that [`sample_frames`] chooses.
///
/// # Errors
/// As [`sample_frames`].
pub(super) fn count_samples(frames: usize, source_fps: Option<f64>, config: &VideoConfig) -> Result<usize, ImageError> {
    if frames == 0 {
        return Err(ImageError::NoFrames);
    }
    if let Some(count) = config.num_frames {
        return Ok(count.min(frames));
    }
    let wanted = (frames as f64 / resolve_fps(source_fps)? * config.fps) as usize;
    Ok(wanted.max(config.min_frames).min(config.max_frames).min(frames))
}

/// Computes the time of every temporal patch of the frames at `indices`, in seconds.
///
/// A patch of `temporal` frames happens midway between its first and its last; the last index is repeated to fill a
/// patch.
///
/// # Errors
/// [`ImageError::NoFrames`]; [`ImageError::FrameRate`] unless `source_fps` is positive and finite;
/// [`ImageError::Setting`] for a `temporal` of zero.
pub fn compute_timestamps(indices: &[usize], source_fps: Option<f64>, temporal: usize) -> Result<Vec<f64>, ImageError> {
    let last = *indices.last().ok_or(ImageError::NoFrames)?;
    if temporal == 0 {
        let value = temporal.to_string();
        return Err(ImageError::Setting { name: "temporal_patch_size", value, expected: "a positive number" });
    }
    let fps = resolve_fps(source_fps)?;
    let seconds = |index: usize| index as f64 / fps;
    Ok(indices
        .chunks(temporal)
        .map(|patch| {
            let end = if patch.len() == temporal { patch[temporal - 1] } else { last };
            (seconds(patch[0]) + seconds(end)) / 2.0
        })
        .collect())
}

/// The rate given, or [`DEFAULT_SOURCE_FPS`] with a warning.
///
/// # Errors
/// [`ImageError::FrameRate`] unless it is positive and finite.
pub(super) fn resolve_fps(source_fps: Option<f64>) -> Result<f64, ImageError> {
    match source_fps {
        Some(fps) if fps.is_finite() && fps > 0.0 => Ok(fps),
        Some(fps) => Err(ImageError::FrameRate { fps }),
        None => {
            tracing::warn!("the frame rate of a video is unknown: assuming {DEFAULT_SOURCE_FPS} frames a second");
            Ok(DEFAULT_SOURCE_FPS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_as_numpy_rounds() {
        let config = VideoConfig::default();
        // 23 frames at 10 a second: trunc(2.3 * 2) = 4 frames at 0, 7.33, 14.67, 22.
        assert_eq!(sample_frames(23, Some(10.0), &config).unwrap(), [0, 7, 15, 22]);
        // 5 frames at 29.97: the minimum of 4, at 0, 1.33, 2.67, 4.
        assert_eq!(sample_frames(5, Some(29.97), &config).unwrap(), [0, 1, 3, 4]);
        // 4 of 4 and 1 of 1: never more than there are.
        assert_eq!(sample_frames(3, Some(30.0), &config).unwrap(), [0, 1, 2]);
        assert_eq!(sample_frames(1, Some(30.0), &config).unwrap(), [0]);
        // Ties: 6 frames, 3 of them, at 0, 2.5, 5.
        let three = VideoConfig { min_frames: 1, max_frames: 3, fps: 100.0, ..Default::default() };
        assert_eq!(sample_frames(6, Some(30.0), &three).unwrap(), [0, 2, 5]);
        assert_eq!(sample_frames(100_000, Some(25.0), &config).unwrap().len(), 768);
    }

    #[test]
    fn times_are_means_of_first_and_last() {
        assert_eq!(compute_timestamps(&[0, 7, 15, 22], Some(10.0), 2).unwrap(), [0.35, 1.85]);
        // An odd count repeats the last frame; without a rate it is 24.
        assert_eq!(compute_timestamps(&[0, 12, 24], None, 2).unwrap(), [0.25, 1.0]);
        assert_eq!(compute_timestamps(&[0, 3, 6, 9], Some(3.0), 3).unwrap(), [1.0, 3.0]);
    }

    #[test]
    fn refuses_no_frames_and_no_rate() {
        let config = VideoConfig::default();
        assert!(matches!(sample_frames(0, None, &config), Err(ImageError::NoFrames)));
        assert!(matches!(compute_timestamps(&[], None, 2), Err(ImageError::NoFrames)));
        for fps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(sample_frames(9, Some(fps), &config), Err(ImageError::FrameRate { .. })));
            assert!(matches!(compute_timestamps(&[1], Some(fps), 2), Err(ImageError::FrameRate { .. })));
        }
    }
}

//! `scenes speed`: how fast samples are drawn.

use std::time::Instant;

use clap::Args;
use kiln_scenes::{Samples, SceneError};

use crate::DrawArgs;

/// Measures one thread.
#[derive(Debug, Args)]
pub struct SpeedArgs {
    #[command(flatten)]
    draw: DrawArgs,
}

/// Draws and renders samples, and prints how many a second.
///
/// # Errors
/// Those of reading the art.
pub fn measure(args: &SpeedArgs) -> Result<(), SceneError> {
    let options = args.draw.options()?;
    let begin = Instant::now();
    let (mut pictures, mut pixels) = (0, 0);
    for sample in Samples::new(args.draw.seed, options).take(args.draw.count) {
        for scene in &sample.scenes {
            let picture = std::hint::black_box(scene.render());
            pictures += 1;
            pixels += u64::from(picture.width() * picture.height());
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let count = args.draw.count as f64;
    println!(
        "{count} samples, {pictures} pictures of {:.0} pixels in {seconds:.2} s: {:.0} samples and {:.0} pictures a second",
        pixels as f64 / f64::from(pictures),
        count / seconds,
        f64::from(pictures) / seconds
    );
    Ok(())
}

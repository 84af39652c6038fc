//! RMS norm.

use super::case::{Cases, Kind, allocate, name};
use burn_kiln_fusion::cube::{Reduction, RmsNormOptions, rms_norm, rms_norm::Strategy};
use burn_std::DType::{BF16, F16, F32};

/// Rows of the models (2,048 and 128), of every cube size that the blueprint can have, and of lengths without vectors.
pub fn add(cases: &mut Cases) {
    for (x, gamma) in [(F32, F32), (F32, F16), (F32, BF16), (F16, F16), (F16, F32), (BF16, BF16)] {
        for d in [2048, 128, 256, 512, 1024, 1, 33, 66, 129, 258, 1026, 4099] {
            let case = format!("rms_norm {} x {} [8, {d}]", name(x), name(gamma));
            let options = RmsNormOptions::new(1e-6).with_rstd();
            cases.add(case, Kind::Streaming, || {
                rms_norm(&allocate(&[8, d], x), &allocate(&[d], gamma), options).unwrap();
            });
        }
    }
    let tree = RmsNormOptions::new(1e-6).with_strategy(Strategy::Reduce(Reduction::SharedMemory));
    cases.add("rms_norm f32 x f32 [8, 2048], tree", Kind::Streaming, || {
        rms_norm(&allocate(&[8, 2048], F32), &allocate(&[2048], F32), tree).unwrap();
    });
}

//! Kernels over rows and elements.

use super::case::{Cases, Kind::Streaming, allocate, name};
use burn_kiln_fusion::{
    Activation,
    cube::{Reduction, RmsNormOptions, SoftmaxForm, Strategy, activate, add_norm, layer_norm, rms_norm, softmax},
};
use burn_std::DType::{BF16, F16, F32};

/// Rows of the models (2,048 and 128), of every cube size that the blueprint can have, and of lengths without vectors.
const LENGTHS: [usize; 12] = [2048, 128, 256, 512, 1024, 1, 33, 66, 129, 258, 1026, 4099];

/// Where the same kernel reduces something else: the models' rows, and some without vectors.
const SOME_LENGTHS: [usize; 4] = [2048, 128, 33, 4099];

pub fn add(cases: &mut Cases) {
    add_rms_norms(cases);
    for x in [F32, F16, BF16] {
        let stored = name(x);
        for d in SOME_LENGTHS {
            let (rows, gamma) = (allocate(&[64, d], x), allocate(&[d], x));
            cases.add(format!("layer_norm {stored} [64, {d}]"), Streaming, || {
                layer_norm(&rows, &gamma, Some(&gamma), 1e-6, Strategy::Auto).unwrap();
            });
            cases.add(format!("add_norm {stored} [64, {d}]"), Streaming, || {
                add_norm(&rows, &rows, &gamma, 1e-6, Strategy::Auto).unwrap();
            });
            for form in [SoftmaxForm::Plain, SoftmaxForm::Log] {
                cases.add(format!("softmax {form:?} {stored} [64, {d}]"), Streaming, || {
                    softmax(&rows, form, Strategy::Auto).unwrap();
                });
            }
        }
        for count in [8 * 6144, 1027] {
            let values = allocate(&[count], x);
            for activation in [Activation::GeluTanh, Activation::GeluErf, Activation::Silu] {
                for up in [None, Some(&values)] {
                    let gated = if up.is_some() { " gated" } else { "" };
                    cases.add(format!("{activation:?}{gated} {stored} [{count}]"), Streaming, || {
                        activate(&values, up, activation).unwrap();
                    });
                }
            }
        }
    }
}

fn add_rms_norms(cases: &mut Cases) {
    for (x, gamma) in [(F32, F32), (F32, BF16), (F16, F16), (BF16, BF16)] {
        for d in LENGTHS {
            let case = format!("rms_norm {} x {} [8, {d}]", name(x), name(gamma));
            let options = RmsNormOptions::new(1e-6).with_rstd();
            cases.add(case, Streaming, || {
                rms_norm(&allocate(&[8, d], x), &allocate(&[d], gamma), options).unwrap();
            });
        }
    }
    let tree = RmsNormOptions::new(1e-6).with_strategy(Strategy::Reduce(Reduction::SharedMemory));
    cases.add("rms_norm f32 x f32 [8, 2048], tree", Streaming, || {
        rms_norm(&allocate(&[8, 2048], F32), &allocate(&[2048], F32), tree).unwrap();
    });
}

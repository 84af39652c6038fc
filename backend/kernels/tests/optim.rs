//! The AdamW step and sums of squares on every tier of this machine against f64.

mod reference;

use half::{bf16, f16};
use kiln_kernels::optim::{AdamW, AdamWSlices, Gradient, adamw, sum_of_squares};
use kiln_kernels::simd::Tier;
use kiln_kernels::{ElementType, Floats, FloatsMut, Launch};
use reference::{Element, assert_close, exact, launches, random};

fn options(step: u64) -> AdamW {
    AdamW { learning_rate: 0.01, beta_1: 0.9, beta_2: 0.99, epsilon: 1e-8, weight_decay: 0.1, step, grad_scale: 0.5 }
}

/// Parameter and moments after a step, in the order of PyTorch's documentation.
fn exact_step([p, m, v]: [f64; 3], g: f64, by: AdamW) -> [f64; 3] {
    let g = g * by.grad_scale;
    let p = p - by.learning_rate * by.weight_decay * p;
    let m = by.beta_1 * m + (1.0 - by.beta_1) * g;
    let v = by.beta_2 * v + (1.0 - by.beta_2) * g * g;
    let (m_hat, v_hat) = (m / (1.0 - by.beta_1.powf(by.step as f64)), v / (1.0 - by.beta_2.powf(by.step as f64)));
    [p - by.learning_rate * m_hat / (v_hat.sqrt() + by.epsilon), m, v]
}

/// Parameters of `P`, with a master copy or without, and gradients of `G`, over several steps.
fn check<P: Element, G: Element>(launch: Launch, len: usize, has_master: bool) {
    let what = (launch, len, has_master, P::TYPE, G::TYPE);
    let mut p = random::<P>(len, 1);
    let mut master: Vec<f32> = p.iter().map(|p| p.to_f32()).collect();
    let (mut m, mut v) = (vec![0.0f32; len], vec![0.0f32; len]);
    for step in 1..=3 {
        let grad = random::<G>(len, 10 + step);
        // From the numbers that are stored, so that each step is compared by itself.
        let read = if has_master { exact(&master) } else { exact(&p) };
        let before = read.iter().zip(exact(&m)).zip(exact(&v)).map(|((p, m), v)| [*p, m, v]);
        let want: Vec<[f64; 3]> = before.zip(exact(&grad)).map(|(s, g)| exact_step(s, g, options(step))).collect();
        let of = |i: usize| want.iter().map(|want| want[i]).collect::<Vec<f64>>();
        let slices = AdamWSlices {
            parameter: P::view_mut(&mut p),
            master: has_master.then_some(&mut master[..]),
            moment_1: &mut m,
            moment_2: &mut v,
        };
        adamw(launch, options(step), slices, Gradient::Dense(G::view(&grad)));
        // The update is at most a few hundredths, whose error is that of its quotient.
        assert_close(&p, &of(0), 2e-7, 1e-8, &("parameter", step, what));
        // A sum of terms of 0.2 at most, each rounded.
        assert_close(&m, &of(1), 2e-7, 3e-8, &("first moment", step, what));
        assert_close(&v, &of(2), 4e-7, 1e-12, &("second moment", step, what));
        if has_master {
            assert_close(&master, &of(0), 2e-7, 1e-8, &("master copy", step, what));
            assert!(p.iter().zip(&master).all(|(p, master)| *p == P::from_f32(*master)), "{what:?}");
        }
    }
}

#[test]
fn steps_of_every_length_and_type() {
    for launch in launches() {
        for len in (0..36).chain([64, 1000, 300_001]) {
            check::<f32, f32>(launch, len, false);
        }
        for len in [1, 31, 100, 70_001] {
            for has_master in [false, true] {
                check::<bf16, f32>(launch, len, has_master);
                check::<bf16, bf16>(launch, len, has_master);
                check::<f16, f32>(launch, len, has_master);
                check::<f16, f16>(launch, len, has_master);
            }
            check::<f32, f32>(launch, len, true);
        }
    }
}

/// The gradient of some rows is the dense one with zeros between.
#[test]
fn rows_are_a_dense_gradient_with_zeros() {
    let (rows, hidden) = (301, 37);
    for launch in launches() {
        for ids in [vec![], vec![0], vec![300], vec![0, 1, 7, 150, 151, 299, 300], (0..rows).collect()] {
            let data = random::<f32>(ids.len() * hidden, 1);
            let mut dense = vec![0.0f32; rows * hidden];
            for (id, row) in ids.iter().zip(data.chunks(hidden)) {
                dense[id * hidden..(id + 1) * hidden].copy_from_slice(row);
            }
            let run = |grad| {
                let (mut p, mut m) = (random::<bf16>(rows * hidden, 2), random::<f32>(rows * hidden, 3));
                let mut v: Vec<f32> = random::<f32>(rows * hidden, 4).into_iter().map(f32::abs).collect();
                let parameter = FloatsMut::Bf16(&mut p);
                let slices = AdamWSlices { parameter, master: None, moment_1: &mut m, moment_2: &mut v };
                adamw(launch, options(4), slices, grad);
                (p, m, v)
            };
            let named = run(Gradient::Rows { ids: &ids, data: &data, hidden });
            assert!(named == run(Gradient::Dense(Floats::F32(&dense))), "{launch:?} {ids:?}");
        }
    }
}

#[test]
fn nan_and_infinity_touch_their_element_alone() {
    for launch in launches() {
        for bad in [f32::NAN, f32::INFINITY] {
            let (mut p, mut m, mut v, mut grad) = ([1.0f32; 40], [0.0f32; 40], [0.0f32; 40], [0.1f32; 40]);
            grad[37] = bad;
            let parameter = FloatsMut::F32(&mut p);
            let slices = AdamWSlices { parameter, master: None, moment_1: &mut m, moment_2: &mut v };
            adamw(launch, options(1), slices, Gradient::Dense(Floats::F32(&grad)));
            // ∞/∞ is NaN.
            assert!(p[37].is_nan() && !m[37].is_finite() && !v[37].is_finite(), "{launch:?} {bad}");
            assert!(p.iter().enumerate().all(|(i, p)| i == 37 || p.is_finite()), "{launch:?} {bad}");
        }
    }
}

#[test]
fn types_of_gradients() {
    use ElementType::{Bf16, F16, F32};
    assert!(Gradient::takes(F32, Bf16) && Gradient::takes(Bf16, Bf16) && Gradient::takes(F32, F32));
    assert!(!Gradient::takes(Bf16, F32) && !Gradient::takes(F16, Bf16));
}

#[test]
#[should_panic(expected = "a gradient of Bf16 for a parameter of F32")]
fn a_type_that_is_not_taken() {
    let slices =
        AdamWSlices { parameter: FloatsMut::F32(&mut [0.0]), master: None, moment_1: &mut [0.0], moment_2: &mut [0.0] };
    adamw(Launch::single(Tier::Portable), options(1), slices, Gradient::Dense(Floats::Bf16(&[bf16::ONE])));
}

#[test]
#[should_panic(expected = "rising rows of 3")]
fn rows_must_rise() {
    let slices = AdamWSlices {
        parameter: FloatsMut::F32(&mut [0.0; 6]),
        master: None,
        moment_1: &mut [0.0; 6],
        moment_2: &mut [0.0; 6],
    };
    adamw(
        Launch::single(Tier::Portable),
        options(1),
        slices,
        Gradient::Rows { ids: &[1, 1], data: &[0.0; 4], hidden: 2 },
    );
}

fn check_squares<S: Element>(launch: Launch, len: usize) {
    let x = random::<S>(len, 1);
    let want: f64 = exact(&x).iter().map(|x| x * x).sum();
    let got = sum_of_squares(launch, S::view(&x));
    assert!((got - want).abs() <= 1e-6 * want, "{launch:?} {len}: {got} for {want}");
}

#[test]
fn squares_of_every_length_and_type() {
    for launch in launches() {
        for len in (0..70).chain([1023, 1024, 1025, 65_535, 65_537, 300_001]) {
            check_squares::<f32>(launch, len);
            check_squares::<bf16>(launch, len);
            check_squares::<f16>(launch, len);
        }
    }
}

#[test]
fn squares_are_the_same_bits_for_every_number_of_threads() {
    let x = random::<f32>(400_003, 1);
    for tier in Tier::available() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
            pool.install(|| sum_of_squares(Launch { threads, ..Launch::single(tier) }, Floats::F32(&x)).to_bits())
        };
        let one = run(1);
        assert!([2, 3, 7].into_iter().all(|threads| run(threads) == one), "{tier:?}");
    }
}

#[test]
fn squares_of_special_numbers() {
    for launch in launches() {
        for at in [0, 500, 1100] {
            let mut x = vec![1.0f32; 1101];
            x[at] = f32::NAN;
            assert!(sum_of_squares(launch, Floats::F32(&x)).is_nan(), "{launch:?} {at}");
            x[at] = f32::NEG_INFINITY;
            assert_eq!(sum_of_squares(launch, Floats::F32(&x)), f64::INFINITY, "{launch:?} {at}");
        }
        // A sum beyond what f32 holds, of runs within it; and runs beyond it.
        let large = vec![3e17f32; 1 << 14];
        let sum = sum_of_squares(launch, Floats::F32(&large));
        assert!((sum / (9e34 * f64::from(1 << 14)) - 1.0).abs() < 1e-6, "{launch:?} {sum}");
        assert_eq!(sum_of_squares(launch, Floats::F32(&[1e19; 4096])), f64::INFINITY, "{launch:?}");
    }
}

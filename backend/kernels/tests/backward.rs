//! Kernels of backward passes on every tier of this machine against f64.

mod reference;

use core::f64::consts::{FRAC_1_SQRT_2, PI};
use half::bf16;
use kiln_kernels::backward::{
    Buffer, Head, HeadGradients, HeadLoss, RowLoss, activation_backward, activation_backward_with_sums, column_sums,
    cross_entropy, head_cross_entropy, silu_mul_backward,
};
use kiln_kernels::config::{IsaChoice, KernelConfig};
use kiln_kernels::gemm::{GemmError, Matrix};
use kiln_kernels::moe::{ExpertGradients, Experts, Gates, MoeGradients, moe_backward};
use kiln_kernels::simd::Tier;
use kiln_kernels::{Activation, Floats};
use reference::{assert_close, erfc, exact, launches, random};

const ACTIVATIONS: [Activation; 3] = [Activation::GeluTanh, Activation::GeluErf, Activation::Silu];

/// What a slope is off by at most: a few roundings of numbers near 1.
const SLOPE_ERROR: f64 = 5e-7;

/// The exact derivative; far out its limit, which formulas miss.
fn slope(activation: Activation, x: f64) -> f64 {
    if x.abs() > 1e4 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let logistic = |u: f64| 1.0 / (1.0 + (-u).exp());
    match activation {
        Activation::GeluTanh => {
            let (root, cubic) = ((8.0 / PI).sqrt(), 0.044715);
            let f = logistic(root * (x + cubic * x.powi(3)));
            f + x * f * logistic(-root * (x + cubic * x.powi(3))) * root * (1.0 + 3.0 * cubic * x * x)
        }
        Activation::GeluErf => 0.5 * erfc(-x * FRAC_1_SQRT_2) + x * (-x * x / 2.0).exp() / (2.0 * PI).sqrt(),
        Activation::Silu => logistic(x) + x * logistic(x) * logistic(-x),
    }
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// Configurations of every tier, on one thread and on two.
fn configs() -> Vec<KernelConfig> {
    let choice = |tier| match tier {
        Tier::Portable => IsaChoice::Portable,
        Tier::Avx2 => IsaChoice::Avx2,
        Tier::Avx512 => IsaChoice::Avx512,
        Tier::Avx512Bf16 => IsaChoice::Avx512Bf16,
        Tier::Amx => IsaChoice::Amx,
    };
    let with = |tier, threads| {
        let mut config = KernelConfig::default();
        config.simd.isa = choice(tier);
        config.threads.max = Some(threads);
        config
    };
    Tier::available().into_iter().flat_map(|tier| [1, 2].map(|threads| with(tier, threads))).collect()
}

/// `Σ x[i][j]` and `Σ |x[i][j]|` over rows of `width`.
fn sum_rows(x: &[f64], width: usize) -> [Vec<f64>; 2] {
    let mut sums = [vec![0.0; width], vec![0.0; width]];
    for (i, x) in x.iter().enumerate() {
        sums[0][i % width] += x;
        sums[1][i % width] += x.abs();
    }
    sums
}

/// Asserts sums of `count` terms whose magnitudes add up to `sizes`.
fn assert_sums(got: &[f32], [want, sizes]: [Vec<f64>; 2], count: usize, what: &str) {
    assert_eq!(got.len(), want.len());
    for (j, ((&got, want), size)) in got.iter().zip(want).zip(sizes).enumerate() {
        let allowed = (count + 4) as f64 * f64::from(f32::EPSILON) * size;
        assert!((f64::from(got) - want).abs() <= allowed, "{what}: sum {j} is {got}, not {want}");
    }
}

#[test]
fn slopes_of_all_floats() {
    let mut xs: Vec<f32> = (0..=u32::MAX).step_by(4093).map(f32::from_bits).collect();
    xs.extend((-3000..3000).map(|i| i as f32 / 150.0));
    xs.extend([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0]);
    let ones = vec![1.0; xs.len()];
    for launch in launches() {
        for activation in ACTIVATIONS {
            let mut out = vec![0.0; xs.len()];
            activation_backward(launch, activation, &xs, Buffer::New { from: &ones, to: &mut out });
            for (&x, &y) in xs.iter().zip(&out) {
                let want = slope(activation, x.into());
                let fits = if x.is_nan() { y.is_nan() } else { (f64::from(y) - want).abs() <= SLOPE_ERROR };
                assert!(fits, "{launch:?} {activation:?}'({x:e}) = {y:e}, not {want:e}");
            }
        }
    }
}

#[test]
fn gradients_of_activations_and_their_sums() {
    for launch in launches() {
        for activation in ACTIVATIONS {
            for (rows, width) in [(0, 5), (1, 1), (3, 67), (130, 64), (300, 33), (257, 4100)] {
                let what = format!("{launch:?} {activation:?} {rows} x {width}");
                let (x, grad) = (random::<f32>(rows * width, 1), random::<f32>(rows * width, 2));
                let want: Vec<f64> =
                    x.iter().zip(&grad).map(|(&x, &g)| f64::from(g) * slope(activation, x.into())).collect();
                let (mut sums, mut in_place) = (vec![f32::NAN; width], grad.clone());
                activation_backward_with_sums(launch, activation, &x, Buffer::InPlace(&mut in_place), &mut sums);
                assert_close(&in_place, &want, 0.0, 2.0 * SLOPE_ERROR, &what);
                assert_sums(&sums, sum_rows(&exact(&in_place), width), rows, &what);
                let mut alone = vec![f32::NAN; rows * width];
                activation_backward(launch, activation, &x, Buffer::New { from: &grad, to: &mut alone });
                assert_close(&alone, &want, 0.0, 2.0 * SLOPE_ERROR, &what);
            }
        }
    }
}

#[test]
fn sums_over_rows() {
    for launch in launches() {
        for (rows, width) in [(0, 3), (1, 1), (2, 15), (5, 17), (127, 64), (129, 33), (1000, 100), (64, 5000)] {
            let x = random::<f32>(rows * width, 3);
            let mut sums = vec![f32::NAN; width];
            column_sums(launch, &x, &mut sums);
            assert_sums(&sums, sum_rows(&exact(&x), width), rows, &format!("{launch:?} {rows} x {width}"));
        }
        let mut sums = [0.0; 3];
        column_sums(launch, &[1.0, f32::NAN, f32::INFINITY, 2.0, 3.0, 4.0], &mut sums);
        assert!(sums[0] == 3.0 && sums[1].is_nan() && sums[2] == f32::INFINITY, "{sums:?}");
    }
}

#[test]
fn gradients_of_gated_products() {
    for launch in launches() {
        for len in [0, 1, 15, 64, 67, 130_000] {
            let [gate, up, dh] = [1, 2, 3].map(|seed| random::<f32>(len, seed));
            let [g, u, d] = [&gate, &up, &dh].map(|x| exact(x));
            let want = [0, 1, 2].map(|which| {
                let one = |i: usize| match which {
                    0 => d[i] * u[i] * slope(Activation::Silu, g[i]),
                    1 => d[i] * silu(g[i]),
                    _ => silu(g[i]) * u[i],
                };
                (0..len).map(one).collect::<Vec<_>>()
            });
            let mut results = [gate.clone(), up.clone(), dh.clone()];
            let [a, b, c] = &mut results;
            silu_mul_backward(launch, Buffer::InPlace(a), Buffer::InPlace(b), Buffer::InPlace(c));
            let mut others = [1, 2, 3].map(|_| vec![f32::NAN; len]);
            let [a, b, c] = &mut others;
            let new = |from, to| Buffer::New { from, to };
            silu_mul_backward(launch, new(&gate, a), new(&up, b), new(&dh, c));
            for (which, want) in want.iter().enumerate() {
                assert_close(&results[which], want, 1e-6, 4.0 * SLOPE_ERROR, &(launch, len, which));
                assert_eq!(results[which], others[which]);
            }
        }
        let mut results = [[f32::NAN, 1.0, f32::INFINITY], [1.0, f32::NAN, 2.0], [1.0, 1.0, 3.0]];
        let [a, b, c] = &mut results;
        silu_mul_backward(launch, Buffer::InPlace(a), Buffer::InPlace(b), Buffer::InPlace(c));
        assert!(results.iter().all(|x| x[0].is_nan()) && results[0][1].is_nan() && results[2][1].is_nan());
        assert_eq!([results[0][2], results[1][2], results[2][2]], [6.0, f32::INFINITY, f32::INFINITY]);
    }
}

/// `lse` of a row in f64.
fn lse(row: &[f64]) -> f64 {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + row.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

#[test]
fn losses_of_rows() {
    for launch in launches() {
        for (rows, width) in [(0, 7), (1, 1), (5, 67), (3, 4096), (2, 9001), (40, 20_000)] {
            let what = format!("{launch:?} {rows} x {width}");
            let mut logits = random::<f32>(rows * width, 5);
            logits.iter_mut().for_each(|x| *x *= 20.0);
            let targets: Vec<usize> = (0..rows).map(|row| row * 7919 % width).collect();
            let before = exact(&logits);
            let mut out = vec![RowLoss::default(); rows];
            let mut kept = logits.clone();
            cross_entropy(launch, &mut kept, width, &targets, None, &mut out);
            assert_eq!(kept, logits, "{what}: written without a gradient");
            let mut again = out.clone();
            cross_entropy(launch, &mut logits, width, &targets, Some(0.25), &mut again);
            assert_eq!(out, again, "{what}");
            for (row, RowLoss { lse: got, loss }) in out.into_iter().enumerate() {
                let x = &before[row * width..(row + 1) * width];
                let want = lse(x);
                assert!((f64::from(got) - want).abs() <= 1e-5 * want.abs().max(1.0), "{what}: {got} for {want}");
                let want = want - x[targets[row]];
                assert!((f64::from(loss) - want).abs() <= 1e-5 * want.abs().max(40.0), "{what}: {loss} for {want}");
                let p: Vec<f64> =
                    x.iter().map(|x| 0.25 * (x - lse(before[row * width..][..width].as_ref())).exp()).collect();
                let p: Vec<f64> =
                    p.into_iter().enumerate().map(|(i, p)| p - if i == targets[row] { 0.25 } else { 0.0 }).collect();
                assert_close(&logits[row * width..(row + 1) * width], &p, 1e-4, 1e-7, &what);
                if width > 10_000 {
                    break;
                }
            }
        }
    }
}

#[test]
fn losses_of_rows_with_nan_and_infinities() {
    let infinite = f32::NEG_INFINITY;
    for launch in launches() {
        for width in [5, 9000] {
            let mut rows = vec![infinite; 4 * width];
            // Masked but for two; one NaN; an infinite logit; a NaN behind a block of -∞.
            rows[width - 2] = 1.0;
            rows[width - 1] = 1.0;
            rows[width..2 * width].fill(0.5);
            rows[width + 1] = f32::NAN;
            rows[2 * width..3 * width].fill(0.5);
            rows[3 * width - 1] = f32::INFINITY;
            rows[4 * width - 1] = f32::NAN;
            let mut out = [RowLoss::default(); 4];
            cross_entropy(launch, &mut rows, width, &[width - 1, 0, 0, 0], Some(1.0), &mut out);
            let ln_2 = core::f32::consts::LN_2;
            assert!((out[0].lse - 1.0 - ln_2).abs() < 1e-6 && (out[0].loss - ln_2).abs() < 1e-6, "{:?}", out[0]);
            assert!(rows[..width - 2].iter().all(|&x| x == 0.0), "masked logits have no gradient");
            assert!((rows[width - 2] - 0.5).abs() < 1e-6 && (rows[width - 1] + 0.5).abs() < 1e-6);
            assert!(out[1..].iter().all(|row| row.lse.is_nan() && row.loss.is_nan()), "{out:?}");
        }
    }
}

/// A head, its positions and what they come to in f64.
struct HeadCase {
    hidden: Vec<f32>,
    weight: Vec<bf16>,
    targets: Vec<Option<usize>>,
    width: usize,
    vocab: usize,
}

impl HeadCase {
    fn new([positions, width, vocab]: [usize; 3], counts: impl Fn(usize) -> bool) -> Self {
        let targets = (0..positions).map(|i| counts(i).then_some(i * 7919 % vocab)).collect();
        Self { hidden: random(positions * width, 1), weight: random(vocab * width, 2), targets, width, vocab }
    }

    /// Loss, log-sum-exps and gradients with `share`.
    fn expect(&self, share: f64) -> (f64, Vec<f64>, Vec<f64>, Vec<f64>) {
        let (h, w) = (exact(&self.hidden), exact(&self.weight));
        let (width, vocab) = (self.width, self.vocab);
        let mut all = (0.0, vec![0.0; self.targets.len()], vec![0.0; h.len()], vec![0.0; w.len()]);
        for (i, target) in self.targets.iter().enumerate() {
            let Some(target) = *target else { continue };
            let row = &h[i * width..(i + 1) * width];
            let logit = |v: usize| row.iter().zip(&w[v * width..(v + 1) * width]).map(|(h, w)| h * w).sum::<f64>();
            let logits: Vec<f64> = (0..vocab).map(logit).collect();
            all.1[i] = lse(&logits);
            all.0 += all.1[i] - logits[target];
            for (v, logit) in logits.iter().enumerate() {
                let slope = share * ((logit - all.1[i]).exp() - if v == target { 1.0 } else { 0.0 });
                for p in 0..width {
                    all.2[i * width + p] += slope * w[v * width + p];
                    all.3[v * width + p] += slope * row[p];
                }
            }
        }
        all
    }
}

#[test]
fn heads_by_chunks_with_their_gradients() {
    for config in configs() {
        for sizes in [[0, 5, 7], [1, 1, 1], [7, 5, 33], [40, 33, 131]] {
            for chunk in [0, 1, 3, 16, 1000] {
                for every in [1, 3, 100] {
                    let case = HeadCase::new(sizes, |i| i % every == 0 && (every < 100 || i > 0));
                    let share = 0.5;
                    let (loss, sums, hidden, weight) = case.expect(share);
                    let what = (&config.simd.isa, sizes, chunk, every);
                    for trained in [false, true] {
                        let (mut dh, mut dw) = (vec![f32::NAN; hidden.len()], vec![f32::NAN; weight.len()]);
                        let mut got = vec![f32::NAN; sums.len()];
                        let view = Matrix::row_major(Floats::Bf16(&case.weight), case.vocab, case.width).unwrap();
                        let head = Head { hidden: &case.hidden, weight: view, targets: &case.targets };
                        let of_weight = trained.then_some(&mut dw[..]);
                        let gradients =
                            HeadGradients { share: share as f32, hidden: &mut dh, weight: of_weight, adds: false };
                        let HeadLoss { sum, count } =
                            head_cross_entropy(&exactly(&config), head, chunk, &mut got, Some(gradients)).unwrap();
                        assert_eq!(count, case.targets.iter().flatten().count(), "{what:?}");
                        assert!((sum - loss).abs() <= 1e-5 * loss.abs().max(1.0), "{what:?}: {sum} for {loss}");
                        assert_close(&got, &sums, 1e-6, 2e-5, &what);
                        assert_close(&dh, &hidden, 1e-5, 1e-4, &what);
                        if !trained {
                            continue;
                        }
                        assert_close(&dw, &weight, 1e-5, 1e-4, &what);
                        // Once more on top.
                        let gradients =
                            HeadGradients { share: share as f32, hidden: &mut dh, weight: Some(&mut dw), adds: true };
                        head_cross_entropy(&exactly(&config), head, chunk, &mut got, Some(gradients)).unwrap();
                        let twice: Vec<f64> = weight.iter().map(|x| 2.0 * x).collect();
                        assert_close(&dw, &twice, 1e-5, 2e-4, &what);
                        // The loss alone.
                        let alone = head_cross_entropy(&exactly(&config), head, chunk, &mut got, None).unwrap();
                        assert_eq!(alone, HeadLoss { sum, count });
                    }
                }
            }
        }
    }
}

/// `config` without rounding.
fn exactly(config: &KernelConfig) -> KernelConfig {
    let mut config = config.clone();
    config.simd.bf16_activations = false;
    config
}

#[test]
fn heads_of_other_sizes_are_errors() {
    let weight = Matrix::row_major(Floats::F32(&[0.0; 6]), 3, 2).unwrap();
    let head = Head { hidden: &[0.0; 5], weight, targets: &[Some(0), None] };
    let error = head_cross_entropy(&KernelConfig::default(), head, 8, &mut [0.0; 2], None).unwrap_err();
    assert!(matches!(error, GemmError::Shape { expected: 4, found: 5, .. }), "{error}");
    let head = Head { hidden: &[0.0; 4], ..head };
    let error = head_cross_entropy(&KernelConfig::default(), head, 8, &mut [0.0; 3], None).unwrap_err();
    assert!(matches!(error, GemmError::Shape { expected: 2, found: 3, .. }), "{error}");
}

/// A mixture with its router, in f64.
#[derive(Clone)]
struct Mixture {
    tokens: usize,
    hidden: usize,
    intermediate: usize,
    experts: usize,
    top_k: usize,
    normalize: bool,
    x: Vec<f64>,
    logits: Vec<f64>,
    gate_up: Vec<f64>,
    down: Vec<f64>,
    grad: Vec<f64>,
}

impl Mixture {
    fn new([tokens, hidden, intermediate, experts]: [usize; 4], top_k: usize, normalize: bool) -> Self {
        let draw = |len, seed| exact(&random::<f32>(len, seed));
        Self {
            tokens,
            hidden,
            intermediate,
            experts,
            top_k,
            normalize,
            x: draw(tokens * hidden, 1),
            logits: draw(tokens * experts, 2),
            gate_up: draw(experts * hidden * 2 * intermediate, 3).iter().map(|x| x / 4.0).collect(),
            down: draw(experts * intermediate * hidden, 4).iter().map(|x| x / 4.0).collect(),
            grad: draw(tokens * hidden, 5),
        }
    }

    /// Probabilities of a token.
    fn probabilities(&self, token: usize) -> Vec<f64> {
        let row = &self.logits[token * self.experts..(token + 1) * self.experts];
        let sum = lse(row);
        row.iter().map(|x| (x - sum).exp()).collect()
    }

    /// `Σ grad ⊙ output`.
    fn value(&self) -> f64 {
        let Self { tokens, hidden, intermediate, top_k, .. } = *self;
        let mut total = 0.0;
        for token in 0..tokens {
            let p = self.probabilities(token);
            let mut order: Vec<usize> = (0..self.experts).collect();
            order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
            let sum: f64 = if self.normalize { order[..top_k].iter().map(|&e| p[e]).sum() } else { 1.0 };
            for &e in &order[..top_k] {
                let wide = |j: usize| {
                    (0..hidden)
                        .map(|p| self.x[token * hidden + p] * self.gate_up[(e * hidden + p) * 2 * intermediate + j])
                        .sum::<f64>()
                };
                for j in 0..intermediate {
                    let h = silu(wide(j)) * wide(intermediate + j);
                    for q in 0..hidden {
                        let w = self.down[(e * intermediate + j) * hidden + q];
                        total += self.grad[token * hidden + q] * p[e] / sum * h * w;
                    }
                }
            }
        }
        total
    }

    /// Central differences by the numbers that `of` gives.
    fn differentiate(&self, of: impl Fn(&mut Self) -> &mut Vec<f64>) -> Vec<f64> {
        let mut moved = self.clone();
        let step = 1e-5;
        (0..of(&mut moved).len())
            .map(|i| {
                let was = of(&mut moved)[i];
                let mut at = |x: f64| {
                    of(&mut moved)[i] = x;
                    moved.value()
                };
                let slope = (at(was + step) - at(was - step)) / (2.0 * step);
                of(&mut moved)[i] = was;
                slope
            })
            .collect()
    }
}

#[test]
fn gradients_of_mixtures() {
    for (sizes, top_k, normalize) in
        [([1, 3, 2, 1], 1, false), ([7, 5, 3, 4], 2, true), ([20, 4, 17, 3], 2, false), ([4, 6, 3, 9], 3, true)]
    {
        let case = Mixture::new(sizes, top_k, normalize);
        let want_x = case.differentiate(|case| &mut case.x);
        let want_logits = case.differentiate(|case| &mut case.logits);
        let want_gate_up = case.differentiate(|case| &mut case.gate_up);
        let want_down = case.differentiate(|case| &mut case.down);
        let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let (x, grad) = (narrow(&case.x), narrow(&case.grad));
        let (gate_up, down) = (narrow(&case.gate_up), narrow(&case.down));
        let probabilities: Vec<f32> = (0..case.tokens).flat_map(|token| narrow(&case.probabilities(token))).collect();
        let gates = Gates { probabilities: &probabilities, top_k, normalize };
        let experts = Experts {
            gate_up: Floats::F32(&gate_up),
            down: Floats::F32(&down),
            count: case.experts,
            hidden: case.hidden,
            intermediate: case.intermediate,
        };
        for config in configs() {
            for trained in [true, false] {
                let what = (&config.simd.isa, sizes, trained);
                let (mut dx, mut dl) = (vec![f32::NAN; x.len()], vec![f32::NAN; probabilities.len()]);
                let (mut dg, mut dd) = (vec![f32::NAN; gate_up.len()], vec![f32::NAN; down.len()]);
                let of_experts = trained.then(|| ExpertGradients { gate_up: &mut dg, down: &mut dd });
                let to = MoeGradients { x: &mut dx, logits: &mut dl, experts: of_experts };
                moe_backward(&config, &x, gates, &experts, &grad, to);
                assert_close(&dx, &want_x, 1e-4, 1e-4, &what);
                assert_close(&dl, &want_logits, 1e-4, 1e-4, &what);
                if trained {
                    assert_close(&dg, &want_gate_up, 1e-4, 1e-4, &what);
                    assert_close(&dd, &want_down, 1e-4, 1e-4, &what);
                }
            }
        }
    }
}

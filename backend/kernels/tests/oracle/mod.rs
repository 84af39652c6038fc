//! A product with its operands, computed by definition in f64 and compared with the kernels.

use half::{bf16, f16};
use kiln_kernels::gemm::{Epilogue, Matrix, OutMatrix, PackedMatrix, Plan, Residual, gemm, gemm_packed};
use kiln_kernels::math::Activation;
use kiln_kernels::{Floats, FloatsMut};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// An element type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dtype {
    F32,
    Bf16,
    F16,
}

impl Dtype {
    /// Half of the distance between neighbours below the smallest normal number, where that is above what products
    /// reach.
    fn subnormal_rounding(self) -> f64 {
        if matches!(self, Self::F16) { 2f64.powi(-25) } else { 0.0 }
    }

    /// Half a unit in the last place of 1.
    fn rounding(self) -> f64 {
        match self {
            Self::F32 => f64::from(f32::EPSILON) / 2.0,
            Self::Bf16 => 1.0 / 256.0,
            Self::F16 => 1.0 / 2048.0,
        }
    }
}

/// Numbers of one element type.
#[derive(Debug, Clone)]
pub enum Values {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Values {
    pub fn random(seed: u64, len: usize) -> Vec<f32> {
        let mut random = StdRng::seed_from_u64(seed);
        (0..len).map(|_| random.random_range(-1.0..1.0)).collect()
    }

    fn new(dtype: Dtype, values: &[f32]) -> Self {
        match dtype {
            Dtype::F32 => Self::F32(values.to_vec()),
            Dtype::Bf16 => Self::Bf16(values.iter().map(|&x| bf16::from_f32(x)).collect()),
            Dtype::F16 => Self::F16(values.iter().map(|&x| f16::from_f32(x)).collect()),
        }
    }

    fn floats(&self) -> Floats<'_> {
        match self {
            Self::F32(x) => Floats::F32(x),
            Self::Bf16(x) => Floats::Bf16(x),
            Self::F16(x) => Floats::F16(x),
        }
    }

    fn floats_mut(&mut self) -> FloatsMut<'_> {
        match self {
            Self::F32(x) => FloatsMut::F32(x),
            Self::Bf16(x) => FloatsMut::Bf16(x),
            Self::F16(x) => FloatsMut::F16(x),
        }
    }

    fn get(&self, i: usize) -> f64 {
        match self {
            Self::F32(x) => x[i].into(),
            Self::Bf16(x) => x[i].into(),
            Self::F16(x) => x[i].into(),
        }
    }
}

/// A product to be checked.
#[derive(Debug, Clone)]
pub struct Case {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Dtype,
    pub b: Dtype,
    pub out: Dtype,
    pub a_transposed: bool,
    pub b_transposed: bool,
    /// Distance of neighbours along the contiguous dimension of A and B.
    pub step: isize,
    pub bias: bool,
    pub residual: bool,
    pub accumulate: bool,
    pub activation: Option<Activation>,
    pub seed: u64,
}

impl Case {
    pub fn new(m: usize, n: usize, k: usize) -> Self {
        Self {
            m,
            n,
            k,
            a: Dtype::F32,
            b: Dtype::F32,
            out: Dtype::F32,
            a_transposed: false,
            b_transposed: false,
            step: 1,
            bias: false,
            residual: false,
            accumulate: false,
            activation: None,
            seed: 7,
        }
    }

    /// Random operands, rounded to the element types.
    pub fn values(self) -> Operands {
        let Self { m, n, k, seed, .. } = self;
        let round = |dtype, x: Vec<f32>| {
            let rounded = Values::new(dtype, &x);
            (0..x.len()).map(|i| rounded.get(i) as f32).collect()
        };
        Operands {
            a: round(self.a, Values::random(seed ^ 1, m * k)),
            b: round(self.b, Values::random(seed ^ 2, k * n)),
            bias: Values::random(seed ^ 3, n),
            residual: Values::random(seed ^ 4, m * n),
            case: self,
        }
    }

    pub fn check(&self, plan: &Plan) {
        self.clone().values().check(plan);
    }

    pub fn check_packed(&self, plan: &Plan) {
        self.clone().values().check_packed(plan);
    }
}

/// A case with its numbers: A `[m, k]`, B `[k, n]`, both row-major.
#[derive(Debug, Clone)]
pub struct Operands {
    pub case: Case,
    pub a: Vec<f32>,
    pub b: Vec<f32>,
    pub bias: Vec<f32>,
    pub residual: Vec<f32>,
}

/// Lays a row-major matrix out with the strides of a case; gaps hold NaN, which must not be read.
fn lay_out(
    dtype: Dtype,
    values: &[f32],
    [rows, cols]: [usize; 2],
    transposed: bool,
    step: isize,
) -> (Values, usize, [isize; 2]) {
    let (outer, inner) = if transposed { (cols, rows) } else { (rows, cols) };
    let gap = step.unsigned_abs();
    let pitch = inner * gap + 3;
    let mut data = vec![f32::NAN; outer * pitch + 1];
    let offset = if step < 0 { inner.saturating_sub(1) * gap } else { 0 };
    for i in 0..rows {
        for j in 0..cols {
            let (o, x) = if transposed { (j, i) } else { (i, j) };
            data[(offset as isize + (o * pitch) as isize + x as isize * step) as usize] = values[i * cols + j];
        }
    }
    let strides = if transposed { [step, pitch as isize] } else { [pitch as isize, step] };
    (Values::new(dtype, &data), offset, strides)
}

impl Operands {
    /// [`gemm`] against the definition.
    pub fn check(&self, plan: &Plan) {
        let Case { m, n, k, a_transposed, b_transposed, step, .. } = self.case;
        let (a, a_offset, a_strides) = lay_out(self.case.a, &self.a, [m, k], a_transposed, step);
        let (b, b_offset, b_strides) = lay_out(self.case.b, &self.b, [k, n], b_transposed, step);
        let a = Matrix::new(a.floats(), a_offset, [m, k], a_strides).unwrap();
        let b = Matrix::new(b.floats(), b_offset, [k, n], b_strides).unwrap();
        self.run(plan, |out, epilogue| gemm(plan, &a, &b, out, epilogue).unwrap());
    }

    /// [`gemm_packed`] against the definition.
    pub fn check_packed(&self, plan: &Plan) {
        let Case { m, n, k, a_transposed, step, .. } = self.case;
        let (a, a_offset, a_strides) = lay_out(self.case.a, &self.a, [m, k], a_transposed, step);
        let a = Matrix::new(a.floats(), a_offset, [m, k], a_strides).unwrap();
        let rows: Vec<f32> = (0..n * k).map(|i| self.b[i % k * n + i / k]).collect();
        let rows = Values::new(self.case.b, &rows);
        let weight = PackedMatrix::pack(plan.launch, rows.floats(), [n, k]).unwrap();
        self.run(plan, |out, epilogue| gemm_packed(plan, &a, &weight, out, epilogue).unwrap());
    }

    /// Runs `product` into an output with gaps, and compares.
    fn run(&self, plan: &Plan, product: impl FnOnce(&mut OutMatrix<'_>, &Epilogue<'_>)) {
        let Case { m, n, k, .. } = self.case;
        let pitch = n + if n == 1 { 0 } else { 5 };
        let mark = 12.5f32;
        let before: Vec<f32> = (0..m * pitch + 2).map(|i| if i % 3 == 0 { mark } else { -0.75 }).collect();
        let mut out = Values::new(self.case.out, &before);
        let mut epilogue = Epilogue::bias(self.case.bias.then_some(Floats::F32(&self.bias)));
        epilogue.activation = self.case.activation;
        if self.case.residual {
            epilogue.residual = Residual::Add(Matrix::row_major(Floats::F32(&self.residual), m, n).unwrap());
        }
        if self.case.accumulate {
            epilogue.residual = Residual::Output;
        }
        let mut view = OutMatrix::new(out.floats_mut(), 1, [m, n], pitch).unwrap();
        product(&mut view, &epilogue);
        for (at, &was) in before.iter().enumerate() {
            let (i, j) = (at.wrapping_sub(1) / pitch.max(1), at.wrapping_sub(1) % pitch.max(1));
            let got = out.get(at);
            if at == 0 || j >= n || i >= m {
                assert_eq!(got, f64::from(was), "element {at} beside the output was written: {plan:?} {:?}", self.case);
                continue;
            }
            let terms = (0..k).map(|p| f64::from(self.a[i * k + p]) * f64::from(self.b[p * n + j]));
            let (mut want, mut size) = terms.fold((0.0, 0.0), |(sum, size): (f64, f64), x| (sum + x, size + x.abs()));
            if self.case.bias {
                want += f64::from(self.bias[j]);
                size += f64::from(self.bias[j].abs());
            }
            if let Some(activation) = self.case.activation {
                // Slopes are at most 1.13; the function itself is good to a few units of its argument.
                size = 1.2 * size + 4.0 * want.abs();
                want = activate(activation, want);
            }
            let last = [(self.case.residual, self.residual[i * n + j]), (self.case.accumulate, was)];
            for (_, x) in last.iter().filter(|(on, _)| *on) {
                want += f64::from(*x);
                size += f64::from(x.abs());
            }
            if !want.is_finite() {
                assert!(got.is_nan() == want.is_nan() && (want.is_nan() || got == want), "{got} for {want}: {plan:?}");
                continue;
            }
            // Each of k + 3 additions and products rounds by half a unit of at most the sum of magnitudes, and the
            // store once more.
            let unit = f64::from(f32::EPSILON) / 2.0;
            let allowed = size * unit * (2 * k + 4) as f64
                + ((want.abs() + size * unit) * self.case.out.rounding()).max(self.case.out.subnormal_rounding());
            assert!(
                (got - want).abs() <= allowed,
                "({i}, {j}): {got} for {want}, off by {:e} of {allowed:e}: {plan:?} {:?}",
                got - want,
                self.case
            );
        }
    }
}

/// The activations by definition.
fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::GeluTanh => {
            x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::GeluErf => x / 2.0 * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::Silu => x / (1.0 + (-x).exp()),
    }
}

/// `2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (2n+1)!!`, whose terms have one sign (Abramowitz and Stegun 7.1.6).
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, 0.0);
    for n in 0..400 {
        sum += term;
        term *= 2.0 * x * x / f64::from(2 * n + 3);
    }
    (2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum).clamp(-1.0, 1.0)
}

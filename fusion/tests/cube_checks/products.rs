//! Matrix products against f64, on any runtime.

use crate::cube_device::{
    assert_near, download, download_guarded, make_noise, round, stores, upload, upload_poison, view,
};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    Activation,
    cube::{
        CubeError, Reduction, Unavailable,
        product::{Call, Layer, RowNorm, Strategy, launch, list_rivals, matmul, multiply, tiled::Tile},
    },
};
use burn_std::DType;

const EPSILON: f64 = 1e-6;
const F32: DType = DType::F32;

/// A call and its operands as the device holds them, in f64.
#[derive(Clone)]
struct Case {
    rows: usize,
    k: usize,
    n: Vec<usize>,
    x: DType,
    weight: DType,
    /// Of biases and gamma.
    parameter: DType,
    addend: bool,
    norm: bool,
    gated: bool,
    bias: bool,
    activation: Option<Activation>,
    residual: bool,
    strategy: Strategy,
}

impl Case {
    fn new((rows, k, n): (usize, usize, usize), strategy: Strategy) -> Self {
        Self {
            rows,
            k,
            n: vec![n],
            x: F32,
            weight: F32,
            parameter: F32,
            addend: false,
            norm: false,
            gated: false,
            bias: false,
            activation: None,
            residual: false,
            strategy,
        }
    }

    fn describe(&self) -> String {
        let Self { rows, k, n, x, weight, norm, gated, bias, activation, residual, strategy, .. } = self;
        format!(
            "[{rows}, {k}] x {n:?} {x:?} {weight:?} norm {norm} gated {gated} bias {bias} {activation:?} residual {residual} {strategy:?}"
        )
    }

    /// Runs the kernel into poisoned outputs and compares them.
    fn check<R: CubeRuntime>(&self, device: &R::Device) {
        self.check_all::<R>(device, |call| vec![call.strategy]);
    }

    /// The same by each of the strategies of a call.
    fn check_all<R: CubeRuntime>(&self, device: &R::Device, list: impl FnOnce(&Call<'_, R>) -> Vec<Strategy>) {
        let Self { rows, k, .. } = *self;
        let parameter = |seed, count| round(&make_noise(seed, count), self.parameter);
        let x = round(&make_noise(1, rows * k), self.x);
        let gamma = parameter(2, k);
        let weights: Vec<_> =
            self.n.iter().zip(3..).map(|(n, seed)| round(&make_noise(seed, n * k), self.weight)).collect();
        let biases: Vec<_> = self.n.iter().zip(13..).map(|(&n, seed)| parameter(seed, n)).collect();
        let up = round(&make_noise(23, self.n[0] * k), self.weight);
        let residual = round(&make_noise(24, rows * self.n[0]), self.x);

        let upload = |values: &[f64], dims: &[usize], dtype| upload::<R>(device, values, dims, dtype);
        let addend = round(&make_noise(25, rows * k), self.x);
        let addend_tensor = upload(&addend, &[rows, k], self.x);
        let x_tensor = upload(&x, &[rows, k], self.x);
        let gamma_tensor = upload(&gamma, &[k], self.parameter);
        let weight_tensors: Vec<_> =
            weights.iter().zip(&self.n).map(|(w, &n)| upload(w, &[n, k], self.weight)).collect();
        let bias_tensors: Vec<_> = biases.iter().map(|bias| upload(bias, &[bias.len()], self.parameter)).collect();
        let up_tensor = upload(&up, &[self.n[0], k], self.weight);
        let residual_tensor = upload(&residual, &[rows, self.n[0]], self.x);
        let widths = self.n.iter().copied().chain(self.addend.then_some(k));
        let widths: Vec<_> = widths.collect();
        let layers = weight_tensors.iter().zip(&bias_tensors);
        let call = Call {
            x: &x_tensor,
            addend: self.addend.then_some(&addend_tensor),
            norm: self.norm.then_some(RowNorm { gamma: &gamma_tensor, epsilon: EPSILON }),
            layers: layers.map(|(weight, bias)| Layer { weight, bias: self.bias.then_some(bias) }).collect(),
            up: self.gated.then_some(&up_tensor),
            activation: self.activation,
            residual: self.residual.then_some(&residual_tensor),
            strategy: self.strategy,
        };
        let x = if self.addend { x.iter().zip(&addend).map(|(x, a)| x + a).collect() } else { x };
        let normed = if self.norm { normalise(&x, &gamma) } else { x.clone() };
        let expect = |(layer, &n): (usize, &usize)| {
            let mut expected = multiply_f64(&normed, &weights[layer], (rows, k, n));
            if self.gated {
                let up = multiply_f64(&normed, &up, (rows, k, n));
                expected =
                    expected.iter().zip(up).map(|(&gate, up)| activate(gate, Some(Activation::Silu)) * up).collect();
            }
            for (at, value) in expected.iter_mut().enumerate() {
                let bias = if self.bias { biases[layer][at % n] } else { 0.0 };
                *value = activate(*value + bias, self.activation) + if self.residual { residual[at] } else { 0.0 };
            }
            expected
        };
        let expected: Vec<_> = self.n.iter().enumerate().map(expect).chain(self.addend.then_some(x)).collect();
        for strategy in list(&call) {
            let case = Self { strategy, ..self.clone() }.describe();
            let outputs: Vec<_> = widths.iter().map(|&n| upload_poison::<R>(device, &[rows, n], self.x)).collect();
            let call = Call { strategy, layers: call.layers.clone(), ..call };
            launch(&call, &outputs).unwrap_or_else(|error| panic!("{case}: {error}"));
            for (output, expected) in outputs.iter().zip(&expected) {
                assert_near(&download_guarded(output), expected, self.x, &case);
            }
        }
    }
}

/// `x / √(mean(x²) + epsilon) · gamma`.
fn normalise(x: &[f64], gamma: &[f64]) -> Vec<f64> {
    let k = gamma.len();
    let scale = |row: &[f64]| 1.0 / (row.iter().map(|v| v * v).sum::<f64>() / k as f64 + EPSILON).sqrt();
    x.chunks(k).flat_map(|row| row.iter().zip(gamma).map(move |(v, g)| v * scale(row) * g)).collect()
}

/// `x · weightᵀ` for `x` `[rows, k]`, `weight` `[n, k]`.
fn multiply_f64(x: &[f64], weight: &[f64], (rows, k, n): (usize, usize, usize)) -> Vec<f64> {
    let dot = |at: usize| {
        let (row, column) = (&x[at / n * k..][..k], &weight[at % n * k..][..k]);
        row.iter().zip(column).map(|(a, b)| a * b).sum()
    };
    (0..rows * n).map(dot).collect()
}

fn activate(x: f64, activation: Option<Activation>) -> f64 {
    match activation {
        None => x,
        Some(Activation::Silu) => x / (1.0 + (-x).exp()),
        Some(Activation::GeluTanh) => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        Some(Activation::GeluErf) => 0.5 * x * libm::erfc(-x / std::f64::consts::SQRT_2),
    }
}

/// The reductions that the device has. CubeCL hides the planes of CPU drivers; they are there all the same.
fn list_gemv<R: CubeRuntime>(device: &R::Device) -> Vec<Strategy> {
    let client = R::client(device);
    let hardware = &client.properties().hardware;
    let mut strategies = vec![Strategy::Gemv(Reduction::SharedMemory)];
    if hardware.plane_size_min == hardware.plane_size_max {
        strategies.push(Strategy::Gemv(Reduction::Planes { size: hardware.plane_size_min }));
    }
    strategies
}

/// Both kernels, each in one form.
const BOTH: [Strategy; 2] = [Strategy::Auto, Strategy::Tiled(Tile::SMALL)];

pub fn few_rows_match_f64<R: CubeRuntime>(device: &R::Device) {
    for strategy in list_gemv::<R>(device) {
        // Vectors of 4 and 1; k within one staged part, at its end, and beyond it; outputs that don't fill a cube.
        for shape in [(1, 8, 3), (1, 2048, 70), (1, 2052, 5), (1, 37, 300), (3, 2060, 9), (8, 600, 33)] {
            Case::new(shape, strategy).check::<R>(device);
        }
    }
}

pub fn tiles_match_f64<R: CubeRuntime>(device: &R::Device) {
    for (tile, shape) in [
        (Tile::SMALL, (32, 64, 64)),
        (Tile::SMALL, (33, 36, 65)),
        (Tile::SMALL, (3, 4, 5)),
        (Tile::SMALL, (70, 37, 3)),
        (Tile::MEDIUM, (65, 68, 70)),
        (Tile::LARGE, (130, 20, 131)),
    ] {
        Case::new(shape, Strategy::Tiled(tile)).check::<R>(device);
    }
}

/// What autotune may choose: all of it, for few rows, some and many.
pub fn every_rival_matches_f64<R: CubeRuntime>(device: &R::Device) {
    let norm = |shape| Case { norm: true, ..Case::new(shape, Strategy::Auto) };
    for (case, least) in [
        (Case { gated: true, ..norm((1, 36, 70)) }, 3),
        (Case { gated: true, addend: true, ..norm((1, 36, 70)) }, 2),
        (Case { n: vec![70, 9], ..norm((2, 36, 0)) }, 3),
        (Case { residual: true, ..Case::new((5, 36, 70), Strategy::Auto) }, 2),
        (norm((70, 20, 66)), 3),
    ] {
        case.check_all::<R>(device, |call| {
            let rivals = list_rivals(call).unwrap();
            assert_eq!(rivals[0], Strategy::Auto);
            assert!(rivals.len() >= least, "{}: {rivals:?}", case.describe());
            rivals
        });
    }
}

pub fn epilogues_match_f64<R: CubeRuntime>(device: &R::Device) {
    for strategy in BOTH {
        let case = Case::new((5, 40, 70), strategy);
        for activation in [Activation::Silu, Activation::GeluTanh, Activation::GeluErf] {
            Case { bias: true, activation: Some(activation), residual: true, ..case.clone() }.check::<R>(device);
        }
        Case { bias: true, ..case.clone() }.check::<R>(device);
        Case { residual: true, ..case }.check::<R>(device);
    }
}

pub fn gated_products_match_f64<R: CubeRuntime>(device: &R::Device) {
    for (strategy, shape) in [(Strategy::Auto, (1, 2056, 37)), (Strategy::Tiled(Tile::SMALL), (35, 40, 70))] {
        for norm in [false, true] {
            Case { gated: true, norm, residual: norm, ..Case::new(shape, strategy) }.check::<R>(device);
        }
    }
    for (addend, shape) in [(false, (8, 13, 5)), (true, (1, 2056, 37)), (true, (3, 40, 5))] {
        Case { gated: true, norm: true, addend, ..Case::new(shape, Strategy::Auto) }.check::<R>(device);
    }
}

pub fn norms_before_several_layers_match_f64<R: CubeRuntime>(device: &R::Device) {
    for strategy in list_gemv::<R>(device) {
        let case = Case { norm: true, n: vec![70, 33, 9], ..Case::new((1, 2056, 0), strategy) };
        case.check::<R>(device);
        Case { rows: 3, k: 36, bias: true, ..case.clone() }.check::<R>(device);
        Case { rows: 5, k: 36, ..case }.check::<R>(device);
    }
    for (tile, shape) in [(Tile::SMALL, (40, 36, 0)), (Tile::SMALL, (34, 37, 0)), (Tile::LARGE, (129, 20, 0))] {
        let case = Case::new(shape, Strategy::Tiled(tile));
        Case { norm: true, bias: true, n: vec![66, 3], ..case }.check::<R>(device);
    }
}

pub fn half_precision_is_stored_and_computed_in_f32<R: CubeRuntime>(device: &R::Device) {
    for dtype in [DType::F16, DType::BF16] {
        if stores::<R>(device, dtype) {
            for (strategy, shape) in [(Strategy::Auto, (1, 520, 40)), (Strategy::Tiled(Tile::SMALL), (33, 40, 66))] {
                let case = Case { weight: dtype, norm: true, ..Case::new(shape, strategy) };
                Case { bias: true, parameter: dtype, ..case.clone() }.check::<R>(device);
                Case { x: dtype, residual: true, activation: Some(Activation::Silu), ..case }.check::<R>(device);
            }
            let case = Case { x: dtype, weight: dtype, ..Case::new((2, 40, 7), Strategy::Auto) };
            Case { gated: true, norm: true, addend: true, ..case }.check::<R>(device);
        } else {
            let (x, weight) =
                (upload::<R>(device, &[1.0; 6], &[2, 3], F32), upload::<R>(device, &[1.0; 3], &[1, 3], dtype));
            let error = multiply(&Call::new(&x, &weight)).unwrap_err();
            let reason = Unavailable::Storage(dtype);
            let shapes = vec![vec![2, 3], vec![1, 3]];
            assert_eq!(error, CubeError::Unavailable { kernel: "product", reason, shapes });
        }
    }
}

/// `x` `[2, 3, 8]` in rows 12 apart, the weight `[5, 8]` in rows 12 apart, or as the transpose of `[8, 5]`.
pub fn operands_are_read_where_they_lie<R: CubeRuntime>(device: &R::Device) {
    let (rows, k, n, pitch) = (6, 8, 5, 12);
    let x = round(&make_noise(31, rows * pitch), F32);
    let weight = round(&make_noise(32, n * pitch), F32);
    let cut = |values: &[f64]| values.chunks(pitch).flat_map(|row| row[..k].to_vec()).collect::<Vec<_>>();
    let (x_rows, weight_rows) = (cut(&x), cut(&weight));
    let expected = multiply_f64(&x_rows, &weight_rows, (rows, k, n));
    let padded = view(upload::<R>(device, &x, &[rows, pitch], F32), &[2, 3, k], &[3 * pitch, pitch, 1]);
    let padded_weight = view(upload::<R>(device, &weight, &[n, pitch], F32), &[n, k], &[pitch, 1]);
    let turn = |values: &[f64], (rows, columns): (usize, usize)| {
        (0..rows * columns).map(|at| values[at % rows * columns + at / rows]).collect::<Vec<_>>()
    };
    let turned_weight = view(upload::<R>(device, &turn(&weight_rows, (n, k)), &[k, n], F32), &[n, k], &[1, n]);
    let turned = view(upload::<R>(device, &turn(&x_rows, (rows, k)), &[k, rows], F32), &[2, 3, k], &[3, 1, rows]);
    for (x, weight) in [(&padded, &padded_weight), (&padded, &turned_weight), (&turned, &padded_weight)] {
        for strategy in BOTH {
            let output = multiply(&Call { strategy, ..Call::new(x, weight) }).unwrap().remove(0);
            assert_eq!(output.shape().to_vec(), [2, 3, n]);
            assert_near(&download(&output), &expected, F32, &format!("{strategy:?}"));
        }
    }
}

pub fn plain_products_match_f64<R: CubeRuntime>(device: &R::Device) {
    let (m, k, n) = (35, 20, 33);
    let (lhs, rhs) = (make_noise(41, 6 * m * k), make_noise(42, 6 * k * n));
    let (lhs, rhs) = (round(&lhs, F32), round(&rhs, F32));
    // Matrix `i` of 6 with matrix `j`, the right one turned or not.
    let multiply = |i: usize, j: usize, turned: bool| {
        let right = &rhs[j * k * n..][..k * n];
        let columns: Vec<_> =
            (0..k * n).map(|at| if turned { right[at] } else { right[at % k * n + at / k] }).collect();
        multiply_f64(&lhs[i * m * k..][..m * k], &columns, (m, k, n))
    };
    let check = |lhs: &CubeTensor<R>, rhs: &CubeTensor<R>, expected: Vec<f64>, dims: &[usize]| {
        let output = matmul(lhs, rhs, Strategy::Auto).unwrap();
        assert_eq!(output.shape().to_vec(), dims);
        assert_near(&download(&output), &expected, F32, &format!("{dims:?}"));
    };
    let left = upload::<R>(device, &lhs, &[2, 3, m, k], F32);
    let right = upload::<R>(device, &rhs, &[2, 3, k, n], F32);
    check(&left, &right, (0..6).flat_map(|i| multiply(i, i, false)).collect(), &[2, 3, m, n]);
    // The same buffer as [n, k], turned; every matrix of the left with the first one of the right.
    let turned = view(right.clone(), &[1, 1, k, n], &[6 * k * n, k * n, 1, k]);
    check(&left, &turned, (0..6).flat_map(|i| multiply(i, 0, true)).collect(), &[2, 3, m, n]);
    // A left side that is turned: its buffer as [k, m].
    let (a, b) = (round(&make_noise(43, k * m), F32), &rhs[..k * n]);
    let rows: Vec<_> = (0..m * k).map(|at| a[at % k * m + at / k]).collect();
    let columns: Vec<_> = (0..k * n).map(|at| b[at % k * n + at / k]).collect();
    let turned_left = view(upload::<R>(device, &a, &[k, m], F32), &[m, k], &[1, m]);
    check(&turned_left, &view(right, &[k, n], &[n, 1]), multiply_f64(&rows, &columns, (m, k, n)), &[m, n]);
}

pub fn nan_stays_in_its_row_and_column<R: CubeRuntime>(device: &R::Device) {
    for (strategy, rows) in [(Strategy::Auto, 3), (Strategy::Tiled(Tile::SMALL), 3)] {
        let (k, n) = (5, 4);
        let mut x = vec![1.0; rows * k];
        x[k + 2] = f64::NAN;
        x[2 * k] = f64::INFINITY;
        let weight = upload::<R>(device, &vec![2.0; n * k], &[n, k], F32);
        let x = upload::<R>(device, &x, &[rows, k], F32);
        let y = download(&multiply(&Call { strategy, ..Call::new(&x, &weight) }).unwrap()[0]);
        assert_eq!(y[..n], [10.0; 4]);
        assert!(y[n..2 * n].iter().all(|v| v.is_nan()));
        assert_eq!(y[2 * n..], [f64::INFINITY; 4]);
    }
}

pub fn empty_products_are_empty<R: CubeRuntime>(device: &R::Device) {
    let weight = upload::<R>(device, &[1.0; 10], &[2, 5], F32);
    let outputs = multiply(&Call::new(&upload::<R>(device, &[], &[0, 5], F32), &weight)).unwrap();
    assert_eq!(outputs[0].shape().to_vec(), [0, 2]);
    let none = upload::<R>(device, &[], &[0, 5], F32);
    let outputs = multiply(&Call::new(&weight, &none)).unwrap();
    assert_eq!(outputs[0].shape().to_vec(), [2, 0]);
    outputs[0].client.flush().unwrap();
}

pub fn invalid_calls_say_so_with_their_shapes<R: CubeRuntime>(device: &R::Device) {
    let make = |dims: &[usize], dtype| upload::<R>(device, &vec![1.0; dims.iter().product()], dims, dtype);
    let (x, weight) = (make(&[2, 3], F32), make(&[4, 3], F32));
    let error = multiply(&Call::new(&x, &make(&[4, 5], F32))).unwrap_err();
    assert!(error.to_string().contains("[[2, 3], [4, 5]]"), "{error}");
    let invalid = |call: Call<'_, R>| {
        let error = multiply(&call).unwrap_err();
        assert!(matches!(error, CubeError::InvalidShapes { .. }), "{error}");
    };
    let (short, long) = (make(&[3], F32), make(&[4], F32));
    invalid(Call { layers: vec![Layer { weight: &weight, bias: Some(&short) }], ..Call::new(&x, &weight) });
    invalid(Call { norm: Some(RowNorm { gamma: &long, epsilon: EPSILON }), ..Call::new(&x, &weight) });
    invalid(Call { up: Some(&make(&[5, 3], F32)), ..Call::new(&x, &weight) });
    invalid(Call { residual: Some(&x), ..Call::new(&x, &weight) });
    invalid(Call { addend: Some(&weight), ..Call::new(&x, &weight) });
    invalid(Call { layers: vec![], ..Call::new(&x, &weight) });
    invalid(Call::new(&make(&[2, 0], F32), &make(&[4, 0], F32)));
    let error = multiply(&Call::new(&x, &make(&[4, 3], DType::I32))).unwrap_err();
    assert!(matches!(error, CubeError::InvalidDtype { found: DType::I32, .. }), "{error}");

    let outputs = [upload_poison::<R>(device, &[4, 2], F32)];
    assert!(matches!(launch(&Call::new(&x, &weight), &outputs), Err(CubeError::InvalidShapes { .. })));
    assert!(download_guarded(&outputs[0]).iter().all(|v| v.is_nan()));
    let many = make(&[9, 3], F32);
    let strategy = Strategy::Gemv(Reduction::SharedMemory);
    for call in
        [Call { strategy, ..Call::new(&many, &weight) }, Call { addend: Some(&many), ..Call::new(&many, &weight) }]
    {
        let error = multiply(&call).unwrap_err();
        assert!(matches!(error, CubeError::Unavailable { reason: Unavailable::Operands(_), .. }), "{error}");
    }
    assert!(matches!(matmul(&x, &weight, Strategy::Auto), Err(CubeError::InvalidShapes { .. })));
}

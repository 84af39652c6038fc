//! Candle on its CPU device, with the fastest form that it has of each operation.
//!
//! It has no switch for its threads but an environment variable that is read once; its loops run in the pool of the
//! caller, like ours.

use super::Work;
use crate::case::{Case, Dtype, Op, Shape};
use crate::machine::count_cpus;
use crate::measure::Failure;
use crate::operands::Operands;
use burn::tensor::DType;
use burn_flex::FlexTensor;
use candle_core::{DType as CandleType, Device, Result, Tensor};
use candle_nn::cpu_flash_attention::run_flash_attn_cpu;
use candle_nn::{ops, rotary_emb};
use half::bf16;
use std::hint::black_box;

const EPSILON: f32 = 1e-6;

/// The most that its attention is asked for: a second of its 1.2 GFLOP/s (512 positions of 16 heads of 128, two cores
/// of 2024).
const ATTENTION_FLOP: f64 = 2e9;

impl From<candle_core::Error> for Failure {
    fn from(error: candle_core::Error) -> Self {
        // The rest is a backtrace.
        Self::Unsupported(error.to_string().lines().next().unwrap_or_default().into())
    }
}

/// A copy of one of our tensors.
fn convert(tensor: &FlexTensor) -> Result<Tensor> {
    let shape = tensor.layout().shape().to_vec();
    match tensor.dtype() {
        DType::BF16 => Tensor::from_slice(tensor.storage::<bf16>(), shape, &Device::Cpu),
        _ => Tensor::from_slice(tensor.storage::<f32>(), shape, &Device::Cpu),
    }
}

/// What candle computes, on the `i`-th set.
type Compute = Box<dyn Fn(usize) -> Result<Tensor> + Send>;

pub(super) fn prepare(case: &Case, operands: &Operands) -> std::result::Result<Work, Failure> {
    let operand = |j: usize| operands.sets.iter().map(|set| convert(&set[j])).collect::<Result<Vec<_>>>();
    let single = |j: usize| convert(&operands.sets[0][j]);
    let compute: Compute = match (case.op, case.shape) {
        (_, Shape::Linear { .. }) => {
            let (x, w) = (single(0)?, operand(1)?);
            Box::new(move |i| x.matmul(&w[i].t()?))
        }
        (_, Shape::Square { .. }) => {
            let (x, w) = (single(0)?, operand(1)?);
            Box::new(move |i| x.matmul(&w[i]))
        }
        (Op::Rope, _) => {
            let x = operand(0)?;
            // It wants its angles in the type of `x`.
            let angles = |j| -> Result<Tensor> { single(j)?.to_dtype(x[0].dtype())?.squeeze(0) };
            let (cos, sin) = (angles(1)?, angles(2)?);
            Box::new(move |i| rotary_emb::rope(&x[i], &cos, &sin))
        }
        (_, Shape::Heads { .. }) if !has_all_cores() => {
            return Err(Failure::Unsupported("its attention runs on all cores, whoever calls it".into()));
        }
        (_, Shape::Heads { .. }) if case.flop() > ATTENTION_FLOP => {
            return Err(Failure::Unsupported(
                "left out: its attention takes many seconds a call from 2048 positions on".into(),
            ));
        }
        (_, Shape::Heads { queries, keys, dim, .. }) => {
            // `[batch, length, heads, dim]`, as views.
            let q = single(0)?.transpose(1, 2)?;
            let swap = |x: Vec<Tensor>| x.into_iter().map(|x| x.transpose(1, 2)).collect::<Result<Vec<_>>>();
            let (k, v) = (swap(operand(1)?)?, swap(operand(2)?)?);
            let mask = case.is_causal().then(|| mask_future(queries, keys, q.dtype())).transpose()?;
            let scale = 1.0 / (dim as f32).sqrt();
            match case.dtype {
                Dtype::F32 => {
                    Box::new(move |i| run_flash_attn_cpu::<f32>(&q, &k[i], &v[i], mask.as_ref(), scale, None, None))
                }
                Dtype::Bf16 => return Err(Failure::Unsupported("its attention on a CPU sums in bf16".into())),
            }
        }
        (op, Shape::Rows { .. }) => {
            let x = operand(0)?;
            match op {
                Op::Softmax => Box::new(move |i| ops::softmax_last_dim(&x[i])),
                Op::LayerNorm => {
                    let (gamma, beta) = (single(1)?, single(2)?);
                    Box::new(move |i| ops::layer_norm(&x[i], &gamma, &beta, EPSILON))
                }
                Op::RmsNorm => {
                    let gamma = single(1)?;
                    Box::new(move |i| ops::rms_norm(&x[i], &gamma, EPSILON))
                }
                Op::AddNorm => {
                    let (residual, gamma) = (operand(1)?, single(2)?);
                    Box::new(move |i| ops::rms_norm(&(&x[i] + &residual[i])?, &gamma, EPSILON))
                }
                Op::Gelu => Box::new(move |i| x[i].gelu_erf()),
                Op::GeluTanh => Box::new(move |i| x[i].gelu()),
                Op::Silu => Box::new(move |i| x[i].silu()),
                Op::SiluMul => {
                    let up = operand(1)?;
                    Box::new(move |i| x[i].silu()? * &up[i])
                }
                Op::Exp => Box::new(move |i| x[i].exp()),
                Op::Add => {
                    let y = operand(1)?;
                    Box::new(move |i| &x[i] + &y[i])
                }
                _ => {
                    let y = operand(1)?;
                    Box::new(move |i| &x[i] * &y[i])
                }
            }
        }
    };
    // What it cannot do it says here, not in the middle of the rounds.
    black_box(compute(0)?);
    Ok(Box::new(move |i| {
        black_box(compute(i).expect("it computed this once"));
    }))
}

/// Whether the caller's pool is as large as the one that candle makes for its attention.
fn has_all_cores() -> bool {
    count_cpus() == rayon::current_num_threads()
}

/// `-∞` where query `i` must not see key `j`, `[1, queries, keys]`.
fn mask_future(queries: usize, keys: usize, dtype: CandleType) -> Result<Tensor> {
    let hidden = |i: usize, j: usize| if j > i + keys - queries { f32::NEG_INFINITY } else { 0.0 };
    let mask: Vec<f32> = (0..queries * keys).map(|at| hidden(at / keys, at % keys)).collect();
    Tensor::from_vec(mask, (1, queries, keys), &Device::Cpu)?.to_dtype(dtype)
}

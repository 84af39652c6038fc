//! Tiled attention.

use super::rope::heads;
use super::storage::{BoolView, CpuBackend, OwnedFloats, View};
use crate::engine::{AttentionOperands, FusedAttention};
use crate::routes::{Route, note};
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::KernelConfig;
use burn_std::Shape;
use kiln_kernels::attention::{AttentionOptions, Scores, Tiles, attention};
use kiln_kernels::{ElementType, Floats, FloatsMut, Launch};

/// The output, and the log-sum-exp if wanted.
#[allow(clippy::type_complexity)]
pub(super) fn attend<B: CpuBackend>(
    operands: AttentionOperands<B>,
    fused: &FusedAttention,
    config: &KernelConfig,
) -> Result<(FloatTensor<B>, Option<FloatTensor<B>>), AttentionOperands<B>> {
    match if config.tiling.enabled { run(&operands, fused, config) } else { None } {
        Some(outputs) => {
            note(Route::Attention);
            Ok(outputs)
        }
        None => Err(operands),
    }
}

#[allow(clippy::type_complexity)]
fn run<B: CpuBackend>(
    operands: &AttentionOperands<B>,
    fused: &FusedAttention,
    config: &KernelConfig,
) -> Option<(FloatTensor<B>, Option<FloatTensor<B>>)> {
    let (q_view, k_view, v_view) = (B::view(&operands.query)?, B::view(&operands.key)?, B::view(&operands.value)?);
    let (q, k, v) = (heads(&q_view)?, heads(&k_view)?, heads(&v_view)?);
    let keys_fit = k.batch == q.batch && v.batch == q.batch && v.heads == k.heads && v.length == k.length;
    let heads_fit = k.heads > 0 && q.heads.is_multiple_of(k.heads) && q.head_dim == k.head_dim && q.head_dim > 0;
    let softcap = fused.options.softcap;
    // What does not fit, and a soft cap that is none, is an error that B reports.
    if !keys_fit || !heads_fit || k_view.dtype() != v_view.dtype() || softcap.is_some_and(|cap| cap <= 0.0) {
        return None;
    }
    let square = [q.batch, q.heads, q.length, k.length];
    let mask = match &operands.mask {
        Some(mask) => Some(mask_scores(B::view_bool(mask)?, square)?),
        None => None,
    };
    let bias_view = match &operands.bias {
        Some(bias) => Some(B::view(bias)?),
        None => None,
    };
    let bias = match &bias_view {
        Some(view) => Some(bias_scores(view, square)?),
        None => None,
    };
    let segments = fused.segments.as_deref();
    if segments.is_some_and(|ends| q.length != k.length || !ends.is_sorted() || ends.last() != Some(&q.length)) {
        return None;
    }
    let scale = fused.options.scale.unwrap_or_else(|| 1.0 / (q.head_dim as f64).sqrt());
    let options = AttentionOptions {
        causal: fused.options.is_causal,
        softcap: softcap.map(|cap| cap as f32),
        mask,
        bias,
        segments,
        split_keys: !config.deterministic,
        tiles: Some(Tiles::detect(q.head_dim, v.head_dim).with(&config.tiling)),
        ..AttentionOptions::new(scale as f32)
    };
    let shape = [q.batch, q.heads, q.length, v.head_dim];
    let mut out = B::allocate(q_view.dtype(), shape.iter().product())?;
    let mut lse = match fused.with_lse {
        true => Some(B::allocate(ElementType::F32, q.batch * q.heads * q.length)?),
        false => None,
    };
    let lse_floats = match lse.as_mut().map(OwnedFloats::as_floats_mut) {
        Some(FloatsMut::F32(floats)) => Some(floats),
        _ => None,
    };
    attention(Launch::from(config), [q, k, v], &options, out.as_floats_mut(), lse_floats);
    let lse = match lse {
        Some(lse) => Some(B::from_floats(lse, Shape::from([shape[0], shape[1], shape[2], 1]))?),
        None => None,
    };
    Some((B::from_floats(out, Shape::from(shape))?, lse))
}

/// Strides of a tensor that broadcasts to `square`: 0 where it has one element.
fn broadcast(shape: &[usize], strides: &[usize], square: [usize; 4]) -> Option<[usize; 4]> {
    if shape.len() != 4 {
        return None;
    }
    let mut out = [0; 4];
    for i in 0..4 {
        match shape[i] {
            1 => {}
            size if size == square[i] => out[i] = strides[i],
            _ => return None,
        }
    }
    Some(out)
}

pub(super) fn mask_scores(view: BoolView<'_>, square: [usize; 4]) -> Option<Scores<'_, u8>> {
    let strides = broadcast(&view.shape, &view.strides, square)?;
    Some(Scores { data: view.data.get(view.offset..)?, strides })
}

pub(super) fn bias_scores<'a>(view: &View<'a>, square: [usize; 4]) -> Option<Scores<'a, f32>> {
    let strides = broadcast(&view.shape, &view.strides, square)?;
    let Floats::F32(data) = view.data_from(view.offset) else { return None };
    Some(Scores { data, strides })
}

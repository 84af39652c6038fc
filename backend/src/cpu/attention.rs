//! Tiled attention.

use super::heads::{from_heads, heads, is_by_position};
use super::panels::CpuEngine;
use super::storage::{BoolView, View};
use crate::engine::{AttentionOperands, Primitives};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{self as fusion, AttentionForward, KernelConfig};
use burn_std::Shape;
use kiln_kernels::attention::{AttentionOptions, AttentionSizes, Scores, Tiles, attention};
use kiln_kernels::rope::Heads;
use kiln_kernels::{ElementType, Floats, FloatsMut, Launch};

/// The output.
pub(super) fn attend<B: CpuEngine>(operands: &AttentionOperands<B>, config: &KernelConfig) -> Option<FloatTensor<B>> {
    run(operands, None, config)
}

/// The output and the log-sum-exp of each query.
pub(super) fn attend_with_lse<B: CpuEngine>(
    operands: &AttentionOperands<B>,
    config: &KernelConfig,
) -> Option<AttentionForward<Primitives<B>>> {
    let q = operands.inputs.q.shape();
    let &[batch, heads, queries, _] = q.as_slice() else { return None };
    let mut lse = B::allocate(ElementType::F32, batch * heads * queries)?;
    let FloatsMut::F32(sums) = lse.as_floats_mut() else { return None };
    let output = run(operands, Some(sums), config)?;
    Some(AttentionForward { output, lse: B::from_floats(lse, Shape::from([batch, heads, queries, 1]))? })
}

/// The tiles of attention of these sizes; none where it is not tiled.
pub(super) fn choose_tiles(sizes: AttentionSizes, config: &KernelConfig) -> Option<Tiles> {
    let AttentionSizes { heads, kv_heads, d, dv, .. } = sizes;
    let takes = config.tiling.enabled && kv_heads > 0 && heads.is_multiple_of(kv_heads) && d > 0;
    takes.then(|| Tiles::detect(d, dv).with(&config.tiling))
}

/// The tiles of its gradients; none where they are a composition.
pub(super) fn choose_backward_tiles(sizes: AttentionSizes, config: &KernelConfig) -> Option<Tiles> {
    let tiled = choose_tiles(sizes, config).is_some();
    tiled.then(|| Tiles::detect_backward(sizes.d, sizes.dv).with(&config.tiling))
}

/// The sizes of queries, keys and values; none where they do not fit each other.
pub(super) fn measure([q, k, v]: [&Heads<'_>; 3]) -> Option<AttentionSizes> {
    let keys_fit = k.batch == q.batch && v.batch == q.batch && v.heads == k.heads && v.length == k.length;
    (keys_fit && q.head_dim == k.head_dim).then_some(AttentionSizes {
        batch: q.batch,
        heads: q.heads,
        kv_heads: k.heads,
        queries: q.length,
        keys: k.length,
        d: q.head_dim,
        dv: v.head_dim,
        bf16: [q, k, v].iter().all(|heads| matches!(heads.data, Floats::Bf16(_))),
    })
}

/// Whether threads may take part of another's keys, which orders sums.
pub(super) fn splits_keys(config: &KernelConfig) -> bool {
    !config.deterministic
}

/// The output, and the log-sum-exp of each query into `lse`, `batch · heads · queries` of them.
fn run<B: CpuEngine>(
    operands: &AttentionOperands<B>,
    lse: Option<&mut [f32]>,
    config: &KernelConfig,
) -> Option<FloatTensor<B>> {
    let AttentionOperands { inputs, options } = operands;
    let (q_view, k_view, v_view) = (B::view(&inputs.q)?, B::view(&inputs.k)?, B::view(&inputs.v)?);
    let (q, k, v) = (heads(&q_view)?, heads(&k_view)?, heads(&v_view)?);
    let sizes = measure([&q, &k, &v]).filter(|_| k_view.dtype() == v_view.dtype())?;
    let tiles = choose_tiles(sizes, config)?;
    let rules = Rules::<B>::read(options)?;
    // In training what comes next, and the gradient on its way back, are as the values are.
    let by_position = lse.is_some() && is_by_position(&v);
    let options = AttentionOptions { tiles: Some(tiles), by_position, ..rules.build(sizes, config)? };
    let shape = [q.batch, q.heads, q.length, v.head_dim];
    let mut out = B::allocate(q_view.dtype(), shape.iter().product())?;
    attention(Launch::from(config), [q, k, v], &options, out.as_floats_mut(), lse);
    note(Route::Attention);
    from_heads::<B>(out, shape, by_position)
}

/// The options as a kernel reads them: what owns no memory, and views of what does.
pub(super) struct Rules<'a, B: CpuEngine> {
    options: &'a fusion::AttentionOptions<Primitives<B>>,
    mask: Option<BoolView<'a>>,
    bias: Option<View<'a>>,
}

impl<'a, B: CpuEngine> Rules<'a, B> {
    /// None for masks and biases in a layout that kernels don't read. A soft cap that is none is an error that B
    /// reports.
    pub fn read(options: &'a fusion::AttentionOptions<Primitives<B>>) -> Option<Self> {
        let mask = match &options.mask {
            Some(mask) => Some(B::view_bool(mask)?),
            None => None,
        };
        let bias = match &options.bias {
            Some(bias) => Some(B::view(bias)?),
            None => None,
        };
        options.softcap.is_none_or(|cap| cap > 0.0).then_some(Self { options, mask, bias })
    }

    /// The kernel's options; none where a mask, a bias or segments don't fit the scores.
    pub fn build(&self, sizes: AttentionSizes, config: &KernelConfig) -> Option<AttentionOptions<'_>> {
        let AttentionSizes { batch, heads, queries, keys, d, .. } = sizes;
        let square = [batch, heads, queries, keys];
        let mask = match &self.mask {
            Some(mask) => Some(mask_scores(mask, square)?),
            None => None,
        };
        let bias = match &self.bias {
            Some(bias) => Some(bias_scores(bias, square)?),
            None => None,
        };
        let segments = self.options.segments.as_deref();
        if segments.is_some_and(|ends| queries != keys || !ends.is_sorted() || ends.last() != Some(&queries)) {
            return None;
        }
        Some(AttentionOptions {
            causal: self.options.causal,
            softcap: self.options.softcap.map(|cap| cap as f32),
            mask,
            bias,
            segments,
            split_keys: splits_keys(config),
            ..AttentionOptions::new(self.options.resolve_scale(d) as f32)
        })
    }
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

fn mask_scores<'a>(view: &BoolView<'a>, square: [usize; 4]) -> Option<Scores<'a, u8>> {
    let strides = broadcast(&view.shape, &view.strides, square)?;
    Some(Scores { data: view.data.get(view.offset..)?, strides })
}

fn bias_scores<'a>(view: &View<'a>, square: [usize; 4]) -> Option<Scores<'a, f32>> {
    let strides = broadcast(&view.shape, &view.strides, square)?;
    let Floats::F32(data) = view.data_from(view.offset) else { return None };
    Some(Scores { data, strides })
}

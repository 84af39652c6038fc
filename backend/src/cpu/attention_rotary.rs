//! Attention from projections: heads are written once to where the attention kernel reads them, and it writes the rows
//! of the output projection.
//!
//! ```text
//! for each sequence
//!     scratch = rotate(norm(heads of q))                         from the pool
//!     cache[start ..] = rotate(norm(heads of k)), heads of v     in place, rounded; without a cache K goes to scratch
//!     output rows = attention(scratch, cache[.. start + length])
//! ```
//!
//! Scratch has the type of the projections. Where keys and values are bf16 (the cache's type, or what the options allow
//! without one), the configuration lets activations be rounded and the instruction set multiplies bf16, it is bf16 as
//! well: Q, and without a cache K and V.
//!
//! A decode step moves some kilobytes in the first part, which the calling thread does alone: only the attention wakes
//! others.

use super::attention::{self, Rules};
use super::panels::CpuEngine;
use super::storage::{View, element_type};
use crate::engine::{Primitives, RotaryOperands};
use crate::routes::{Route, note};
use burn_backend::tensor::FloatTensor;
use burn_backend::{DType, TensorMetadata};
use burn_kiln_fusion::{CacheRoom, HeadNorms, KernelConfig, RotaryInputs};
use burn_std::Shape;
use kiln_kernels::attention::{AttentionOptions, AttentionSizes, Tiles, attention as run_attention, multiplies_bf16};
use kiln_kernels::memory::PooledFloats;
use kiln_kernels::norm::RmsNorm;
use kiln_kernels::rope::{Angles, Heads, Place, Placement, place_heads};
use kiln_kernels::{ElementType, Floats, FloatsMut, Launch};

/// The output `[batch, length, heads · head_dim]`, or none where the operands are for others.
pub(super) fn attend<B: CpuEngine>(
    operands: &RotaryOperands<'_, B>,
    caches: &mut [CacheRoom<Primitives<B>>],
    config: &KernelConfig,
) -> Option<FloatTensor<B>> {
    let RotaryOperands { inputs, options } = operands;
    let kv_dtype = options.kv_dtype;
    let views = [B::view(&inputs.q)?, B::view(&inputs.k)?, B::view(&inputs.v)?];
    let all = Rows::new::<B>(inputs, &views)?;
    let dtype = views[0].dtype();
    for cache in caches.iter() {
        check_cache::<B>(cache, &all, dtype)?;
    }
    let one = inputs.lengths.len() == 1;
    if !one && (options.mask.is_some() || options.bias.is_some() || options.segments.is_some()) {
        return None;
    }
    let [q, k, _] = all.heads;
    let keys = k.length + caches.first().map_or(0, |cache| cache.start);
    let d = q.head_dim;
    let (batch, heads, kv_heads, queries) = (q.batch, q.heads, k.heads, q.length);
    let sizes = AttentionSizes { batch, heads, kv_heads, queries, keys, d, dv: d, bf16: false };
    let tiles = choose_tiles(sizes, config)?;
    let rules = Rules::<B>::read(options)?;
    let options = AttentionOptions { tiles: Some(tiles), by_position: true, ..rules.build(sizes, config)? };
    let launch = Launch::from(config);
    let shape = [q.batch, q.length, q.heads * d];
    let mut out = B::allocate(dtype, shape.iter().product())?;
    let stored = caches.first().map(|cache| cache.keys.dtype()).or(kv_dtype);
    let rounds_any = config.simd.bf16_activations && (dtype, stored) == (ElementType::F32, Some(DType::BF16));
    // Each sequence by itself: its numbers are the same whatever is computed beside it.
    let rounds = |length: usize| rounds_any && multiplies_bf16(launch.tier, d, q.heads / k.heads * length);
    let has_keys = caches.is_empty();
    let mut as_they_are =
        Scratch::take(dtype, &all, has_keys, inputs.lengths.iter().filter(|&&length| !rounds(length)))?;
    let mut rounded =
        Scratch::take(ElementType::Bf16, &all, has_keys, inputs.lengths.iter().filter(|&&length| rounds(length)))?;
    let mut caches = caches.iter_mut();
    let mut start = 0;
    for &length in inputs.lengths {
        // A batch has one length, and all of the output.
        let row = q.heads * d;
        let mut output = out.as_floats_mut();
        let output = output.slice_mut(start * row, q.batch * length * row);
        let sequence = Sequence { launch, options: &options, rows: all.take(start, length), out: output };
        let scratch = if rounds(length) { &mut rounded } else { &mut as_they_are };
        match caches.next() {
            Some(cache) => sequence.run_cached::<B>(scratch, cache)?,
            None => sequence.run(scratch, rounds(length)),
        }
        start += length;
    }
    note(Route::AttentionRotary);
    B::from_floats(out, Shape::from(shape))
}

/// Operands of some positions.
#[derive(Debug, Clone, Copy)]
struct Rows<'a> {
    /// Of queries, keys and values.
    heads: [Heads<'a>; 3],
    /// Of queries and keys.
    norms: [Option<RmsNorm<'a>>; 2],
    angles: Angles<'a>,
}

impl<'a> Rows<'a> {
    /// All positions, if shapes, layouts and types fit each other.
    fn new<B: CpuEngine>(inputs: &'a RotaryInputs<'_, Primitives<B>>, views: &[View<'a>; 3]) -> Option<Self> {
        let d = inputs.head_dim;
        let [q, k, v] = [heads(&views[0], d)?, heads(&views[1], d)?, heads(&views[2], d)?];
        let same = |x: &Heads<'_>| x.batch == q.batch && x.length == q.length && x.data.dtype() == q.data.dtype();
        let fits = same(&k) && same(&v) && k.heads == v.heads;
        let positions: usize = inputs.lengths.iter().sum();
        let batched = q.batch == 1 || inputs.lengths.len() == 1;
        if !fits || !batched || positions != q.length {
            return None;
        }
        let angles = |tensor| match B::view(tensor)?.contiguous()? {
            Floats::F32(angles) => Some(angles),
            Floats::Bf16(_) | Floats::F16(_) => None,
        };
        let (cos, sin) = (angles(&inputs.rotary.cos)?, angles(&inputs.rotary.sin)?);
        let each = q.length * (d / 2);
        if cos.len() != sin.len() || (cos.len() != each && cos.len() != q.batch * each) {
            return None;
        }
        let norm = |gamma, epsilon| {
            let gamma = B::view(gamma)?.contiguous().filter(|gamma| gamma.len() == d)?;
            Some(RmsNorm { gamma, epsilon })
        };
        let norms = match &inputs.norms {
            Some(HeadNorms { q_gamma, k_gamma, epsilon }) => {
                [Some(norm(q_gamma, *epsilon)?), Some(norm(k_gamma, *epsilon)?)]
            }
            None => [None; 2],
        };
        Some(Self { heads: [q, k, v], norms, angles: Angles { cos, sin } })
    }

    /// `length` positions from `start` on; all of them where there is a batch.
    fn take(&self, start: usize, length: usize) -> Self {
        if length == self.heads[0].length {
            return *self;
        }
        let half = self.heads[0].head_dim / 2;
        let angles = |all: &'a [f32]| &all[start * half..(start + length) * half];
        let heads = self.heads.map(|x| {
            let from = (start * x.strides[2]).min(x.data.len());
            Heads { data: x.data.slice(from, x.data.len() - from), length, ..x }
        });
        Self { heads, angles: Angles { cos: angles(self.angles.cos), sin: angles(self.angles.sin) }, ..*self }
    }
}

/// `[batch, length, heads · d]` as heads.
fn heads<'a>(view: &View<'a>, d: usize) -> Option<Heads<'a>> {
    let (&[batch, length, width], &[s0, s1, s2]) = (view.shape.as_slice(), view.strides.as_slice()) else {
        return None;
    };
    let fits = d > 0 && width.is_multiple_of(d) && (s2 == 1 || width <= 1);
    let data = view.data_from(view.offset);
    fits.then(|| Heads { data, batch, heads: width / d, length, head_dim: d, strides: [s0, d, s1] })
}

/// Whether a cache has room for the heads, in a type that they can be rounded to.
fn check_cache<B: CpuEngine>(cache: &CacheRoom<Primitives<B>>, rows: &Rows<'_>, dtype: ElementType) -> Option<()> {
    let k = &rows.heads[1];
    for buffer in [&cache.keys, &cache.values] {
        let view = B::view(buffer)?;
        let [batch, heads, _, d] = *view.shape.as_slice() else { return None };
        view.contiguous()?;
        if [batch, heads, d] != [k.batch, k.heads, k.head_dim] || !Placement::takes(dtype, view.dtype()) {
            return None;
        }
    }
    (cache.keys.dtype() == cache.values.dtype()).then_some(())
}

/// The buffer, to write: that of the tensor where nobody else holds it, else a copy that the tensor has from then on.
fn own<B: CpuEngine>(tensor: &mut FloatTensor<B>) -> Option<FloatsMut<'_>> {
    if B::view_mut(tensor).is_none() {
        let mut copy = B::allocate(element_type(tensor.dtype())?, B::len(tensor))?;
        copy_floats(B::elements(tensor)?, copy.as_floats_mut());
        *tensor = B::from_floats(copy, tensor.shape())?;
    }
    B::view_mut(tensor)
}

fn copy_floats(from: Floats<'_>, to: FloatsMut<'_>) {
    match (from, to) {
        (Floats::F32(from), FloatsMut::F32(to)) => to.copy_from_slice(from),
        (Floats::Bf16(from), FloatsMut::Bf16(to)) => to.copy_from_slice(from),
        (Floats::F16(from), FloatsMut::F16(to)) => to.copy_from_slice(from),
        (from, to) => unreachable!("a copy has the type of what it copies, not {:?} of {:?}", to.dtype(), from.dtype()),
    }
}

/// The tiles of attention from projections of these sizes; none where it is no op of its own.
pub(super) fn choose_tiles(sizes: AttentionSizes, config: &KernelConfig) -> Option<Tiles> {
    let takes = config.simd.enabled && sizes.heads > 0 && sizes.d.is_multiple_of(2);
    takes.then(|| attention::choose_tiles(sizes, config)).flatten()
}

/// One sequence, or a batch of one length.
struct Sequence<'a> {
    launch: Launch,
    options: &'a AttentionOptions<'a>,
    rows: Rows<'a>,
    out: FloatsMut<'a>,
}

impl Sequence<'_> {
    /// Against the keys of the sequence itself; its values are read strided, or rounded into the scratch memory
    /// first.
    fn run(self, scratch: &mut Scratch, rounds_values: bool) {
        let Rows { heads: [q, k, v], norms: [q_norm, k_norm], angles } = self.rows;
        let angles = Some(angles);
        let [queries, keys, values] = &mut scratch.0;
        let (mut queries, mut keys, mut values) =
            (queries.as_floats_mut(), keys.as_floats_mut(), values.as_floats_mut());
        let placed = [
            Placement { x: q, norm: q_norm, angles, to: whole(&mut queries, &q) },
            Placement { x: k, norm: k_norm, angles, to: whole(&mut keys, &k) },
        ];
        if rounds_values {
            let [q, k] = placed;
            place_heads(self.launch, [q, k, Placement { x: v, norm: None, angles: None, to: whole(&mut values, &v) }]);
        } else {
            place_heads(self.launch, placed);
        }
        let v_heads = if rounds_values { contiguous(&values, &v) } else { v };
        run_attention(
            self.launch,
            [contiguous(&queries, &q), contiguous(&keys, &k), v_heads],
            self.options,
            self.out,
            None,
        );
    }

    /// Against those of a cache, behind which the own ones are written. None only where a backend has no memory of its
    /// own.
    fn run_cached<B: CpuEngine>(self, scratch: &mut Scratch, cache: &mut CacheRoom<Primitives<B>>) -> Option<()> {
        let Rows { heads: [q, k, v], norms: [q_norm, k_norm], angles } = self.rows;
        let angles = Some(angles);
        let start = cache.start;
        let mut queries = scratch.0[0].as_floats_mut();
        let (mut keys, mut values) = (own::<B>(&mut cache.keys)?, own::<B>(&mut cache.values)?);
        let capacity = keys.len() / (k.batch * k.heads * k.head_dim);
        place_heads(
            self.launch,
            [
                Placement { x: q, norm: q_norm, angles, to: whole(&mut queries, &q) },
                Placement { x: k, norm: k_norm, angles, to: Place { data: keys.reborrow(), capacity, start } },
                Placement { x: v, norm: None, angles: None, to: Place { data: values.reborrow(), capacity, start } },
            ],
        );
        let used = |data| {
            let all = Heads::contiguous(data, [k.batch, k.heads, capacity, k.head_dim]);
            Heads { length: start + k.length, ..all }
        };
        let q = contiguous(&queries, &q);
        run_attention(self.launch, [q, used(keys.as_floats()), used(values.as_floats())], self.options, self.out, None);
        Some(())
    }
}

/// Room for heads of queries, keys and values.
struct Scratch([PooledFloats; 3]);

impl Scratch {
    /// For the longest of `lengths`: keys and values where there is no cache for them, values only where they are
    /// rounded.
    fn take<'a>(
        dtype: ElementType,
        rows: &Rows<'_>,
        has_keys: bool,
        lengths: impl Iterator<Item = &'a usize>,
    ) -> Option<Self> {
        let longest = lengths.copied().max().unwrap_or(0);
        let [q, k, _] = rows.heads;
        let len = |heads: usize| q.batch * heads * longest * q.head_dim;
        let keys = if has_keys { len(k.heads) } else { 0 };
        let values = if dtype == q.data.dtype() { 0 } else { keys };
        let take = |len| PooledFloats::take(dtype, len);
        Some(Self([take(len(q.heads))?, take(keys)?, take(values)?]))
    }
}

/// The place of all of `heads`, from the first of `floats` on.
fn whole<'a>(floats: &'a mut FloatsMut<'_>, heads: &Heads<'_>) -> Place<'a> {
    let len = heads.batch * heads.heads * heads.length * heads.head_dim;
    Place { data: floats.slice_mut(0, len), capacity: heads.length, start: 0 }
}

/// The heads that were placed there.
fn contiguous<'a>(floats: &'a FloatsMut<'_>, heads: &Heads<'_>) -> Heads<'a> {
    let shape = [heads.batch, heads.heads, heads.length, heads.head_dim];
    Heads::contiguous(floats.as_floats().slice(0, shape.iter().product()), shape)
}

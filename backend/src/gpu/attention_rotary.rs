//! Attention from projections: at most three launches for a sequence.
//!
//! ```text
//! 1  queries normed and rotated to a scratch tensor; keys normed and rotated, and values, to their place in the cache
//! 2  attention, which writes the rows of the output projection; where keys are split over cubes, outputs of the parts
//! 3  these combined
//! ```
//!
//! Without caches, sequences behind each other are segments of one: three launches for all of them.

use super::{CubeEngine, accept, attention::describe_rules, runs, tune::tune_attention};
use crate::engine::{Primitives, RotaryOperands};
use crate::routes::Route;
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use burn_kiln_fusion::{
    AttentionOptions, CacheRoom, KernelConfig, Rotary, RotaryInputs,
    cube::{
        Angles, AttentionInputs, AttentionOutputs, AttentionRules, CubeError, HeadInputs, Placement, Strategy,
        allocate_like, place_heads,
    },
};
use burn_std::{Metadata, Shape, Strides};
use core::ops::Range;

/// The output `[batch, length, heads · head_dim]`; `None` where the kernels do not take the operands.
pub(super) fn attend<R: CubeRuntime, B: CubeEngine<R>>(
    RotaryOperands { inputs, options }: &RotaryOperands<'_, B>,
    caches: &mut [CacheRoom<Primitives<B>>],
    config: &KernelConfig,
) -> Option<CubeTensor<R>> {
    let (d, lengths) = (inputs.head_dim, inputs.lengths);
    let several = lengths.len() > 1;
    let masked = options.mask.is_some() || options.bias.is_some() || options.segments.is_some();
    if !runs(config.tiling.enabled && config.simd.enabled, config) || several && masked {
        return None;
    }
    let heads = [&inputs.q, &inputs.k, &inputs.v].map(|rows| split_heads(rows, d));
    let [Some(q), Some(k), Some(v)] = heads else { return None };
    let &[batch, heads, length, _] = q.shape().to_vec().as_slice() else { return None };
    if lengths.iter().sum::<usize>() != length || several && batch > 1 {
        return None;
    }
    let out = allocate_like(&q, Shape::from(vec![batch, length, heads * d]), q.dtype);
    let work = Work { q: &q, k: &k, v: &v, out: split_heads(&out, d)?, inputs, options, config };
    let result = if caches.is_empty() { work.run() } else { work.run_cached(caches) };
    accept(Route::CubeAttentionRotary, result)?;
    Some(out)
}

/// `[batch, length, heads · d]` seen as `[batch, heads, length, d]`.
fn split_heads<R: CubeRuntime>(rows: &CubeTensor<R>, d: usize) -> Option<CubeTensor<R>> {
    let shape = rows.shape();
    let &[batch, length, width] = shape.to_vec().as_slice() else { return None };
    if d == 0 || !width.is_multiple_of(d) || shape.num_elements() == 0 {
        return None;
    }
    let rows = if rows.meta.strides()[2] == 1 { rows.clone() } else { into_contiguous(rows.clone()) };
    let [s0, s1] = [rows.meta.strides()[0], rows.meta.strides()[1]];
    Some(view(rows, [batch, width / d, length, d], [s0, d, s1, 1]))
}

/// The same buffer with other dimensions.
fn view<R: CubeRuntime>(mut tensor: CubeTensor<R>, dims: [usize; 4], strides: [usize; 4]) -> CubeTensor<R> {
    *tensor.meta = Metadata::new(Shape::from(dims), Strides::new(&strides));
    tensor
}

/// The positions in use of a buffer `[batch, heads, capacity, d]`.
fn take_positions<R: CubeRuntime>(buffer: &CubeTensor<R>, used: usize) -> CubeTensor<R> {
    let (mut dims, strides) = (buffer.shape().to_vec(), buffer.meta.strides().clone());
    dims[2] = used;
    let mut tensor = buffer.clone();
    *tensor.meta = Metadata::new(Shape::from(dims), strides);
    tensor
}

/// One call. Heads are `[batch, heads, length, d]`.
struct Work<'a, R: CubeRuntime, B: CubeEngine<R>> {
    q: &'a CubeTensor<R>,
    k: &'a CubeTensor<R>,
    v: &'a CubeTensor<R>,
    out: CubeTensor<R>,
    inputs: &'a RotaryInputs<'a, Primitives<B>>,
    options: &'a AttentionOptions<Primitives<B>>,
    config: &'a KernelConfig,
}

impl<R: CubeRuntime, B: CubeEngine<R>> Work<'_, R, B> {
    /// Against the keys of the sequences themselves; values are read strided.
    fn run(&self) -> Result<(), CubeError> {
        let (queries, keys) = (allocate_like(self.q, self.q.shape(), self.q.dtype), {
            allocate_like(self.k, self.k.shape(), self.k.dtype)
        });
        let lengths = self.inputs.lengths;
        self.place([&queries, &keys], None, 0..self.q.shape()[2], 0)?;
        let ends: Vec<usize> = lengths
            .iter()
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .collect();
        let segments = if lengths.len() > 1 { Some(ends.as_slice()) } else { self.options.segments.as_deref() };
        self.attend([&queries, &keys, self.v], segments, 0)
    }

    /// Each sequence against those of its cache, behind which the own ones are written.
    fn run_cached(&self, caches: &mut [CacheRoom<Primitives<B>>]) -> Result<(), CubeError> {
        let dims = self.q.shape().to_vec();
        let mut first = 0;
        for (cache, &length) in caches.iter_mut().zip(self.inputs.lengths) {
            for buffer in [&mut cache.keys, &mut cache.values] {
                // Somebody holds a view of it, which must not change.
                if !buffer.can_mut() {
                    *buffer = buffer.copy();
                }
            }
            let queries = allocate_like(self.q, Shape::from(vec![dims[0], dims[1], length, dims[3]]), self.q.dtype);
            let (keys, values, start) = (&cache.keys, &cache.values, cache.start);
            self.place([&queries, keys], Some(values), first..first + length, start)?;
            let [keys, values] = [keys, values].map(|buffer| take_positions(buffer, start + length));
            self.attend([&queries, &keys, &values], self.options.segments.as_deref(), first)?;
            first += length;
        }
        Ok(())
    }

    /// The first launch.
    fn place(
        &self,
        [queries, keys]: [&CubeTensor<R>; 2],
        values: Option<&CubeTensor<R>>,
        positions: Range<usize>,
        start: usize,
    ) -> Result<(), CubeError> {
        let norms = self.inputs.norms.as_ref();
        let mut placements = vec![
            Placement { x: self.q, gamma: norms.map(|norms| &norms.q_gamma), to: queries },
            Placement { x: self.k, gamma: norms.map(|norms| &norms.k_gamma), to: keys },
        ];
        placements.extend(values.map(|to| Placement { x: self.v, gamma: None, to }));
        let Rotary { cos, sin } = self.inputs.rotary;
        let epsilon = norms.map_or(0.0, |norms| norms.epsilon);
        let inputs = HeadInputs { placements: &placements, angles: Angles { cos, sin }, epsilon, positions, start };
        place_heads(&inputs, Strategy::Auto)
    }

    /// The launches of the attention, whose first query writes position `start` of the output.
    fn attend(
        &self,
        [q, k, v]: [&CubeTensor<R>; 3],
        segments: Option<&[usize]>,
        start: usize,
    ) -> Result<(), CubeError> {
        let (mask, bias) = (self.options.mask.as_ref(), self.options.bias.as_ref());
        let rules: AttentionRules<'_> = describe_rules(self.options, self.inputs.head_dim, segments);
        let inputs = AttentionInputs { q, k, v, mask, bias };
        let outputs = AttentionOutputs { out: &self.out, start, lse: None };
        tune_attention(&inputs, &rules, &outputs, self.config)
    }
}

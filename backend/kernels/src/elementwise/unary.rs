//! Functions of one operand.

use crate::math::{
    LaneOps, Unrolled, exp, gelu_erf, gelu_erf_bf16, gelu_tanh, gelu_tanh_bf16, relu, sigmoid, sigmoid_bf16, silu,
    silu_bf16, tanh,
};
use crate::rows::{
    GRAIN, Source, Target, UNROLL, by_dtype, load, prefetch_block, prefetch_elements, share, spans, store, streams,
};
use crate::simd::{Isa, Kernel};
use crate::{Activation, ElementType};
use crate::{Floats, FloatsMut, Launch, Storage};

/// A function of one operand. Errors: see [`crate::math`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
    /// `x/2 · (1 + erf(x/√2))`.
    GeluErf,
    /// `x / (1 + e⁻ˣ)`.
    Silu,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `max(x, 0)`.
    Relu,
    /// `eˣ`.
    Exp,
    /// `tanh(x)`.
    Tanh,
}

impl From<Activation> for UnaryOp {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::GeluTanh => Self::GeluTanh,
            Activation::GeluErf => Self::GeluErf,
            Activation::Silu => Self::Silu,
        }
    }
}

/// `dst[i] = op(src[i])`.
///
/// # Panics
/// If the lengths or the element types differ.
pub fn unary(launch: Launch, op: UnaryOp, src: Floats<'_>, dst: FloatsMut<'_>) {
    by_dtype!((src: Floats, dst: FloatsMut) => run(launch, op, Source::new(src), Target::new(dst)));
}

/// `x[i] = op(x[i])`.
pub fn unary_in_place(launch: Launch, op: UnaryOp, x: FloatsMut<'_>) {
    by_dtype!((x: FloatsMut) => {
        let x = Target::new(x);
        run(launch, op, x.source(), x);
    });
}

fn run<S: Storage>(launch: Launch, op: UnaryOp, src: Source<S>, dst: Target<S>) {
    assert_eq!(src.len(), dst.len(), "elements of the source and of the result");
    match op {
        UnaryOp::GeluTanh => split(launch, GeluTanh, src, dst),
        UnaryOp::GeluErf => split(launch, GeluErf, src, dst),
        UnaryOp::Silu => split(launch, Silu, src, dst),
        UnaryOp::Sigmoid => split(launch, Sigmoid, src, dst),
        UnaryOp::Relu => split(launch, Relu, src, dst),
        UnaryOp::Exp => split(launch, Exp, src, dst),
        UnaryOp::Tanh => split(launch, Tanh, src, dst),
    }
}

fn split<S: Storage, F: Function>(launch: Launch, function: F, src: Source<S>, dst: Target<S>) {
    let in_place = src.start() == dst.source().start();
    let stream = !in_place && streams(size_of::<S>() * dst.len());
    let ahead = if stream && size_of::<S>() == 2 { prefetch_elements::<S>(launch, AHEAD / size_of::<S>()) } else { 0 };
    share(launch, 2 * size_of::<S>() * dst.len()).split(dst.len(), GRAIN, |part| {
        let (src, dst, len) = (src.part(&part), dst.part(&part), part.len());
        launch.tier.run(MapElements { function, src, dst, len, stream, ahead });
    });
}

/// A function as a type, so that each gets its own loop with its constants in registers.
trait Function: Copy + Sync {
    /// The function of elements of `S`, to what rounding to `S` leaves of them.
    fn apply<I: LaneOps, S: Storage>(self, isa: I, x: I::V) -> I::V;
}

/// Each with its function of f32 and f16, and the one for bf16.
macro_rules! functions {
    ($($name:ident: $function:ident, $bf16:ident;)+) => {$(
        #[derive(Clone, Copy)]
        struct $name;
        impl Function for $name {
            #[inline(always)]
            fn apply<I: LaneOps, S: Storage>(self, isa: I, x: I::V) -> I::V {
                if matches!(S::TYPE, ElementType::Bf16) { $bf16(isa, x) } else { $function(isa, x) }
            }
        }
    )+};
}

functions! {
    GeluTanh: gelu_tanh, gelu_tanh_bf16;
    GeluErf: gelu_erf, gelu_erf_bf16;
    Silu: silu, silu_bf16;
    Sigmoid: sigmoid, sigmoid_bf16;
    Relu: relu, relu;
    Exp: exp, exp;
    Tanh: tanh, tanh;
}

/// Bytes ahead of which elements of 16 bits are prefetched when results are stored non-temporally: their arithmetic
/// takes about as long as memory, and the hardware's own prefetch ends at each page. GELU and SiLU of bf16 on two
/// threads of AMD Zen 5 ran at 0.93 and 0.92 of a copy in place of 0.88 and 0.89; from 4 KiB on alike.
const AHEAD: usize = 16 << 10;

/// The function over `len` elements from `src` to `dst`, which are the same or do not overlap.
struct MapElements<F, S> {
    function: F,
    src: *const S,
    dst: *mut S,
    len: usize,
    stream: bool,
    /// Elements ahead of which the source is prefetched; 0 for none.
    ahead: usize,
}

impl<F: Function, S: Storage> Kernel for MapElements<F, S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        match (self.stream, self.ahead > 0) {
            (true, true) => self.run::<I, true, true>(isa),
            (true, false) => self.run::<I, true, false>(isa),
            (false, _) => self.run::<I, false, false>(isa),
        }
        if self.stream {
            isa.fence();
        }
    }
}

impl<F: Function, S: Storage> MapElements<F, S> {
    #[inline(always)]
    fn run<I: Isa, const STREAM: bool, const PREFETCH: bool>(&self, isa: I) {
        let Self { function, src, dst, len, ahead, .. } = *self;
        let span = spans::<I, S, STREAM>(isa, dst, len);
        for at in (span.blocks..span.rest).step_by(UNROLL * I::LANES) {
            if PREFETCH {
                prefetch_block(isa, src.wrapping_add(at + ahead));
            }
            // SAFETY: `split` checked that both parts hold `len` elements; a block ends at `rest` or before.
            unsafe {
                let x = S::load_block::<I, UNROLL>(isa, src.add(at));
                S::store_block_near::<I, UNROLL, STREAM>(isa, dst.add(at), function.apply::<_, S>(Unrolled(isa), x));
            }
        }
        for (begin, end) in span.singles() {
            for at in (begin..end).step_by(I::LANES) {
                let n = I::LANES.min(end - at);
                // SAFETY: `split` checked that both parts hold `len` elements; at + n ≤ len.
                let y = function.apply::<_, S>(isa, unsafe { load(isa, src.add(at), n) });
                // SAFETY: at + n ≤ len, the elements of the part that `split` checked.
                unsafe { store(isa, dst.add(at), S::round_near(isa, y), n) };
            }
        }
    }
}

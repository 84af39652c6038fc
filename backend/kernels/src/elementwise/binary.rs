//! Arithmetic of two operands, the second one possibly broadcast.

use crate::math::{LaneOps, Unrolled};
use crate::rows::{GRAIN, Source, Target, UNROLL, by_dtype, load, share, spans, store, streams};
use crate::simd::{Isa, Kernel};
use crate::{Floats, FloatsMut, Launch, Storage};
use core::ops::Range;

/// An arithmetic operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a · b`.
    Mul,
    /// `a / b`.
    Div,
}

/// The second operand, against `a` of shape `[rows, d]`.
#[derive(Debug, Clone, Copy)]
pub enum Operand<'a> {
    /// As many elements as `a`.
    Same(Floats<'a>),
    /// One number for all.
    Scalar(f32),
    /// `[d]`, the same for each row: `a`'s length is a multiple of its length.
    Row(Floats<'a>),
    /// `[rows]`, one number a row: `a`'s length is a multiple of its length.
    Column(Floats<'a>),
}

/// `dst = op(a, b)`.
///
/// # Panics
/// If the lengths do not fit or the element types differ.
pub fn binary(launch: Launch, op: BinaryOp, a: Floats<'_>, b: Operand<'_>, dst: FloatsMut<'_>) {
    match b {
        Operand::Scalar(by) => by_dtype!((a: Floats, dst: FloatsMut) => {
            run(launch, op, Source::new(a), By::Scalar(by), Target::new(dst));
        }),
        Operand::Same(b) => by_dtype!((a: Floats, b: Floats, dst: FloatsMut) => {
            run(launch, op, Source::new(a), By::Same(Source::new(b)), Target::new(dst));
        }),
        Operand::Row(b) => by_dtype!((a: Floats, b: Floats, dst: FloatsMut) => {
            run(launch, op, Source::new(a), By::Row(Source::new(b)), Target::new(dst));
        }),
        Operand::Column(b) => by_dtype!((a: Floats, b: Floats, dst: FloatsMut) => {
            run(launch, op, Source::new(a), By::Column(Source::new(b)), Target::new(dst));
        }),
    }
}

/// `a = op(a, b)`.
///
/// # Panics
/// As [`binary`].
pub fn binary_in_place(launch: Launch, op: BinaryOp, a: FloatsMut<'_>, b: Operand<'_>) {
    fn in_place<S: Storage>(launch: Launch, op: BinaryOp, a: &mut [S], by: By<S>) {
        let a = Target::new(a);
        run(launch, op, a.source(), by, a);
    }
    match b {
        Operand::Scalar(by) => by_dtype!((a: FloatsMut) => in_place(launch, op, a, By::Scalar(by))),
        Operand::Same(b) => by_dtype!((a: FloatsMut, b: Floats) => in_place(launch, op, a, By::Same(Source::new(b)))),
        Operand::Row(b) => by_dtype!((a: FloatsMut, b: Floats) => in_place(launch, op, a, By::Row(Source::new(b)))),
        Operand::Column(b) => {
            by_dtype!((a: FloatsMut, b: Floats) => in_place(launch, op, a, By::Column(Source::new(b))))
        }
    }
}

/// [`Operand`] of a known element type.
#[derive(Clone, Copy)]
enum By<S> {
    Scalar(f32),
    Same(Source<S>),
    Row(Source<S>),
    Column(Source<S>),
}

fn run<S: Storage>(launch: Launch, op: BinaryOp, a: Source<S>, by: By<S>, dst: Target<S>) {
    let len = a.len();
    assert_eq!(len, dst.len(), "elements of the first operand and of the result");
    if len == 0 {
        return;
    }
    // A column of single elements is no broadcast.
    let by = match by {
        By::Column(b) if b.len() == len => By::Same(b),
        by => by,
    };
    let (rows, d) = match by {
        By::Scalar(_) => (1, len),
        By::Same(b) => {
            assert_eq!(len, b.len(), "elements of the operands");
            (1, len)
        }
        By::Row(b) => {
            assert!(b.len() > 0 && len.is_multiple_of(b.len()), "a row of {} against {len} elements", b.len());
            (len / b.len(), b.len())
        }
        By::Column(b) => {
            assert!(b.len() > 0 && len.is_multiple_of(b.len()), "a column of {} against {len} elements", b.len());
            (b.len(), len / b.len())
        }
    };
    let launch = share(launch, 3 * size_of::<S>() * len);
    let in_place = a.start() == dst.source().start();
    let stream = !in_place && streams(size_of::<S>() * len);
    let run_part = |part: Range<usize>| {
        let elements = BinaryElements::<S, 0> { by, a: a.part(&part), dst: dst.part(&part), d, part, stream };
        elements.run_as(launch, op);
    };
    if rows == 1 {
        launch.split(len, GRAIN, run_part);
    } else {
        // Whole rows, at least a cache line of them.
        launch.split(rows, GRAIN.div_ceil(d), |r| run_part(r.start * d..r.end * d));
    }
}

/// Elements `part` of the op `OP` (see [`combine`]): whole rows if there are several. One function for each op and
/// instruction set: the compiler takes much longer for one with all of them.
struct BinaryElements<S, const OP: u8> {
    by: By<S>,
    a: *const S,
    dst: *mut S,
    d: usize,
    part: Range<usize>,
    stream: bool,
}

impl<S: Storage> BinaryElements<S, 0> {
    /// Runs `op` on them.
    fn run_as(self, launch: Launch, op: BinaryOp) {
        match op {
            BinaryOp::Add => launch.tier.run(self.with_op::<0>()),
            BinaryOp::Sub => launch.tier.run(self.with_op::<1>()),
            BinaryOp::Mul => launch.tier.run(self.with_op::<2>()),
            BinaryOp::Div => launch.tier.run(self.with_op::<3>()),
        }
    }

    fn with_op<const OP: u8>(self) -> BinaryElements<S, OP> {
        let Self { by, a, dst, d, part, stream } = self;
        BinaryElements { by, a, dst, d, part, stream }
    }
}

impl<S: Storage, const OP: u8> Kernel for BinaryElements<S, OP> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        if self.stream {
            self.run::<I, true>(isa);
            isa.fence();
        } else {
            self.run::<I, false>(isa);
        }
    }
}

impl<S: Storage, const OP: u8> BinaryElements<S, OP> {
    #[inline(always)]
    fn run<I: Isa, const STREAM: bool>(self, isa: I) {
        let Self { by, a, dst, d, part, .. } = self;
        // SAFETY: `run` took `a` and `dst` from checked parts of `part.len()` elements; the addresses in b are checked
        // here.
        unsafe {
            match by {
                By::Scalar(x) => against_scalar::<I, S, OP, STREAM>(isa, a, x, dst, part.len()),
                By::Same(b) => against_slice::<I, S, OP, STREAM>(isa, a, b.part(&part), dst, part.len()),
                // Within the first row; a single row is split anywhere.
                By::Row(b) if part.end <= d => {
                    against_slice::<I, S, OP, STREAM>(isa, a, b.part(&part), dst, part.len());
                }
                By::Row(b) => {
                    for at in (0..part.len()).step_by(d) {
                        against_slice::<I, S, OP, STREAM>(isa, a.add(at), b.part(&(0..d)), dst.add(at), d);
                    }
                }
                By::Column(b) => {
                    for at in (0..part.len()).step_by(d) {
                        let row = (part.start + at) / d;
                        let x = (*b.part(&(row..row + 1))).to_f32();
                        against_scalar::<I, S, OP, STREAM>(isa, a.add(at), x, dst.add(at), d.min(part.len() - at));
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn combine<I: LaneOps, const OP: u8>(isa: I, a: I::V, b: I::V) -> I::V {
    match OP {
        0 => isa.add(a, b),
        1 => isa.sub(a, b),
        2 => isa.mul(a, b),
        _ => isa.div(a, b),
    }
}

/// # Safety
/// All three hold `len` elements.
#[inline(always)]
unsafe fn against_slice<I: Isa, S: Storage, const OP: u8, const STREAM: bool>(
    isa: I,
    a: *const S,
    b: *const S,
    dst: *mut S,
    len: usize,
) {
    let span = spans::<I, S, STREAM>(isa, dst, len);
    for at in (span.blocks..span.rest).step_by(UNROLL * I::LANES) {
        // SAFETY: all three hold `len` elements (`# Safety` of `against_slice`); a block ends at `rest` or before.
        unsafe {
            let (a, b) = (S::load_block::<I, UNROLL>(isa, a.add(at)), S::load_block::<I, UNROLL>(isa, b.add(at)));
            S::store_block::<I, UNROLL, STREAM>(isa, dst.add(at), combine::<_, OP>(Unrolled(isa), a, b));
        }
    }
    for (begin, end) in span.singles() {
        for at in (begin..end).step_by(I::LANES) {
            let n = I::LANES.min(end - at);
            // SAFETY: all three hold `len` elements (`# Safety` of `against_slice`); at + n ≤ len.
            unsafe {
                let result = combine::<_, OP>(isa, load(isa, a.add(at), n), load(isa, b.add(at), n));
                store(isa, dst.add(at), result, n);
            }
        }
    }
}

/// # Safety
/// Both hold `len` elements.
#[inline(always)]
unsafe fn against_scalar<I: Isa, S: Storage, const OP: u8, const STREAM: bool>(
    isa: I,
    a: *const S,
    b: f32,
    dst: *mut S,
    len: usize,
) {
    // The canonical NaN, which 16-bit stores need.
    let b = Isa::splat(isa, if b.is_nan() { f32::NAN } else { b });
    let span = spans::<I, S, STREAM>(isa, dst, len);
    for at in (span.blocks..span.rest).step_by(UNROLL * I::LANES) {
        // SAFETY: both hold `len` elements (`# Safety` of `against_scalar`); a block ends at `rest` or before.
        unsafe {
            let a = S::load_block::<I, UNROLL>(isa, a.add(at));
            S::store_block::<I, UNROLL, STREAM>(isa, dst.add(at), combine::<_, OP>(Unrolled(isa), a, [b; UNROLL]));
        }
    }
    for (begin, end) in span.singles() {
        for at in (begin..end).step_by(I::LANES) {
            let n = I::LANES.min(end - at);
            // SAFETY: both hold `len` elements (`# Safety` of `against_scalar`); at + n ≤ len.
            unsafe { store(isa, dst.add(at), combine::<_, OP>(isa, load(isa, a.add(at), n), b), n) };
        }
    }
}

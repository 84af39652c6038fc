//! The gradients of a mixture of experts.
//!
//! With `y = Σ w_e · down_e(h_e)`, `h = silu(gate) ⊙ up`, and `g` the gradient of `y`, for each expert and the slots
//! that chose it:
//!
//! ```text
//! X, G         rows of the tokens and of their gradients, gathered
//! P  = X · gate_up                              tiled products, each expert's matrices in their own layout
//! D  = G · downᵀ
//! dw = Σ h ⊙ D  a row                           one pass over the rows of P and D, in place:
//! P  → (w·D ⊙ up ⊙ silu'(gate) | w·D ⊙ silu(gate)),  D → w·h
//! ddown    = Dᵀ · G
//! dgate_up = Xᵀ · P
//! dX       = P · gate_upᵀ                       added to the rows of the tokens
//! ```
//!
//! The output of an expert is not computed again: the gradient of a weight is `g · down(h) = h · (g downᵀ)`. Then, for
//! each token, `dw` goes through the division by the sum of the chosen, where there is one, and the softmax.

use super::routing::{Group, Routing};
use super::{Experts, Gates};
use crate::backward::split_gradient;
use crate::config::KernelConfig;
use crate::gemm::{Epilogue, Matrix, OutMatrix, gemm};
use crate::memory::PooledBytes;
use crate::planning::{ProductShape, plan_product};
use crate::rows::{Target, load, share, store};
use crate::simd::{Isa, Kernel};
use crate::{Floats, FloatsMut, Launch};

/// Where the gradients of a mixture go.
#[derive(Debug)]
pub struct MoeGradients<'a> {
    /// Of the tokens through the experts, `[tokens, hidden]`; what the router adds is not in it.
    pub x: &'a mut [f32],
    /// Of the router's logits, `[tokens, experts]`.
    pub logits: &'a mut [f32],
    /// Of the experts' matrices, where they train.
    pub experts: Option<ExpertGradients<'a>>,
}

/// Where the gradients of the experts' matrices go.
#[derive(Debug)]
pub struct ExpertGradients<'a> {
    /// `[experts, hidden, 2 · intermediate]`.
    pub gate_up: &'a mut [f32],
    /// `[experts, intermediate, hidden]`.
    pub down: &'a mut [f32],
}

/// The gradients of [`moe`](super::moe) from `grad`, that of its output, `[tokens, hidden]`. The choice of experts is
/// constant.
///
/// `16 · tokens · top_k · hidden · intermediate` FLOP, 10 where the experts are frozen. Memory besides the results:
/// rows of the largest group, `2 · hidden + 3 · intermediate` floats each.
///
/// # Panics
/// If lengths do not fit, or there are fewer experts than a token goes to.
pub fn moe_backward(
    config: &KernelConfig,
    x: &[f32],
    gates: Gates<'_>,
    experts: &Experts<'_>,
    grad: &[f32],
    to: MoeGradients<'_>,
) {
    let Experts { count, hidden, intermediate, .. } = *experts;
    let tokens = x.len().checked_div(hidden).unwrap_or(0);
    assert_eq!([x.len(), grad.len(), to.x.len()], [tokens * hidden; 3], "elements of tokens of {hidden}");
    let lengths = [gates.probabilities.len(), to.logits.len()];
    assert_eq!(lengths, [tokens * count; 2], "a probability and its gradient a token and expert");
    let (wide, narrow) = (2 * count * hidden * intermediate, count * hidden * intermediate);
    assert_eq!([experts.gate_up.len(), experts.down.len()], [wide, narrow], "elements of gate and up, and of down");
    if let Some(ExpertGradients { gate_up, down }) = &to.experts {
        assert_eq!([gate_up.len(), down.len()], [wide, narrow], "elements of the gradients of the experts");
    }
    assert!((1..=count).contains(&gates.top_k), "a token cannot go to {} of {count} experts", gates.top_k);
    let MoeGradients { x: dx, logits, experts: mut of_experts } = to;
    let routing = Routing::choose(gates, count);
    dx.fill(0.0);
    if let Some(ExpertGradients { gate_up, down }) = &mut of_experts {
        let mut chosen = vec![false; count];
        routing.groups.iter().for_each(|group| chosen[group.expert] = true);
        for expert in (0..count).filter(|&expert| !chosen[expert]) {
            gate_up[2 * expert * hidden * intermediate..][..2 * hidden * intermediate].fill(0.0);
            down[expert * hidden * intermediate..][..hidden * intermediate].fill(0.0);
        }
    }
    let largest = routing.groups.iter().map(|group| group.slots.len()).max().unwrap_or(0);
    let mut memory = PooledBytes::take(largest * (2 * hidden + 3 * intermediate) * size_of::<f32>());
    let memory: &mut [f32] = bytemuck::cast_slice_mut(memory.as_mut_slice());
    let mut dots = vec![0.0; routing.slots.len()];
    let pass = Pass { config, experts, routing: &routing };
    for group in &routing.groups {
        let slots = group.slots.len();
        let (rows, rest) = memory.split_at_mut(slots * hidden);
        let (grads, rest) = rest.split_at_mut(slots * hidden);
        let (products, rest) = rest.split_at_mut(slots * 2 * intermediate);
        let middle = &mut rest[..slots * intermediate];
        pass.gather(x, group, rows);
        pass.gather(grad, group, grads);
        let buffers = Buffers { rows, grads, products, middle };
        pass.differentiate(group, buffers, &mut dots, of_experts.as_mut(), dx);
    }
    differentiate_gates(gates, &routing, &dots, count, logits);
}

/// A checked mixture on its way back.
struct Pass<'a> {
    config: &'a KernelConfig,
    experts: &'a Experts<'a>,
    routing: &'a Routing,
}

/// Rows of the slots of one group.
struct Buffers<'a> {
    /// X, `[slots, hidden]`; at the end its gradient.
    rows: &'a mut [f32],
    /// G, `[slots, hidden]`.
    grads: &'a mut [f32],
    /// P, `[slots, 2 · intermediate]`.
    products: &'a mut [f32],
    /// D, `[slots, intermediate]`.
    middle: &'a mut [f32],
}

impl Pass<'_> {
    /// The token of the slot at `place`.
    fn token(&self, place: usize) -> usize {
        self.routing.slots[place] / self.routing.top_k
    }

    /// Rows of the tokens of a group.
    fn gather(&self, from: &[f32], group: &Group, to: &mut [f32]) {
        let hidden = self.experts.hidden;
        for (row, place) in to.chunks_exact_mut(hidden).zip(group.slots.clone()) {
            row.copy_from_slice(&from[self.token(place) * hidden..][..hidden]);
        }
    }

    /// One expert: its part of every gradient.
    fn differentiate(
        &self,
        group: &Group,
        buffers: Buffers<'_>,
        dots: &mut [f32],
        of_experts: Option<&mut ExpertGradients<'_>>,
        dx: &mut [f32],
    ) {
        let Experts { gate_up, down, hidden, intermediate, .. } = *self.experts;
        let Buffers { rows, grads, products, middle } = buffers;
        let slots = group.slots.len();
        let first = group.expert * hidden * intermediate;
        let gate_up = view(gate_up, 2 * first, [hidden, 2 * intermediate]);
        let down = view(down, first, [intermediate, hidden]);
        self.multiply(view(Floats::F32(rows), 0, [slots, hidden]), gate_up, products);
        self.multiply(view(Floats::F32(grads), 0, [slots, hidden]), down.transposed(), middle);
        self.split(group, products, middle, dots);
        let p = view(Floats::F32(products), 0, [slots, 2 * intermediate]);
        if let Some(ExpertGradients { gate_up, down }) = of_experts {
            let d = view(Floats::F32(middle), 0, [slots, intermediate]);
            let g = view(Floats::F32(grads), 0, [slots, hidden]);
            self.multiply(d.transposed(), g, &mut down[first..][..intermediate * hidden]);
            let x = view(Floats::F32(rows), 0, [slots, hidden]);
            self.multiply(x.transposed(), p, &mut gate_up[2 * first..][..2 * intermediate * hidden]);
        }
        self.multiply(p, gate_up.transposed(), rows);
        for (row, place) in rows.chunks_exact(hidden).zip(group.slots.clone()) {
            let to = &mut dx[self.token(place) * hidden..][..hidden];
            to.iter_mut().zip(row).for_each(|(to, x)| *to += x);
        }
    }

    /// The pass between the products.
    fn split(&self, group: &Group, products: &mut [f32], middle: &mut [f32], dots: &mut [f32]) {
        let width = self.experts.intermediate;
        let bytes = size_of_val(products) + size_of_val(middle);
        let (products, middle) = (Target::new(products), Target::new(middle));
        let dots = Target::new(&mut dots[group.slots.clone()]);
        let launch = Launch::from(self.config);
        share(launch, 2 * bytes).split(group.slots.len(), 1, |rows| {
            for row in rows {
                let product = products.part(&(2 * row * width..2 * (row + 1) * width));
                let middle = middle.part(&(row * width..(row + 1) * width));
                let weight = self.routing.weights[self.routing.slots[group.slots.start + row]];
                let dot = launch.tier.run(SplitRow { product, middle, weight, width });
                // SAFETY: the part was checked, and no other thread has this row.
                unsafe { dots.part(&(row..row + 1)).write(dot) };
            }
        });
    }

    /// `out = a · b`.
    fn multiply(&self, a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32]) {
        let plan = plan_product(ProductShape::of(&a, &b), self.config);
        let run = OutMatrix::row_major(FloatsMut::F32(out), a.rows(), b.cols())
            .and_then(|mut out| gemm(&plan, &a, &b, &mut out, &Epilogue::default()));
        run.expect("rows and experts were checked");
    }
}

/// A row-major matrix from element `first` on.
fn view(data: Floats<'_>, first: usize, [rows, cols]: [usize; 2]) -> Matrix<'_> {
    Matrix::new(data, first, [rows, cols], [cols as isize, 1]).expect("rows and experts were checked")
}

/// One slot: `product` holds gate and up, `middle` the gradient of their product without the slot's weight.
struct SplitRow {
    product: *mut f32,
    middle: *mut f32,
    weight: f32,
    width: usize,
}

impl Kernel for SplitRow {
    type Out = f32;

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) -> f32 {
        let Self { product, middle, weight, width } = self;
        let mut dot = isa.splat(0.0);
        let weight = isa.splat(weight);
        for at in (0..width).step_by(I::LANES) {
            let n = I::LANES.min(width - at);
            let (gate_at, up_at, middle) =
                (product.wrapping_add(at), product.wrapping_add(width + at), middle.wrapping_add(at));
            // SAFETY: `Pass::split` took the pointers from checked parts of two rows and one of `width` elements, which
            // no other thread has; at + n ≤ width.
            unsafe {
                let gradient = load(isa, middle, n);
                let operands = [load(isa, gate_at, n), load(isa, up_at, n), isa.mul(weight, gradient)];
                let [gate, up, hidden] = split_gradient(isa, operands);
                store(isa, gate_at, gate, n);
                store(isa, up_at, up, n);
                dot = isa.mul_add(hidden, gradient, dot);
                store(isa, middle, isa.mul(weight, hidden), n);
            }
        }
        isa.reduce_add(dot)
    }
}

/// The gradients of the router's logits from those of the slots' weights, `dots` by place.
///
/// Divided weights `c = p/Σp` give `dp = (dc - Σ dc·c) / Σp`; the softmax gives `p ⊙ (dp - Σ dp·p)`.
fn differentiate_gates(gates: Gates<'_>, routing: &Routing, dots: &[f32], experts: usize, logits: &mut [f32]) {
    let mut expert_of = vec![0; routing.slots.len()];
    for group in &routing.groups {
        group.slots.clone().for_each(|place| expert_of[routing.slots[place]] = group.expert);
    }
    let rows = gates.probabilities.chunks_exact(experts).zip(logits.chunks_exact_mut(experts));
    for (token, (p, out)) in rows.enumerate() {
        let slots = token * routing.top_k..(token + 1) * routing.top_k;
        let dc = |slot: usize| dots[routing.places[slot]];
        let chosen: f32 = slots.clone().map(|slot| p[expert_of[slot]]).sum();
        let along: f32 = slots.clone().map(|slot| dc(slot) * routing.weights[slot]).sum();
        out.fill(0.0);
        for slot in slots {
            out[expert_of[slot]] = if gates.normalize { (dc(slot) - along) / chosen } else { dc(slot) };
        }
        let along: f32 = out.iter().zip(p).map(|(dp, p)| dp * p).sum();
        out.iter_mut().zip(p).for_each(|(dp, p)| *dp = p * (*dp - along));
    }
}

//! Which experts a model in bf16 sends tokens to, beside the same model in f32.
//!
//! Rounding moves a router's logits a little, and a token that stands between two experts may go to the other one. From
//! there on its row is another one, and so is every row that attends to it: comparing those says nothing about kernels.
//! So the routers are compared first. Up to the first flip their logits must be near those of f32, the flip itself must
//! be one of a small margin, and only the rows before it are compared as closely as those of a dense model. Rows behind
//! it whose tokens all layers send to the same experts see the flipped ones through attention alone, and must be near.

use burn_kiln_fusion::FusedOps;
use burn_tensor::DType;
use qwen3_vl_burn::text::RouterLogits;

/// A router's logits on the host.
#[derive(Debug, Clone)]
pub struct Router {
    top_k: usize,
    experts: usize,
    /// `[tokens, experts]`.
    logits: Vec<f32>,
}

/// Where two runs send a token to other experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flip {
    /// The layer, counting those with experts.
    pub layer: usize,
    /// The token.
    pub token: usize,
    /// How far the exchanged experts are apart in the first run, in its router's logits, relative to the largest.
    pub margin: f64,
}

/// Two runs compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    /// Choices that differ because of rounding: all of the first layer that has any, and the first of the first token.
    pub flips: Vec<Flip>,
    /// Tokens before the first one that any layer sends elsewhere.
    pub equal_tokens: usize,
    /// Tokens behind it that all layers send to the same experts.
    pub alike: Vec<usize>,
    /// Tokens.
    pub tokens: usize,
    /// Largest error of the routers' logits over these tokens, relative to the largest logit of each layer; infinite
    /// where one is no number.
    pub error: f64,
}

/// Reads what [`Qwen3Vl::route`](qwen3_vl_burn::Qwen3Vl::route) gave.
pub fn read_routers<B: FusedOps>(routers: Vec<RouterLogits<B>>) -> Vec<Router> {
    let read = |router: RouterLogits<B>| {
        let [_, experts] = router.logits.dims();
        let data = router.logits.into_data().convert_dtype(DType::F32);
        Router { top_k: router.top_k, experts, logits: data.iter::<f32>().collect() }
    };
    routers.into_iter().map(read).collect()
}

impl Router {
    /// Logits `[tokens, experts]`, of which the `top_k` largest of each row count.
    pub fn new(top_k: usize, experts: usize, logits: Vec<f32>) -> Self {
        Self { top_k, experts, logits }
    }

    /// The experts of a token, ascending.
    fn choose(&self, token: usize) -> Vec<usize> {
        let row = self.row(token);
        let mut order: Vec<usize> = (0..self.experts).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        order.truncate(self.top_k);
        order.sort_unstable();
        order
    }

    fn row(&self, token: usize) -> &[f32] {
        &self.logits[token * self.experts..][..self.experts]
    }

    fn largest(&self) -> f64 {
        self.logits.iter().map(|logit| f64::from(logit.abs())).fold(f64::MIN_POSITIVE, f64::max)
    }
}

/// Compares the routers of two runs over the same tokens; `exact` is the one whose margins count.
pub fn compare_routing(exact: &[Router], rounded: &[Router]) -> Routing {
    let tokens = exact.first().map_or(0, |router| router.logits.len() / router.experts.max(1));
    let mut flips: Vec<Flip> = Vec::new();
    for (layer, (a, b)) in exact.iter().zip(rounded).enumerate() {
        for token in 0..tokens {
            let (kept, taken) = (a.choose(token), b.choose(token));
            if kept != taken {
                let row = a.row(token);
                let of = |these: &[usize], those: &[usize]| -> Vec<f64> {
                    these
                        .iter()
                        .filter(|expert| !those.contains(expert))
                        .map(|&expert| f64::from(row[expert]))
                        .collect()
                };
                let lowest = of(&kept, &taken).into_iter().fold(f64::INFINITY, f64::min);
                let highest = of(&taken, &kept).into_iter().fold(f64::NEG_INFINITY, f64::max);
                flips.push(Flip { layer, token, margin: (lowest - highest) / a.largest() });
            }
        }
    }
    let first = flips.iter().map(|flip| flip.token).min();
    let equal_tokens = first.unwrap_or(tokens);
    let alike = (equal_tokens..tokens).filter(|token| flips.iter().all(|flip| flip.token != *token)).collect();
    let error = exact.iter().zip(rounded).map(|(a, b)| {
        let end = equal_tokens * a.experts;
        let errors = a.logits[..end].iter().zip(&b.logits[..end]).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
        let worst =
            errors.fold(0.0, |worst: f64, error| if error.is_finite() { worst.max(error) } else { f64::INFINITY });
        worst / a.largest()
    });
    let error = error.fold(0.0, f64::max);
    // Flips behind others may only follow from them.
    let layer = flips.iter().map(|flip| flip.layer).min();
    let began = flips.iter().position(|flip| Some(flip.token) == first);
    let original = flips.iter().enumerate().filter(|(index, flip)| Some(flip.layer) == layer || Some(*index) == began);
    let flips = original.map(|(_, flip)| *flip).collect();
    Routing { flips, equal_tokens, alike, tokens, error }
}

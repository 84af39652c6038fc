//! Where a layer's experts are stored, and in which layout.
//!
//! | tensors of `mlp.experts` | shapes | written by |
//! | --- | --- | --- |
//! | `gate_up_proj`, `down_proj` | `[E, H, 2I]`, `[E, I, H]` | released checkpoints, HF 4: used as they lie |
//! | the same | `[E, 2I, H]`, `[E, H, I]` | `save_pretrained` of HF 5 |
//! | `gate_proj`, `up_proj`, `down_proj` | `[E, I, H]`, `[E, I, H]`, `[E, H, I]` | trainers that unfuse gate and up |
//! | `N.gate_proj.weight`, `N.up_proj.weight`, `N.down_proj.weight` | `[I, H]`, `[I, H]`, `[H, I]` | quantisers, trainers whose experts are linear layers |
//! | `gate_proj.N`, `up_proj.N`, `down_proj.N`; `gate_up_proj.N` | the same; `[2I, H]` or `[H, 2I]` | trainers that split arrays |
//!
//! with `.weight` or without, and `w1`, `w3`, `w2` for gate, up and down (Mixtral's names). Every tensor may be stored
//! `[.., out, in]` or `[.., in, out]`:
//!
//! 1. its own shape tells, unless both sizes are the same;
//! 2. then the layer's other tensors tell: `2I = H` and `I = H` cannot both be, so that a fused gate and up is told by
//!    down, and down by it;
//! 3. where nothing tells (separate gate and up with `I = H`), it is `[.., out, in]`, as linear layers are.
//!
//! HF 5.23 transposes what has not its own shape, so that it reads a released array with `2I = H` or `I = H` wrongly,
//! and without a word; rule 2 reads it rightly, and what HF 5 saved as HF does.

use super::assembly::{Assembly, Source};
use super::{Checkpoint, MisshapedTensor};
use crate::config::{MoeConfig, TextConfig};

/// Missing tensors of an array that are named; a file may lack thousands.
const NAMED: usize = 16;

/// A projection of an expert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Projection {
    GateUp,
    Gate,
    Up,
    Down,
}

/// A tensor of a layer's experts.
#[derive(Debug)]
struct Found {
    name: String,
    projection: Projection,
    expert: Option<usize>,
    /// Whether its shape is `[.., out, in]`; `None` where both orders are the same. `Err` for another shape.
    transposed: Result<Option<bool>, MisshapedTensor>,
}

/// Sizes of a layer's experts.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    experts: usize,
    hidden: usize,
    width: usize,
}

impl Projection {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "gate_up_proj" => Some(Self::GateUp),
            "gate_proj" | "w1" => Some(Self::Gate),
            "up_proj" | "w3" => Some(Self::Up),
            "down_proj" | "w2" => Some(Self::Down),
            _ => None,
        }
    }

    /// Inputs and outputs.
    fn sizes(self, sizes: Sizes) -> [usize; 2] {
        match self {
            Self::GateUp => [sizes.hidden, 2 * sizes.width],
            Self::Gate | Self::Up => [sizes.hidden, sizes.width],
            Self::Down => [sizes.width, sizes.hidden],
        }
    }

    /// Whether it is of the first half of the array's outputs, and of the second.
    fn halves(self) -> [bool; 2] {
        [self != Self::Up, self != Self::Gate]
    }

    /// The first column of the array that it fills.
    fn column(self, sizes: Sizes) -> usize {
        if self == Self::Up { sizes.width } else { 0 }
    }
}

/// Projection and expert of what is stored as `rest` behind `mlp.experts.`.
fn parse_name(rest: &str) -> Option<(Projection, Option<usize>)> {
    let rest = rest.strip_suffix(".weight").unwrap_or(rest);
    match rest.split_once('.') {
        None => Some((Projection::from_name(rest)?, None)),
        Some((first, second)) => match (first.parse(), second.parse()) {
            (Ok(expert), _) => Some((Projection::from_name(second)?, Some(expert))),
            (_, Ok(expert)) => Some((Projection::from_name(first)?, Some(expert))),
            _ => None,
        },
    }
}

impl Checkpoint {
    /// Finds the experts of every layer that has some, and how their arrays are put together where they don't lie in
    /// the checkpoint as they are used.
    pub(super) fn find_experts(&mut self, text: &TextConfig) {
        let Some(moe) = &text.moe else { return };
        for layer in (0..text.num_hidden_layers).filter(|&layer| text.is_moe_layer(layer)) {
            self.find_layer_experts(
                &format!("model.language_model.layers.{layer}.mlp.experts."),
                text.hidden_size,
                moe,
            );
        }
    }

    fn find_layer_experts(&mut self, prefix: &str, hidden: usize, moe: &MoeConfig) {
        let sizes = Sizes { experts: moe.num_experts, hidden, width: moe.moe_intermediate_size };
        let mut found: Vec<Found> = Vec::new();
        for (name, entry) in self.entries.range(prefix.to_owned()..) {
            let Some(rest) = name.strip_prefix(prefix) else { break };
            let Some((projection, expert)) = parse_name(rest) else { continue };
            // What is there beyond the experts that the model has is surplus, and the router's shape tells.
            if expert.is_none_or(|expert| expert < sizes.experts) {
                let order = (projection.sizes(sizes), expert.is_none().then_some(sizes.experts));
                let transposed = find_order(name, &entry.shape, order);
                found.push(Found { name: name.clone(), projection, expert, transposed });
            }
        }
        let told = found.iter().find_map(|tensor| tensor.transposed.as_ref().ok().copied().flatten());
        let common = told.unwrap_or(true);
        if told.is_none() && !found.is_empty() {
            tracing::warn!("the shapes of {prefix}* are the same in both layouts: read as [.., out, in]");
        }
        for (array, kinds) in [
            ("gate_up_proj", &[Projection::GateUp, Projection::Gate, Projection::Up][..]),
            ("down_proj", &[Projection::Down]),
        ] {
            let name = format!("{prefix}{array}");
            let tensors: Vec<&Found> = found.iter().filter(|tensor| kinds.contains(&tensor.projection)).collect();
            if let Some(assembly) = assemble_array(&name, prefix, &tensors, sizes, common) {
                for source in &assembly.sources {
                    if let Some(entry) = self.entries.get_mut(&source.name) {
                        entry.outputs_last = !source.transposed;
                    }
                }
                self.assemblies.insert(name, assembly);
            }
        }
    }
}

/// Whether a tensor of this shape is `[.., out, in]`, which is of all `stacked` experts or of one.
fn find_order(
    name: &str,
    shape: &[usize],
    ([inputs, outputs], stacked): ([usize; 2], Option<usize>),
) -> Result<Option<bool>, MisshapedTensor> {
    let matrix = match (shape, stacked) {
        (&[count, rows, columns], Some(experts)) if count == experts => Some([rows, columns]),
        (&[rows, columns], None) => Some([rows, columns]),
        _ => None,
    };
    match matrix {
        Some(matrix) if matrix == [inputs, outputs] => Ok((inputs != outputs).then_some(false)),
        Some(matrix) if matrix == [outputs, inputs] => Ok(Some(true)),
        _ => {
            // What most tools write: an array as the model has it, or a linear layer.
            let sizes = if stacked.is_some() { [inputs, outputs] } else { [outputs, inputs] };
            let expected = stacked.into_iter().chain(sizes).collect();
            Err(MisshapedTensor { name: name.to_owned(), expected, found: shape.to_vec() })
        }
    }
}

/// How the array `name` is put together out of `tensors`; `None` where it lies in the checkpoint as it is used, and
/// where nothing of it is there.
fn assemble_array(name: &str, prefix: &str, tensors: &[&Found], sizes: Sizes, common: bool) -> Option<Assembly> {
    let first = *tensors.first()?;
    let whole = tensors.iter().find(|tensor| tensor.name == name);
    // A shape that cannot be is reported by the comparison of shapes.
    if whole.is_some_and(|whole| whole.transposed.as_ref().map_or(true, |order| !order.unwrap_or(common))) {
        return None;
    }
    // An array of all experts comes before parts of it, which are surplus then.
    let chosen = whole.map_or(tensors, std::slice::from_ref);
    let [inputs, outputs] = match first.projection {
        Projection::Down => Projection::Down.sizes(sizes),
        _ => Projection::GateUp.sizes(sizes),
    };
    let shape = [sizes.experts, inputs, outputs];
    let mut assembly = Assembly { shape, sources: Vec::new(), missing: Vec::new(), misshaped: Vec::new() };
    // Which halves of each expert's outputs are there.
    let mut there = vec![[false; 2]; sizes.experts];
    for tensor in chosen {
        let halves = tensor.projection.halves();
        let there = &mut there[tensor.expert.map_or(0..sizes.experts, |expert| expert..expert + 1)];
        if there.iter().any(|there| (0..2).any(|half| there[half] && halves[half])) {
            // There already, under another name: this one is surplus.
            continue;
        }
        there.iter_mut().for_each(|there| (0..2).for_each(|half| there[half] |= halves[half]));
        match &tensor.transposed {
            Err(misshaped) => assembly.misshaped.push(misshaped.clone()),
            Ok(transposed) => assembly.sources.push(Source {
                name: tensor.name.clone(),
                expert: tensor.expert,
                columns: (tensor.projection.column(sizes), tensor.projection.sizes(sizes)[1]),
                transposed: transposed.unwrap_or(common),
            }),
        }
    }
    let missing = there.iter().enumerate().flat_map(|(expert, there)| {
        (0..2).filter(|&half| !there[half]).map(move |half| name_missing(prefix, first, expert, half))
    });
    assembly.missing = missing.take(NAMED).collect();
    assembly.missing.dedup();
    Some(assembly)
}

/// The name that a missing half of an expert would have, in the style of `first`.
fn name_missing(prefix: &str, first: &Found, expert: usize, half: usize) -> String {
    let projection = match (first.projection, half) {
        (Projection::Down, _) => "down_proj",
        (Projection::GateUp, _) => "gate_up_proj",
        (_, 0) => "gate_proj",
        _ => "up_proj",
    };
    let rest = first.name.strip_prefix(prefix).unwrap_or(&first.name);
    let weight = if rest.ends_with(".weight") { ".weight" } else { "" };
    match first.expert {
        None => format!("{prefix}{projection}{weight}"),
        Some(_) if rest.starts_with(|first: char| first.is_ascii_digit()) => {
            format!("{prefix}{expert}.{projection}{weight}")
        }
        Some(_) => format!("{prefix}{projection}.{expert}{weight}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_experts() {
        for (rest, expected) in [
            ("gate_up_proj", Some((Projection::GateUp, None))),
            ("gate_up_proj.weight", Some((Projection::GateUp, None))),
            ("7.gate_proj.weight", Some((Projection::Gate, Some(7)))),
            ("up_proj.12", Some((Projection::Up, Some(12)))),
            ("down_proj.3.weight", Some((Projection::Down, Some(3)))),
            ("127.w2.weight", Some((Projection::Down, Some(127)))),
            ("3.gate_proj.weight_scale", None),
            ("gate_up_proj_scale_inv", None),
            ("gate_proj.bias", None),
            ("3.4", None),
            ("-1.down_proj.weight", None),
            ("", None),
        ] {
            assert_eq!(parse_name(rest), expected, "{rest}");
        }
    }

    /// Every order of sizes: equal ones tell nothing.
    #[test]
    fn shapes_tell_the_order() {
        let order = |shape: &[usize], sizes, stacked: bool| find_order("x", shape, (sizes, stacked.then_some(8)));
        assert_eq!(order(&[8, 64, 96], [64, 96], true), Ok(Some(false)));
        assert_eq!(order(&[8, 96, 64], [64, 96], true), Ok(Some(true)));
        assert_eq!(order(&[8, 64, 64], [64, 64], true), Ok(None));
        assert_eq!(order(&[96, 64], [64, 96], false), Ok(Some(true)));
        assert_eq!(order(&[64, 96], [64, 96], false), Ok(Some(false)));
        for (shape, stacked) in
            [(&[7, 64, 96][..], true), (&[8, 64, 97], true), (&[64, 96], true), (&[8, 64, 96], false), (&[], false)]
        {
            assert!(order(shape, [64, 96], stacked).is_err(), "{shape:?}");
        }
    }
}

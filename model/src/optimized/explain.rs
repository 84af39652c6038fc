//! Which kernel each op of a model runs, and how.

use super::explain_ops::{ExplainedOp, explain_ops};
use super::{Block, WeightMut};
use crate::Qwen3Vl;
use burn_kiln::{Engine, Kiln};
use std::collections::BTreeMap;
use std::fmt;

/// The plans of a model's ops. `Display` writes them as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Products with weights, in the order of their use; alike ones of several layers are one.
    pub products: Vec<ExplainedProduct>,
    /// The other ops, and groups that run as one: algorithm, sizes and threads, on CubeCL devices the blueprint of each
    /// launch; or what switches them off, or what the device lacks for them.
    pub ops: Vec<ExplainedOp>,
}

/// A product with a weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedProduct {
    /// Where the weight is; `*` stands for the number of a layer.
    pub path: String,
    /// How many layers have it.
    pub layers: usize,
    /// Outputs and inputs.
    pub shape: [usize; 2],
    /// Rows of the input, and how they are multiplied.
    pub plans: Vec<(usize, String)>,
}

/// How the ops of `model` run for inputs of so many `rows`: 1 is a step of decoding, more is a prompt.
///
/// ```no_run
/// # use burn_flex::Flex;
/// # use burn_kiln::Kiln;
/// # fn show(model: &qwen3_vl_burn::Qwen3Vl<Kiln<Flex>>) {
/// println!("{}", qwen3_vl_burn::optimized::explain(model, &[1, 512]));
/// # }
/// ```
pub fn explain<B: Engine>(model: &Qwen3Vl<Kiln<B>>, rows: &[usize]) -> Explanation {
    let config = model.kernel_config().clone();
    let mut places = BTreeMap::new();
    let mut products: Vec<ExplainedProduct> = Vec::new();
    // Tensors are shared: cloning copies none.
    model.clone().visit_weights(&mut |path, weight| {
        let shape = weight.shape();
        let path = without_numbers(path);
        let weight = match weight {
            WeightMut::Linear(layer) => layer.weight(),
            WeightMut::Embedding(table) => table.weight(),
        };
        let plan = |&rows: &usize| {
            let plan = Kiln::<B>::explain_linear(&weight, rows, &config);
            (rows, plan.unwrap_or_else(|| "the decorated backend's product".into()))
        };
        let plans: Vec<_> = rows.iter().map(plan).collect();
        let place = *places.entry((path.clone(), shape, plans.clone())).or_insert(products.len());
        match products.get_mut(place) {
            Some(product) => product.layers += 1,
            None => products.push(ExplainedProduct { path, layers: 1, shape, plans }),
        }
    });
    Explanation { products, ops: explain_ops(model, rows) }
}

/// The path with `*` for each number.
fn without_numbers(path: &str) -> String {
    let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    path.split('.').map(|part| if is_number(&part) { "*" } else { part }).collect::<Vec<_>>().join(".")
}

fn write_plan(f: &mut fmt::Formatter<'_>, rows: usize, plan: &str) -> fmt::Result {
    writeln!(f, "    {rows} row{}: {plan}", if rows == 1 { "" } else { "s" })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ExplainedProduct { path, layers, shape: [n, k], plans } in &self.products {
            writeln!(f, "{path} [{n}, {k}]{}", if *layers > 1 { format!(" x {layers}") } else { String::new() })?;
            for (rows, plan) in plans {
                write_plan(f, *rows, plan)?;
            }
        }
        for ExplainedOp { name, plans } in &self.ops {
            writeln!(f, "{name}")?;
            for (rows, plan) in plans {
                write_plan(f, *rows, plan)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_layers_are_one() {
        assert_eq!(without_numbers("language_model.layers.12.mlp.up_proj"), "language_model.layers.*.mlp.up_proj");
        assert_eq!(without_numbers("visual.merger.linear_fc1"), "visual.merger.linear_fc1");
    }
}

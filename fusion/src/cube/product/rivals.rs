//! Ways to carry out a product that are good enough to be measured against each other.

use super::{Call, Plan, Problem, Strategy, explain, gemv::MAX_ROWS, tiled::Tile};
use crate::cube::CubeError;
use burn_cubecl::CubeRuntime;
use burn_std::DType;
use serde::{Deserialize, Serialize};

/// Up to so many rows each count is a class of its own; beyond, all that round up to the same power of two are one.
const EXACT_ROWS: usize = 16;

/// Products that should be carried out alike on one device.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProductClass {
    /// Rows of `x`, rounded up to their class.
    pub rows: usize,
    /// Elements of a row.
    pub k: usize,
    /// Outputs of each layer.
    pub n: Vec<usize>,
    /// How `x` is stored.
    pub x: DType,
    /// How weights are stored.
    pub weight: DType,
    /// What the heuristic chooses, and so what is around the product and how the operands lie.
    pub usual: Plan,
}

impl ProductClass {
    /// The class of a call.
    ///
    /// # Errors
    /// As [`multiply`](super::multiply).
    pub fn of<R: CubeRuntime>(call: &Call<'_, R>) -> Result<Self, CubeError> {
        let Problem { rows, k, n, x, weight, .. } = Problem::new(call)?;
        let usual = explain(&with_strategy(call, Strategy::Auto))?;
        let rows = if rows <= EXACT_ROWS { rows } else { rows.checked_next_power_of_two().unwrap_or(rows) };
        Ok(Self { rows, k, n, x, weight, usual })
    }
}

/// [`Strategy::Auto`] first, then what may be faster than it on some device: other numbers of outputs for few rows,
/// other tiles. Each is carried out differently, and each is one that this device takes. None where there is nothing to
/// choose.
///
/// # Errors
/// As [`multiply`](super::multiply).
pub fn list_rivals<R: CubeRuntime>(call: &Call<'_, R>) -> Result<Vec<Strategy>, CubeError> {
    let rows = Problem::new(call)?.rows;
    let mut plans = vec![explain(&with_strategy(call, Strategy::Auto))?];
    let mut rivals = vec![Strategy::Auto];
    let outputs = [1, 2, 4].map(Strategy::GemvOutputs);
    // Tiles of many rows are mostly padding for few.
    let tiles = Tile::ALL.into_iter().filter(|tile| tile.rows < 2 * rows || *tile == Tile::SMALL);
    let few = rows <= MAX_ROWS;
    for strategy in outputs.into_iter().filter(|_| few).chain(tiles.map(Strategy::Tiled)) {
        match explain(&with_strategy(call, strategy)) {
            Ok(plan) if !plans.contains(&plan) => {
                plans.push(plan);
                rivals.push(strategy);
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(rivals)
}

/// The same product, carried out otherwise.
fn with_strategy<'a, R: CubeRuntime>(call: &Call<'a, R>, strategy: Strategy) -> Call<'a, R> {
    Call { strategy, layers: call.layers.clone(), ..*call }
}

//! From what is asked, and where, to what is baked into the kernel.

use crate::{
    Activation,
    cube::{
        Reduction, Unavailable,
        limits::Limits,
        product::{MULTIPROCESSORS, Problem},
    },
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// Rows of `x` that one launch takes: more of them cost more registers than the weight's bytes are worth.
pub const MAX_ROWS: usize = 8;

/// Rows that one launch takes with an addend or for several layers: eight rows take up to 80 registers then (ptxas
/// 12.8).
pub const MAX_ROWS_TOGETHER: usize = 4;

/// Units in a cube, at most: eight warps. An SM of SM61 holds eight such cubes, 2,048 units.
const MAX_UNITS: u32 = 256;

/// Sums that a unit keeps in registers, at most. With a vector of each weight row and the addresses that makes 40 to 60
/// registers; 64 would let an SM of SM61 (65,536 registers) hold 1,024 units, half of what it can.
const MAX_SUMS: usize = 8;

/// Outputs of a group at most: four vectors of a weight in flight for each unit.
const MAX_OUTPUTS: usize = 4;

/// The same where a unit picks the weight among those of several layers: with four, ptxas 12.8 takes 68 registers for
/// f32.
const MAX_OUTPUTS_OF_SEVERAL: usize = 2;

/// Cubes on a multiprocessor of SM61: all of its 2,048 units.
const CUBES_A_MULTIPROCESSOR: usize = 8;

/// Units on an output where planes are not used: those of a warp.
const TREE_LANES: usize = 32;

/// Elements of `x` in shared memory at once for one or two rows: 8 KiB in f32, so that eight cubes fit the 96 KiB of an
/// SM.
const STAGED: usize = 2048;

/// The same for up to eight rows: 16 KiB, five cubes an SM. Half of it would give each plane only two steps between
/// barriers; it has to do where partial sums need the room.
const STAGED_ROWS: usize = 4096;

/// What a caller decides; the rest follows from the problem and the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::cube) struct Wish {
    /// How a group adds up.
    pub reduction: Option<Reduction>,
    /// Outputs of a group.
    pub outputs: Option<usize>,
}

/// All that the kernel is specialised on, next to its storage types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blueprint {
    /// Rows of `x` summed side by side: a power of two.
    pub rows: usize,
    /// Outputs of a group of lanes, for each row of `x`.
    pub outputs: usize,
    /// Weights of an output: 2 for gate and up.
    pub weights: usize,
    /// Layers that share the launch.
    pub layers: usize,
    /// Units in a cube.
    pub units: u32,
    /// Units in a group that works on the same outputs.
    pub lanes: usize,
    /// How a group adds up.
    pub reduction: Reduction,
    /// Elements in a load of `x` or a weight.
    pub vector: usize,
    /// Vectors of each row of `x` in shared memory at once.
    pub chunk: usize,
    /// Whether rows are normalised.
    pub norm: bool,
    /// After the bias.
    pub activation: Option<Activation>,
}

impl Blueprint {
    /// Outputs a group are halved from the most that registers allow until the grid fills the device: eight cubes on
    /// each of its multiprocessors. Fewer outputs read `x` more often, from shared memory; a device that is not full
    /// reads the weight slower.
    pub(in crate::cube) fn new(
        problem: &Problem,
        wish: Wish,
        vector: usize,
        limits: &Limits,
    ) -> Result<Self, Unavailable> {
        let reduction = match wish.reduction {
            Some(reduction) => {
                reduction.check(limits)?;
                reduction
            }
            None => Reduction::select(limits),
        };
        let lanes = match reduction {
            Reduction::Planes { size } => size as usize,
            Reduction::SharedMemory => TREE_LANES,
        };
        let rows = problem.rows.clamp(1, MAX_ROWS).next_power_of_two();
        let weights = problem.weights_per_output();
        let most_outputs = if problem.n.len() > 1 { MAX_OUTPUTS_OF_SEVERAL } else { MAX_OUTPUTS };
        let most_outputs = (MAX_SUMS / (rows * weights)).clamp(1, most_outputs);
        if wish.outputs.is_some_and(|outputs| !outputs.is_power_of_two() || outputs > most_outputs) {
            return Err(Unavailable::Operands(
                "a power of two of outputs a group, 4 at most and fewer for several rows",
            ));
        }
        let tree = reduction == Reduction::SharedMemory;
        let staged = if rows <= 2 || tree { STAGED } else { STAGED_ROWS };
        let mut blueprint = Self {
            rows,
            outputs: wish.outputs.unwrap_or(most_outputs),
            weights,
            layers: problem.n.len(),
            units: MAX_UNITS.min(1 << limits.units.max(1).ilog2()),
            lanes,
            reduction,
            vector,
            chunk: (staged / rows / vector).max(1),
            norm: problem.norm,
            activation: problem.activation,
        };
        let wanted = CUBES_A_MULTIPROCESSOR * limits.multiprocessors.unwrap_or(MULTIPROCESSORS) as usize;
        while wish.outputs.is_none() && blueprint.outputs > 1 && blueprint.cubes(&problem.n) < wanted {
            blueprint.outputs /= 2;
        }
        // A group brings parts of one row only.
        let least = lanes * rows;
        while blueprint.shared_bytes() > limits.shared_bytes && blueprint.units as usize > least {
            blueprint.units /= 2;
        }
        if (blueprint.units as usize) < least {
            return Err(Unavailable::Units { found: least as u32, limit: limits.units });
        }
        if blueprint.shared_bytes() > limits.shared_bytes {
            return Err(Unavailable::SharedMemory { found: blueprint.shared_bytes(), limit: limits.shared_bytes });
        }
        Ok(blueprint)
    }

    /// Groups of lanes in a cube.
    pub fn groups(&self) -> usize {
        self.units as usize / self.lanes
    }

    /// Outputs of a cube, for each row of `x`.
    pub fn outputs_per_cube(&self) -> usize {
        self.groups() * self.outputs
    }

    /// Cubes for layers of `n` outputs.
    pub fn cubes(&self, n: &[usize]) -> usize {
        n.iter().map(|n| n.div_ceil(self.outputs_per_cube())).sum()
    }

    /// Products that a unit sums.
    pub fn products(&self) -> usize {
        self.weights * self.outputs * self.rows
    }

    /// All that a unit sums: with a norm also the squares of what it brings of a row.
    pub fn sums(&self) -> usize {
        self.products() + usize::from(self.norm)
    }

    /// Partial sums in shared memory.
    pub fn partials(&self) -> usize {
        match self.reduction {
            Reduction::Planes { .. } => 0,
            Reduction::SharedMemory => self.units as usize * self.sums(),
        }
    }

    /// Bytes of shared memory: the staged part of `x`, the sums of each group, and partial sums.
    pub fn shared_bytes(&self) -> usize {
        let floats = self.rows * self.chunk * self.vector + self.groups() * self.sums() + self.partials();
        floats * size_of::<f32>()
    }
}

impl fmt::Display for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, outputs, units, lanes, vector, .. } = self;
        let groups = self.groups();
        write!(f, "gemv of {rows} rows, {groups} groups of {lanes} units a cube of {units}, ")?;
        write!(f, "{outputs} outputs a group, vectors of {vector}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cube::product::problem::tests::make_problem;

    #[test]
    fn cubes_fit_eight_on_a_multiprocessor() {
        for (rows, gated) in [(1, false), (1, true), (2, false), (4, true), (8, false), (8, true)] {
            let problem = make_problem(rows, 2048, &[6144], gated);
            let blueprint = Blueprint::new(&problem, Wish::default(), 4, &Limits::sm61()).unwrap();
            assert_eq!(blueprint.units, 256);
            let most = if rows <= 2 { 12 * 1024 } else { 24 * 1024 };
            assert!(blueprint.shared_bytes() <= most, "{blueprint:?}");
            assert!(blueprint.products() <= 16, "{blueprint:?}");
        }
    }

    #[test]
    fn few_outputs_are_spread_over_the_device() {
        let outputs = |n: &[usize], multiprocessors| {
            let limits = Limits { multiprocessors: Some(multiprocessors), ..Limits::sm61() };
            Blueprint::new(&make_problem(1, 2048, n, false), Wish::default(), 4, &limits).unwrap().outputs
        };
        assert_eq!(outputs(&[151_936], 10), 4);
        assert_eq!(outputs(&[2048], 3), 4);
        assert_eq!(outputs(&[2048], 10), 2);
        assert_eq!(outputs(&[64], 10), 1);
        assert_eq!(outputs(&[2048, 1024, 1024], 10), 2);
    }

    #[test]
    fn outputs_can_be_asked_for_as_far_as_registers_go() {
        let outputs = |rows, outputs| {
            let wish = Wish { outputs: Some(outputs), ..Wish::default() };
            Blueprint::new(&make_problem(rows, 64, &[64], false), wish, 4, &Limits::sm61())
        };
        assert_eq!(outputs(1, 4).unwrap().outputs, 4);
        assert_eq!(outputs(4, 2).unwrap().outputs, 2);
        for (rows, wanted) in [(4, 4), (1, 8), (1, 3), (1, 0)] {
            assert!(matches!(outputs(rows, wanted), Err(Unavailable::Operands(_))), "{wanted} outputs of {rows} rows");
        }
    }

    #[test]
    fn small_devices_get_smaller_cubes_or_say_what_is_missing() {
        let problem = make_problem(8, 2048, &[64], true);
        let lavapipe = Limits { fixed_plane: None, plane_sizes: (8, 8), shared_bytes: 32 * 1024, ..Limits::sm61() };
        let blueprint = Blueprint::new(&problem, Wish::default(), 4, &lavapipe).unwrap();
        assert!(blueprint.shared_bytes() <= 32 * 1024 && blueprint.lanes == 32, "{blueprint:?}");
        let none = Limits { shared_bytes: 1024, ..Limits::sm61() };
        let error = Blueprint::new(&problem, Wish::default(), 4, &none).unwrap_err();
        assert!(matches!(error, Unavailable::SharedMemory { limit: 1024, .. }), "{error}");
        let few = Limits { units: 16, ..Limits::sm61() };
        let error = Blueprint::new(&problem, Wish::default(), 4, &few).unwrap_err();
        assert_eq!(error, Unavailable::Units { found: 256, limit: 16 });
    }
}

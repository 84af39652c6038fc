//! Operands of the checks: numbers from a seed, in every layout that a tensor can have.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, DType, TensorData};
use burn_std::{Shape, Slice};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How the elements lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Row-major.
    Contiguous,
    /// Row-major in another order of the dimensions.
    Permuted,
    /// The middle of a larger tensor: an offset, and gaps between rows.
    Sliced,
    /// Every second element of a larger tensor.
    Stepped,
    /// Read backwards in some dimensions: negative strides.
    Flipped,
    /// Repeated in some dimensions: strides of 0.
    Expanded,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Self; 6] =
        [Self::Contiguous, Self::Permuted, Self::Sliced, Self::Stepped, Self::Flipped, Self::Expanded];
}

/// Which numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Between -3 and 3.
    Plain,
    /// Some of them -∞: a bias that hides.
    Hiding,
    /// Some of them infinite or NaN, and zeros of both signs.
    NonFinite,
    /// All that, and subnormal, tiny and huge ones.
    Extreme,
}

/// An operand before a backend holds it.
#[derive(Debug, Clone)]
pub struct Operand {
    /// Sizes.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: DType,
    /// Order in memory.
    pub layout: Layout,
    /// Kind of numbers.
    pub values: Values,
    /// Of the numbers, and of the choices that a layout leaves.
    pub seed: u64,
}

const NON_FINITE: [f64; 5] = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.0, -0.0];

/// Beyond f16 (6.6e4, 6e-8) and beyond f32 (3.4e38, 1.4e-45); around where f32's exponential ends (±88, -104).
const EXTREME: [f64; 16] =
    [6.5e4, -6.5e4, 6e-8, 1e-6, 3e38, -3e38, 1e-40, -1e-40, 1e300, -1e-310, 88.5, -88.5, 104.5, -104.5, -12.0, 1e-20];

impl Operand {
    /// A row-major operand of plain f32 numbers.
    pub fn plain(shape: &[usize], seed: u64) -> Self {
        Self { shape: shape.into(), dtype: DType::F32, layout: Layout::Contiguous, values: Values::Plain, seed }
    }

    /// The operand as a tensor of `B`.
    pub fn build<B: Backend>(&self) -> FloatTensor<B> {
        let rank = self.shape.len();
        let chosen = |dim: usize| self.seed >> (dim + 7) & 1 == 1;
        match self.layout {
            Layout::Contiguous => self.upload::<B>(&self.shape),
            Layout::Permuted => {
                let axes: Vec<usize> = (0..rank).map(|dim| (dim + 1 + self.seed as usize % 4) % rank).collect();
                let mut stored = vec![0; rank];
                axes.iter().zip(&self.shape).for_each(|(&axis, &size)| stored[axis] = size);
                B::float_permute(self.upload::<B>(&stored), &axes)
            }
            Layout::Sliced => {
                let stored: Vec<usize> = self.shape.iter().map(|size| size + 3).collect();
                B::float_slice(self.upload::<B>(&stored), &self.slices(1))
            }
            Layout::Stepped => {
                let stored: Vec<usize> = self.shape.iter().map(|size| 2 * size + 1).collect();
                B::float_slice(self.upload::<B>(&stored), &self.slices(2))
            }
            Layout::Flipped => {
                let axes: Vec<usize> = (0..rank).filter(|&dim| chosen(dim)).collect();
                B::float_flip(self.upload::<B>(&self.shape), &axes)
            }
            Layout::Expanded => {
                let stored: Vec<usize> =
                    self.shape.iter().enumerate().map(|(dim, &size)| if chosen(dim) { 1 } else { size }).collect();
                B::float_expand(self.upload::<B>(&stored), Shape::from(self.shape.clone()))
            }
        }
    }

    /// All of the shape from index 1 on, in steps.
    fn slices(&self, step: usize) -> Vec<Slice> {
        let slice = |&size: &usize| Slice::new(1, Some((1 + step * size) as isize), step as isize);
        self.shape.iter().map(slice).collect()
    }

    fn upload<B: Backend>(&self, stored: &[usize]) -> FloatTensor<B> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut draw = || match (self.values, rng.random_range(0..10)) {
            (Values::Hiding, 0..2) => f64::NEG_INFINITY,
            (Values::NonFinite, 0) | (Values::Extreme, 0..2) => NON_FINITE[rng.random_range(0..NON_FINITE.len())],
            (Values::Extreme, 2..6) => EXTREME[rng.random_range(0..EXTREME.len())],
            _ => rng.random_range(-3.0..3.0),
        };
        let values: Vec<f64> = (0..stored.iter().product()).map(|_| draw()).collect();
        let data = TensorData::new(values, stored.to_vec()).convert_dtype(self.dtype);
        B::float_from_data(data, &Default::default())
    }
}

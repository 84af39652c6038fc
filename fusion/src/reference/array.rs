//! A dense array of `f64`.

/// Values in row-major order with their shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// One value an element, the last dimension fastest.
    pub data: Vec<f64>,
}

impl Array {
    /// `data` in the shape `shape`.
    ///
    /// # Panics
    /// When the number of values is not the product of the sizes.
    pub fn new(shape: &[usize], data: Vec<f64>) -> Self {
        let expected: usize = shape.iter().product();
        assert_eq!(data.len(), expected, "{} values cannot have the shape {shape:?}", data.len());
        Self { shape: shape.to_vec(), data }
    }

    /// Zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self::new(shape, vec![0.0; shape.iter().product()])
    }

    /// Size of the last dimension.
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// How many rows of the last dimension there are.
    pub fn rows(&self) -> usize {
        self.shape[..self.shape.len().saturating_sub(1)].iter().product()
    }

    /// Row `index`, of `width` values.
    pub fn row(&self, index: usize) -> &[f64] {
        let width = self.width();
        &self.data[index * width..(index + 1) * width]
    }

    /// Row `index`, to be written.
    pub fn row_mut(&mut self, index: usize) -> &mut [f64] {
        let width = self.width();
        &mut self.data[index * width..(index + 1) * width]
    }

    /// Every value through `f`.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self::new(&self.shape, self.data.iter().map(|&value| f(value)).collect())
    }

    /// Values of two arrays of one shape, pair by pair, through `f`.
    ///
    /// # Panics
    /// When the shapes differ.
    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        assert_eq!(self.shape, other.shape, "arrays of different shapes cannot be paired");
        let pairs = self.data.iter().zip(&other.data);
        Self::new(&self.shape, pairs.map(|(&a, &b)| f(a, b)).collect())
    }

    /// The same values in another shape.
    ///
    /// # Panics
    /// When the number of values changes.
    pub fn reshape(&self, shape: &[usize]) -> Self {
        Self::new(shape, self.data.clone())
    }

    /// `[a, b, c, d]` as `[a, c, b, d]`: heads and positions exchanged.
    ///
    /// # Panics
    /// When there are not four dimensions.
    pub fn swap_middle(&self) -> Self {
        let [a, b, c, d] = self.shape[..] else {
            panic!("{:?} has not four dimensions", self.shape);
        };
        let mut swapped = Self::zeros(&[a, c, b, d]);
        for i in 0..a {
            for j in 0..b {
                for k in 0..c {
                    swapped.row_mut((i * c + k) * b + j).copy_from_slice(self.row((i * b + j) * c + k));
                }
            }
        }
        swapped
    }

    /// All values of all arrays, one behind the other.
    pub fn concatenate(arrays: &[Self]) -> Self {
        let data: Vec<f64> = arrays.iter().flat_map(|array| array.data.iter().copied()).collect();
        Self::new(&[data.len()], data)
    }
}

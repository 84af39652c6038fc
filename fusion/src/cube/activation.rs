//! Activations of each element, and the gate of an MLP: `activation(x)`, `activation(gate) · up`.
//!
//! A grid-stride loop over vectors: as many cubes as the device runs at once, each unit every so many vectors, so that
//! neighbouring units read neighbouring vectors and no cube is started for a handful of elements.

use super::CubeError;
use super::limits::Limits;
use super::operands::{Operands, allocate_like, is_output};
use super::store::round_store;
use crate::Activation;
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use core::fmt;
use cubecl::prelude::*;

/// Units in a cube: eight cubes fill an SM of SM61, which holds 2,048 units.
const UNITS: u32 = 256;

/// Cubes a multiprocessor runs at once.
const CUBES_A_MULTIPROCESSOR: usize = 8;

/// Multiprocessors where the driver does not tell: cubes to spare cost less than idle multiprocessors.
const MULTIPROCESSORS: u32 = 64;

/// `activation(x)`, or `activation(x) · up`, in f32 whatever the storage. Strided operands are made contiguous first.
/// The result is enqueued, not awaited.
///
/// Errors beside f32 rounding: the erf of Vulkan devices is the polynomial 7.1.26 of Abramowitz and Stegun, 1.5e-7 off
/// at most, which puts `gelu_erf` at most `7.5e-8 · |x|` off; CUDA's is exact to 2 ulp.
///
/// # Shapes
/// `x` and `up` `[..]`, stored alike; the result like `x`, contiguous. Nothing is launched where there are no elements.
///
/// # Errors
/// As [`launch`].
pub fn activate<R: CubeRuntime>(
    x: &CubeTensor<R>,
    up: Option<&CubeTensor<R>>,
    activation: Activation,
) -> Result<CubeTensor<R>, CubeError> {
    let y = allocate_like(x, x.shape(), x.dtype);
    launch(x, up, &y, activation)?;
    Ok(y)
}

/// [`activate`] into a tensor that exists.
///
/// # Errors
/// [`CubeError::InvalidShapes`] when shapes or dtypes differ or `y` has gaps, [`CubeError::InvalidDtype`] when they are
/// not floats, [`CubeError::MixedDevices`], [`CubeError::Unavailable`]. Nothing has been launched then.
pub fn launch<R: CubeRuntime>(
    x: &CubeTensor<R>,
    up: Option<&CubeTensor<R>>,
    y: &CubeTensor<R>,
    activation: Activation,
) -> Result<(), CubeError> {
    let operands = Operands::new("activation", [Some(x), up]);
    operands.check_floats()?;
    let shape = x.shape();
    if up.is_some_and(|up| up.shape() != shape || up.dtype != x.dtype) {
        return Err(operands.invalid("both operands must have one shape and dtype"));
    }
    if !is_output(y, &shape, x.dtype) {
        return Err(operands.invalid_output("y must be contiguous with the shape and dtype of x", y));
    }
    let address = operands.check_device(&[Some(y)])?;
    let count = shape.num_elements();
    if count == 0 {
        return Ok(());
    }

    let Blueprint { units, vector, cubes } = plan(x);
    activate_vectors::launch::<R>(
        &x.client,
        CubeCount::new_1d(cubes as u32),
        CubeDim::new_1d(units),
        address,
        vector,
        into_contiguous(x.clone()).into_array_arg(),
        up.map(|up| into_contiguous(up.clone()).into_array_arg()).into(),
        y.clone().into_array_arg(),
        count / vector,
        cubes * units as usize,
        activation,
        x.dtype.into(),
    );
    Ok(())
}

/// How the kernel is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blueprint {
    /// Units in a cube.
    pub units: u32,
    /// Elements in a load or store.
    pub vector: usize,
    /// Cubes that share the elements.
    pub cubes: usize,
}

impl fmt::Display for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { units, vector, cubes } = self;
        write!(f, "{cubes} cubes of {units} units, vectors of {vector}")
    }
}

/// How [`activate`] would run.
///
/// # Errors
/// As [`launch`].
pub fn explain<R: CubeRuntime>(x: &CubeTensor<R>) -> Result<Blueprint, CubeError> {
    let operands = Operands::new("activation", [Some(x)]);
    operands.check_floats()?;
    operands.check_device(&[])?;
    Ok(plan(x))
}

/// As many cubes as there is work for, and as the device runs at once.
fn plan<R: CubeRuntime>(x: &CubeTensor<R>) -> Blueprint {
    let limits = Limits::read(&x.client);
    let count = x.shape().num_elements();
    let vector = x.client.io_optimized_vector_sizes(x.dtype.size()).filter(|width| count.is_multiple_of(*width)).max();
    let vector = vector.unwrap_or(1);
    let units = UNITS.min(1 << limits.units.max(1).ilog2());
    let resident = limits.multiprocessors.unwrap_or(MULTIPROCESSORS) as usize * CUBES_A_MULTIPROCESSOR;
    let cubes = (count / vector).div_ceil(units as usize).min(resident).min(limits.cubes.0 as usize);
    Blueprint { units, vector, cubes }
}

/// All vectors `unit`, `unit + stride`, .., where `stride` units are launched.
#[cube(launch, address_type = "dynamic")]
fn activate_vectors<X: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    up: &ComptimeOption<Array<Vector<X, N>>>,
    y: &mut Array<Vector<X, N>>,
    vectors: usize,
    stride: usize,
    #[comptime] activation: Activation,
    #[define(X)] _x_dtype: StorageType,
) {
    for i in range_stepped(ABSOLUTE_POS, vectors, stride) {
        let mut out = apply_activation::<N>(Vector::cast_from(x[i]), activation);
        #[comptime]
        if let ComptimeOption::Some(up) = up {
            out *= Vector::cast_from(up[i]);
        }
        y[i] = round_store::<X, N>(out);
    }
}

/// `activation(x)` of each element. The tanh form of GELU is computed as `x / (1 + e^{-2z})`, which it is equal to, and
/// which no device's tanh can spoil.
#[cube]
pub(super) fn apply_activation<N: Size>(x: Vector<f32, N>, #[comptime] activation: Activation) -> Vector<f32, N> {
    let one = Vector::<f32, N>::new(1.0f32);
    match activation {
        Activation::GeluTanh => {
            // -2 √(2/π)
            let z = Vector::new(-1.595_769_f32) * (x + Vector::new(0.044_715_f32) * x * x * x);
            x / (one + Vector::exp(z))
        }
        Activation::GeluErf => {
            let half = Vector::<f32, N>::new(0.5f32);
            half * x * (one + Vector::erf(x * Vector::new(core::f32::consts::FRAC_1_SQRT_2)))
        }
        // Not `-x`: CubeCL's CUDA C++ negates no vectors.
        Activation::Silu => x / (one + Vector::exp(Vector::new(-1.0f32) * x)),
    }
}

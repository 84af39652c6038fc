//! Why a kernel was not launched.

use burn_std::DType;
use thiserror::Error;

/// A kernel that was not launched. Nothing has run and no buffer has changed.
///
/// [`CubeError::Unavailable`] asks for another answer than the rest: the call is valid and a slower equivalent will do,
/// while an invalid call has none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CubeError {
    /// The operands don't fit each other: no device could run this.
    #[error("{kernel}: {expected}, but shapes are {shapes:?}")]
    InvalidShapes {
        /// The kernel.
        kernel: &'static str,
        /// What must hold.
        expected: &'static str,
        /// Shapes of the operands, in the order of the kernel's arguments.
        shapes: Vec<Vec<usize>>,
    },
    /// An operand holds something else than floats (or ids something else than i32, i64 or u32): no device could run
    /// this.
    #[error("{kernel} over shapes {shapes:?}: operands must be f32, f16 or bf16, one is {found:?}")]
    InvalidDtype {
        /// The kernel.
        kernel: &'static str,
        /// The dtype that does not fit.
        found: DType,
        /// Shapes of the operands, in the order of the kernel's arguments.
        shapes: Vec<Vec<usize>>,
    },
    /// The operands live on different devices.
    #[error("{kernel} over shapes {shapes:?}: operands are on different devices")]
    MixedDevices {
        /// The kernel.
        kernel: &'static str,
        /// Shapes of the operands, in the order of the kernel's arguments.
        shapes: Vec<Vec<usize>>,
    },
    /// The call is valid; this device cannot run it.
    #[error("{kernel} over shapes {shapes:?} is unavailable on this device: {reason}")]
    Unavailable {
        /// The kernel.
        kernel: &'static str,
        /// What the device lacks.
        reason: Unavailable,
        /// Shapes of the operands, in the order of the kernel's arguments.
        shapes: Vec<Vec<usize>>,
    },
}

/// What a device lacks for a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unavailable {
    /// Buffers of this type cannot be read or written.
    #[error("{0:?} cannot be stored in a buffer and converted")]
    Storage(DType),
    /// Planes (warps, subgroups) of that size don't exist here.
    #[error("planes of {expected} units were asked for, the device has {min} to {max}")]
    PlaneSize {
        /// Units in a plane.
        expected: u32,
        /// The device's smallest plane.
        min: u32,
        /// The device's largest plane.
        max: u32,
    },
    /// Too many units in a cube (threads in a block).
    #[error("{found} units a cube, the device has {limit}")]
    Units {
        /// Units asked for.
        found: u32,
        /// The device's limit.
        limit: u32,
    },
    /// Too much shared memory.
    #[error("{found} bytes of shared memory, the device has {limit}")]
    SharedMemory {
        /// Bytes asked for.
        found: usize,
        /// The device's limit, in bytes.
        limit: usize,
    },
    /// Too many cubes (blocks of a grid).
    #[error("{found} cubes, the device launches {limit}")]
    Cubes {
        /// Cubes asked for.
        found: usize,
        /// The device's limit over its three dimensions.
        limit: u128,
    },
    /// Heads too long for the kernel's registers.
    #[error("heads of {found} elements, the kernel takes {limit}")]
    HeadDim {
        /// Elements of the longest head.
        found: usize,
        /// What the kernel takes.
        limit: usize,
    },
    /// A kernel that was asked for by name does not take operands of these sizes or layouts.
    #[error("the kernel takes {0}")]
    Operands(&'static str),
    /// Buffers too long for the device's widest index.
    #[error("buffers of this length need 64-bit indices")]
    AddressWidth,
}

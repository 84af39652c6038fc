//! `Kiln<B>`: a Burn backend decorator with tiled, cache-blocked, SIMD CPU kernels.

pub mod kernels;
pub mod simd;

//! The fused ops of `Kiln` over the runtime that runs CUDA text on the CPU, against the `f64` reference: what a Pascal card would
//! compute, its own kernels and Burn's around them.

use burn_cubecl::CubeBackend;
use burn_kiln::Kiln;
use burn_kiln_fusion::{
    conformance::Suite,
    cube::cuda_text::{OfflineCuda, Sm61, check_host},
};
use std::io::Write;

type Tested = Kiln<CubeBackend<OfflineCuda, f32, i32, u8>>;

/// Checks one op; skipped without g++, or a failure where `KILN_REQUIRE_GPU=1`.
macro_rules! check_op {
    ($(#[$attribute:meta])* $op:ident) => {
        $(#[$attribute])*
        fn $op() {
            if let Err(missing) = check_host() {
                assert_ne!(std::env::var("KILN_REQUIRE_GPU").as_deref(), Ok("1"), "{missing}");
                // Not `eprintln`, which the test harness would swallow.
                return std::io::stderr().write_all(format!("skipped: {missing}\n").as_bytes()).unwrap();
            }
            let suite = Suite { gradients: false, ..Suite::<Tested>::new(Sm61::Runs(0)) };
            burn_kiln_fusion::conformance::$op::check(&suite);
        }
    };
}

macro_rules! check_ops {
    (now: $($op:ident)*) => {
        $(check_op! { #[test] $op })*
    };
    // With what Burn computes around them these launch thousands of kernels.
    (when asked: $($op:ident)*) => {
        $(check_op! { #[test] #[ignore = "takes minutes"] $op })*
    };
}

check_ops!(now: norm activation mlp embedding);
check_ops!(when asked: linear moe rope attention attention_rotary cache);

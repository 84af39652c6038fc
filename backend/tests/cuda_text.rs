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

macro_rules! check_ops {
    ($($op:ident)*) => {
        $(#[test]
        fn $op() {
            if let Err(missing) = check_host() {
                assert_ne!(std::env::var("KILN_REQUIRE_GPU").as_deref(), Ok("1"), "{missing}");
                // Not `eprintln`, which the test harness would swallow.
                return std::io::stderr().write_all(format!("skipped: {missing}\n").as_bytes()).unwrap();
            }
            let suite = Suite { gradients: false, ..Suite::<Tested>::new(Sm61::Runs(0)) };
            burn_kiln_fusion::conformance::$op::check(&suite);
        })*
    };
}

check_ops!(linear norm activation mlp moe rope embedding attention attention_rotary cache);

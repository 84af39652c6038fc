//! The fused ops of `Kiln` over the runtime that runs CUDA text on the CPU, against the `f64` reference: what a Pascal
//! card would compute, its own kernels and Burn's around them.

use burn_cubecl::CubeBackend;
use burn_kiln::Kiln;
use burn_kiln_fusion::{
    conformance::Suite,
    cube::cuda_text::{OfflineCuda, Sm61, check_host},
};
use std::{
    io::Write,
    sync::atomic::{AtomicU16, Ordering},
};

type Tested = Kiln<CubeBackend<OfflineCuda, f32, i32, u8>>;

/// Tests side by side share two devices, each with a thread that compiles and runs.
fn choose_device() -> Sm61 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    Sm61::Runs(NEXT.fetch_add(1, Ordering::Relaxed) % 2)
}

/// Checks one op; skipped without g++, or a failure where `KILN_REQUIRE_GPU=1`.
fn check(op: impl FnOnce(&Suite<Tested>)) {
    if let Err(missing) = check_host() {
        assert_ne!(std::env::var("KILN_REQUIRE_GPU").as_deref(), Ok("1"), "{missing}");
        // Not `eprintln`, which the test harness would swallow.
        return std::io::stderr().write_all(format!("skipped: {missing}\n").as_bytes()).unwrap();
    }
    op(&Suite { gradients: false, ..Suite::new(choose_device()) });
}

macro_rules! check_ops {
    ($($op:ident)*) => {
        $(#[test] fn $op() { check(burn_kiln_fusion::conformance::$op::check); })*
    };
}

// A thousand launches, most of them Burn's own kernels around those of the ops.
check_ops!(norm activation mlp embedding linear moe rope attention attention_rotary cache);

//! The record of what the kernels take of an SM61 multiprocessor.

use super::case::{Case, Kind};
use burn_kiln_fusion::cube::cuda_text::{Bound, Resources};
use std::{fmt::Write, path::PathBuf};

/// Where the table is kept.
fn find_record() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/record/sm61_kernels.md"))
}

const HEAD: &str = "# Kernels on SM61

Every kernel in every blueprint that is chosen by itself, as NVRTC 12.8 and ptxas compile it for `sm_61`: registers a unit,
spilled bytes, shared memory a cube (bytes), units that a multiprocessor holds at once (of 2,048), and what keeps it from holding
more. Streaming kernels must reach 50%. Written and checked by the test `cube_sm61`; after a change of a kernel:

    bash .ci/gpu.sh
    KILN_WRITE_RECORD=1 cargo test --profile gpu -p burn-kiln-fusion -p burn-kiln \\
        --features burn-kiln-fusion/gpu-tests,burn-kiln/wgpu --test cube_sm61

| kernel | units a cube | registers | spills | shared memory | units at once | occupancy | bound by |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |
";

fn render_row(case: &Case, used: &Resources) -> String {
    let bound = match used.bound {
        Bound::Units => "units",
        Bound::Registers => "registers",
        Bound::SharedMemory => "shared memory",
        Bound::Blocks => "cubes",
    };
    let Resources { registers, spill_bytes, shared_bytes, resident_units, .. } = used;
    let (units, percent) = (case.launch.units, (100.0 * used.occupancy()).round());
    let name = &case.name;
    format!(
        "| {name} | {units} | {registers} | {spill_bytes} | {shared_bytes} | {resident_units} | {percent}% | {bound} |\n"
    )
}

/// Compares the table with the record, or writes it with `KILN_WRITE_RECORD=1`.
pub fn check(rows: &[(&Case, Resources)]) {
    let mut lines: Vec<String> = rows.iter().map(|(case, used)| render_row(case, used)).collect();
    lines.sort();
    let table = format!("{HEAD}{}", lines.concat());
    let path = find_record();
    if std::env::var("KILN_WRITE_RECORD").as_deref() == Ok("1") {
        std::fs::write(&path, table).unwrap();
        return;
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    let mut difference = String::new();
    for line in recorded.lines().filter(|line| !table.contains(*line)) {
        writeln!(difference, "- {line}").unwrap();
    }
    for line in table.lines().filter(|line| !recorded.contains(*line)) {
        writeln!(difference, "+ {line}").unwrap();
    }
    assert!(recorded == table, "{} is out of date; KILN_WRITE_RECORD=1 writes it:\n{difference}", path.display());
}

/// What is demanded of every kernel, and of its kind.
pub fn check_demands(case: &Case, used: &Resources) {
    let name = &case.name;
    assert_eq!(used.spill_bytes, 0, "{name} spills");
    assert_eq!(used.stack_bytes, 0, "{name} keeps an array in memory");
    assert_eq!(used.half_arithmetic, 0, "{name}: f16 and bf16 are storage, not arithmetic");
    if case.launch.kernel.starts_with("multiply_words") {
        assert!(used.byte_products > 0, "{name}: its portable product of four bytes is no dp4a");
    }
    assert!(used.shared_bytes <= 48 * 1024, "{name}: {} bytes of shared memory", used.shared_bytes);
    if case.kind == Kind::Streaming {
        assert!(used.occupancy() >= 0.5, "{name}: {} units on a multiprocessor", used.resident_units);
    }
}

//! The kernels compile for SM61 (Pascal) and fit it. No GPU is needed: CubeCL writes the CUDA C++ that it would give to a
//! card of compute capability 6.1, and NVIDIA's compilers translate it (`fusion/sm61/compile.py`).

use burn_cubecl::tensor::CubeTensor;
use burn_kiln_fusion::cube::{
    Reduction, RmsNormOptions,
    cuda_text::{Launch, OfflineCuda, Sm61, take_launches},
    rms_norm,
    rms_norm::Strategy,
};
use burn_std::{DType, Shape};
use cubecl::Runtime;
use std::{collections::BTreeMap, io::Write, path::Path, process::Command};

/// Exit status of the script when NVIDIA's compilers are not there.
const MISSING: i32 = 3;

fn allocate(dims: &[usize], dtype: DType) -> CubeTensor<OfflineCuda> {
    let client = OfflineCuda::client(&Sm61::Records);
    let shape = Shape::from(dims.to_vec());
    let handle = client.empty(shape.num_elements() * dtype.size());
    CubeTensor::new_contiguous(client, Sm61::Records, shape, handle, dtype)
}

/// What the GPU would get for an RMS norm of `rows` rows of `d`.
fn emit_rms_norm((rows, d): (usize, usize), (x, gamma): (DType, DType), strategy: Strategy) -> Launch {
    let options = RmsNormOptions::new(1e-6).with_rstd().with_strategy(strategy);
    rms_norm(&allocate(&[rows, d], x), &allocate(&[d], gamma), options).unwrap();
    OfflineCuda::client(&Sm61::Records).flush().unwrap();
    let mut kernels = take_launches();
    assert_eq!(kernels.len(), 1, "one launch a call");
    kernels.remove(0)
}

/// What ptxas reports of each file, by name; `None` when NVIDIA's compilers are missing and may be.
fn compile(folder: &Path, names: &[String]) -> Option<BTreeMap<String, BTreeMap<String, u32>>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sm61/compile.py");
    let files = names.iter().map(|name| folder.join(format!("{name}.cu")));
    let output = Command::new("python3").arg(script).args(files).output();
    let problem = match output {
        Ok(output) if output.status.success() => {
            let report = String::from_utf8(output.stdout).unwrap();
            eprint!("{report}");
            return Some(report.lines().map(parse_line).collect());
        }
        Ok(output) => {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(MISSING), "{message}");
            message
        }
        Err(error) => format!("python3: {error}"),
    };
    assert_ne!(std::env::var("KILN_REQUIRE_GPU").as_deref(), Ok("1"), "{problem}");
    // Not `eprintln`, which the test harness would swallow.
    std::io::stderr().write_all(format!("skipped: {problem}\n").as_bytes()).unwrap();
    None
}

fn parse_line(line: &str) -> (String, BTreeMap<String, u32>) {
    let mut words = line.split(' ');
    let name = words.next().unwrap().to_owned();
    let number = |word: &str| {
        let (key, value) = word.split_once('=').unwrap();
        (key.to_owned(), value.parse().unwrap())
    };
    (name, words.map(number).collect())
}

/// Units of this kernel that an SM of SM61 holds at once, of the 2,048 that it can: it has 65,536 registers, handed out to
/// warps of 32 in steps of 256, 96 KiB of shared memory, and runs 32 blocks (CUDA C++ Programming Guide 12, table "Technical
/// Specifications per Compute Capability"). Half of them hide the latency of a kernel that waits for memory.
fn count_resident(kernel: &Launch, used: &BTreeMap<String, u32>) -> u32 {
    let warps = kernel.units.div_ceil(32);
    let registers = (used["registers"] * 32).next_multiple_of(256) * warps;
    let shared = kernel.shared_bytes as u32 + used["shared_bytes"];
    let blocks = (65_536 / registers).min(96 * 1024 / shared.max(1)).min(2_048 / kernel.units).min(32);
    blocks * kernel.units
}

#[test]
fn rms_norm_compiles_for_sm61_without_spills() {
    let (f32, f16, bf16) = (DType::F32, DType::F16, DType::BF16);
    let tree = Strategy::Reduce(Reduction::SharedMemory);
    let cases = [
        ("f32_2048", (8, 2048), (f32, f32), Strategy::Auto),
        ("f32_odd", (8, 4099), (f32, f32), Strategy::Auto),
        ("f32_one", (8, 1), (f32, f32), Strategy::Auto),
        ("f32_head", (8, 128), (f32, f32), Strategy::Auto),
        ("f32_tree", (8, 2048), (f32, f32), tree),
        ("f16_2048", (8, 2048), (f16, f16), Strategy::Auto),
        ("f16_f32_2048", (8, 2048), (f16, f32), Strategy::Auto),
        ("bf16_2048", (8, 2048), (bf16, bf16), Strategy::Auto),
    ];
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sm61");
    std::fs::create_dir_all(&folder).unwrap();
    let mut kernels = BTreeMap::new();
    for (name, sizes, dtypes, strategy) in cases {
        let kernel = emit_rms_norm(sizes, dtypes, strategy);
        assert_eq!(kernel.cubes, (8, 1, 1), "{name}: a cube a row");
        std::fs::write(folder.join(format!("{name}.cu")), &*kernel.source).unwrap();
        kernels.insert(name.to_owned(), kernel);
    }
    let names: Vec<String> = kernels.keys().cloned().collect();
    let Some(report) = compile(&folder, &names) else { return };
    assert_eq!(report.len(), kernels.len());
    for (name, used) in report {
        let kernel = &kernels[&name];
        assert_eq!(used["spill_bytes"], 0, "{name}");
        assert_eq!(used["stack_bytes"], 0, "{name}");
        assert_eq!(used["half_arithmetic"], 0, "{name}: f16 and bf16 are storage, not arithmetic");
        let resident = count_resident(kernel, &used);
        assert!(resident >= 1024, "{name}: {resident} units on an SM");
        // The whole cube must find room in one block.
        assert!(kernel.units <= 1024 && kernel.shared_bytes + used["shared_bytes"] as usize <= 48 * 1024, "{name}");
    }
}

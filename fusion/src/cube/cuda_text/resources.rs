//! What a kernel takes of an SM61 multiprocessor, by NVIDIA's compilers. Needs neither a GPU nor its driver.

use super::Launch;
use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    process::{Command, Output},
};
use thiserror::Error;

/// A multiprocessor of compute capability 6.1 (CUDA C++ Programming Guide 12, table "Technical Specifications per
/// Compute Capability"): registers, handed out to warps of 32 in steps of 256; bytes of shared memory; units and blocks
/// at once.
const REGISTERS: u32 = 65_536;
const REGISTER_STEP: u32 = 256;
const SHARED_BYTES: u32 = 96 * 1024;
const UNITS: u32 = 2_048;
const BLOCKS: u32 = 32;

/// Exit status of `sm61/compile.py` when NVIDIA's compilers are not there.
const MISSING: i32 = 3;

/// The script that runs them.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sm61/compile.py");

/// What ptxas reports of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// 32-bit registers a unit, of at most 255.
    pub registers: u32,
    /// Bytes of registers that were written to memory and read back for want of room.
    pub spill_bytes: u32,
    /// Bytes of arrays that are indexed at run time and so live in memory.
    pub stack_bytes: u32,
    /// Bytes of shared memory, those that the launch asks for included.
    pub shared_bytes: u32,
    /// Instructions that compute in 16-bit floats, at 1/64 of the rate of 32-bit ones.
    pub half_arithmetic: u32,
    /// Instructions that multiply four bytes by four others and add the products (`dp4a`).
    pub byte_products: u32,
    /// Units of the kernel that a multiprocessor holds at once, of the 2,048 that it can.
    pub resident_units: u32,
    /// What keeps it from holding more.
    pub bound: Bound,
}

impl Resources {
    /// Part of a multiprocessor's units that are at work, 0 to 1. Half of them hide the latency of a kernel that waits
    /// for memory.
    pub fn occupancy(&self) -> f64 {
        f64::from(self.resident_units) / f64::from(UNITS)
    }

    fn parse(report: &str, launch: &Launch) -> Option<Self> {
        let words = report.split_whitespace().filter_map(|word| word.split_once('='));
        let numbers: BTreeMap<&str, u32> = words.filter_map(|(key, value)| Some((key, value.parse().ok()?))).collect();
        let get = |key| numbers.get(key).copied();
        let (registers, shared_bytes) = (get("registers")?, get("shared_bytes")? + launch.shared_bytes as u32);
        let (resident_units, bound) = count_resident(launch.units, registers, shared_bytes);
        let (spill_bytes, stack_bytes) = (get("spill_bytes")?, get("stack_bytes")?);
        let (half_arithmetic, byte_products) = (get("half_arithmetic")?, get("byte_products")?);
        Some(Self {
            registers,
            spill_bytes,
            stack_bytes,
            shared_bytes,
            half_arithmetic,
            byte_products,
            resident_units,
            bound,
        })
    }
}

/// The limit of a multiprocessor that a kernel meets first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// It is full of units.
    Units,
    /// Its registers are given away.
    Registers,
    /// Its shared memory is.
    SharedMemory,
    /// It runs no more blocks (cubes).
    Blocks,
}

fn count_resident(units: u32, registers: u32, shared_bytes: u32) -> (u32, Bound) {
    let warps = units.div_ceil(32);
    let block = (registers * 32).next_multiple_of(REGISTER_STEP) * warps;
    let limits = [
        (UNITS / units, Bound::Units),
        (REGISTERS / block.max(1), Bound::Registers),
        (SHARED_BYTES / shared_bytes.max(1), Bound::SharedMemory),
        (BLOCKS, Bound::Blocks),
    ];
    // Of equal limits the first: units before all.
    let (blocks, bound) = limits.into_iter().min_by_key(|(blocks, _)| *blocks).unwrap_or((0, Bound::Units));
    (blocks * units, bound)
}

/// Why nothing is known of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResourceError {
    /// NVIDIA's compilers are not on this machine.
    #[error("{0}")]
    Missing(String),
    /// They don't accept a kernel.
    #[error("NVIDIA's compilers: {0}")]
    Rejected(String),
    /// A file or a process failed.
    #[error("{action}: {message}")]
    System {
        /// What was tried.
        action: String,
        /// The system's answer.
        message: String,
    },
}

/// Compiles the text of each launch for SM61 by NVRTC and ptxas (0.1 to 4 s each, two at a time; what an earlier
/// process has compiled is not compiled again).
///
/// # Errors
/// [`ResourceError::Missing`] when `.ci/gpu.sh` has not been run, [`ResourceError::Rejected`],
/// [`ResourceError::System`].
pub fn find_resources(launches: &[Launch]) -> Result<Vec<Resources>, ResourceError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/sm61");
    fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
    let paths: Vec<PathBuf> =
        launches.iter().map(|launch| folder.join(format!("{:016x}.cu", identify(launch)))).collect();
    let mut missing = Vec::new();
    for (path, launch) in paths.iter().zip(launches) {
        if !path.with_extension("report").exists() && !missing.contains(&path) {
            fs::write(path, &*launch.source).map_err(|error| failed(path, &error))?;
            missing.push(path);
        }
    }
    std::thread::scope(|scope| {
        let (left, right) = missing.split_at(missing.len() / 2);
        let other = scope.spawn(|| compile(right));
        compile(left)?;
        other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let read = |(path, launch): (&PathBuf, &Launch)| {
        let path = path.with_extension("report");
        let report = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
        Resources::parse(&report, launch).ok_or_else(|| ResourceError::Rejected(format!("no report of {report:?}")))
    };
    paths.iter().zip(launches).map(read).collect()
}

/// Names a text, and the script that compiles it.
fn identify(launch: &Launch) -> u64 {
    let mut hasher = DefaultHasher::new();
    (include_str!("../../../sm61/compile.py"), &*launch.source).hash(&mut hasher);
    hasher.finish()
}

/// Runs the script over files, and writes a report beside each.
fn compile(paths: &[&PathBuf]) -> Result<(), ResourceError> {
    if paths.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("python3");
    command.arg(SCRIPT).args(paths);
    let Output { status, stdout, stderr } = command.output().map_err(|error| failed(Path::new("python3"), &error))?;
    let message = String::from_utf8_lossy(&stderr).trim().to_owned();
    match status.code() {
        Some(0) => {}
        Some(MISSING) => return Err(ResourceError::Missing(message)),
        _ => return Err(ResourceError::Rejected(message)),
    }
    for (path, report) in paths.iter().zip(String::from_utf8_lossy(&stdout).lines()) {
        let path = path.with_extension("report");
        fs::write(&path, report).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

fn failed(path: &Path, error: &std::io::Error) -> ResourceError {
    ResourceError::System { action: path.display().to_string(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residents_follow_the_tightest_limit() {
        assert_eq!(count_resident(256, 32, 0), (2048, Bound::Units));
        assert_eq!(count_resident(256, 33, 0), (1536, Bound::Registers)); // 1,056 registers a warp round up to 1,280
        assert_eq!(count_resident(256, 128, 0), (512, Bound::Registers));
        assert_eq!(count_resident(256, 32, 48 * 1024), (512, Bound::SharedMemory));
        assert_eq!(count_resident(32, 32, 0), (1024, Bound::Blocks));
    }
}

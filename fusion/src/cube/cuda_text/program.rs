//! From CUDA C++ to a program of the host.

use super::{HostError, text::Text};
use std::{
    collections::hash_map::DefaultHasher,
    ffi::OsStr,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// What stands in for CUDA's headers, and the program around a kernel.
const HOST: [(&str, &str); 9] = [
    ("cuda_runtime.h", include_str!("host/cuda_runtime.h")),
    ("cuda_fp16.h", include_str!("host/cuda_fp16.h")),
    ("cuda_bf16.h", include_str!("host/cuda_bf16.h")),
    ("pairs.h", include_str!("host/pairs.h")),
    ("units.h", include_str!("host/units.h")),
    ("schedule.h", include_str!("host/schedule.h")),
    ("entry.h", include_str!("host/entry.h")),
    ("kernel.h", include_str!("host/kernel.h")),
    ("main.cpp", include_str!("host/main.cpp")),
];

/// `-O1`: kernels in tests are small, so compiling them is what takes time. NVRTC would fuse products and sums; which
/// ones is its choice, so none are here. GCC assumes that pointers of different types don't meet, CubeCL's text casts
/// between them.
const FLAGS: [&str; 7] = [
    "-std=c++20",
    "-O1",
    "-w",
    "-fno-strict-aliasing",
    "-ffp-contract=off",
    "-fsanitize=address,alignment",
    "-fno-sanitize-recover=all",
];

/// How much of a compiler's complaint is worth reading.
const MESSAGE_LINES: usize = 12;

/// Whether this machine can run the text.
///
/// # Errors
/// [`HostError::Missing`] when it has no g++ or is no x86-64, whose stacks `host/schedule.h` switches.
pub fn check_host() -> Result<(), HostError> {
    static FOUND: OnceLock<Result<(), HostError>> = OnceLock::new();
    let check = || {
        let missing = |reason: String| HostError::Missing { reason };
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            return Err(missing("stacks are switched on Linux on x86-64 only".into()));
        }
        let found = Command::new("g++").arg("--version").output();
        found.map(drop).map_err(|error| missing(format!("g++: {error}; install Debian's g++")))
    };
    FOUND.get_or_init(check).clone()
}

/// Where texts and programs are kept. Beside the workspace's other outputs, so that the next run finds them.
fn find_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cuda_text")
}

/// A kernel's program on disk, and its text beside it.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub path: PathBuf,
    pub text: PathBuf,
}

impl Program {
    /// Compiles `text`, unless this or an earlier process has.
    ///
    /// # Errors
    /// [`HostError::Rejected`] when g++ does not accept it, [`HostError::Missing`] without g++, [`HostError::System`].
    pub fn build(text: &Text) -> Result<Self, HostError> {
        check_host()?;
        let mut hasher = DefaultHasher::new();
        (HOST, FLAGS, &text.kernel, &text.source).hash(&mut hasher);
        let folder = find_folder();
        let stem: String = text.kernel.chars().take(80).collect();
        let path = folder.join(format!("{stem}-{:016x}", hasher.finish()));
        let program = Self { text: path.with_extension("cpp"), path };
        if !program.path.exists() {
            let host = build_host(&folder)?;
            write(&program.text, &format!("{}\n#include \"kernel.h\"\n", text.source))?;
            let kernel = format!("-DKERNEL={}", text.kernel);
            let arguments = ["-I".as_ref(), host.as_os_str(), kernel.as_ref(), program.text.as_os_str()];
            compile(&arguments, &host.join("main.o"), &program.path)?;
        }
        Ok(program)
    }
}

/// The folder with the headers, `main.o` and the first header translated in advance (half of the time of a small kernel
/// goes to what that one includes), named after their content.
fn build_host(folder: &Path) -> Result<PathBuf, HostError> {
    let mut hasher = DefaultHasher::new();
    (HOST, FLAGS).hash(&mut hasher);
    let host = folder.join(format!("host-{:016x}", hasher.finish()));
    fs::create_dir_all(&host).map_err(|error| failed("creating", &host, &error))?;
    let object = host.join("main.o");
    if !object.exists() {
        HOST.iter().try_for_each(|(name, content)| write(&host.join(name), content))?;
        let header = host.join("cuda_runtime.h");
        compile(&["-x".as_ref(), "c++-header".as_ref()], &header, &host.join("cuda_runtime.h.gch"))?;
        compile(&["-c".as_ref()], &host.join("main.cpp"), &object)?;
    }
    Ok(host)
}

/// A name of its own beside `path`: no other process and no other thread takes it.
fn name_unfinished(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    path.with_extension(format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// `g++ FLAGS arguments input -o output`. Another process may do the same: a file appears whole under its name or not
/// at all.
fn compile(arguments: &[&OsStr], input: &Path, output: &Path) -> Result<(), HostError> {
    let unfinished = name_unfinished(output);
    let mut command = Command::new("g++");
    command.args(FLAGS).args(arguments).arg(input).arg("-o").arg(&unfinished);
    let done = command.output().map_err(|error| failed("running g++ for", output, &error))?;
    if !done.status.success() {
        let message = String::from_utf8_lossy(&done.stderr);
        let message = message.lines().take(MESSAGE_LINES).collect::<Vec<_>>().join("\n");
        return Err(HostError::Rejected { path: output.to_owned(), message });
    }
    fs::rename(&unfinished, output).map_err(|error| failed("renaming", &unfinished, &error))
}

fn write(path: &Path, content: &str) -> Result<(), HostError> {
    if fs::read_to_string(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let unfinished = name_unfinished(path);
    fs::write(&unfinished, content)
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(|error| failed("writing", path, &error))
}

/// An error of the system about a file.
pub(super) fn failed(action: &'static str, path: &Path, error: &std::io::Error) -> HostError {
    HostError::System { action, path: path.to_owned(), message: error.to_string() }
}

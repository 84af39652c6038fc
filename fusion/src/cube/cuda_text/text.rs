//! From a CubeCL kernel to CUDA C++.

use super::{
    HostError,
    device::{choose_options, describe},
    shared::place_shared_arrays,
};
use cubecl::{CubeDim, CubeTask, ExecutionMode};
use cubecl_cpp::{
    cuda::{CudaDialect, mma::CudaWmmaCompiler},
    shared::CppCompiler,
};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// The compiler of `cubecl-cuda`.
pub(super) type CudaCompiler = CppCompiler<CudaDialect<CudaWmmaCompiler>>;

/// A kernel as CUDA C++.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// The entry's name.
    pub kernel: String,
    pub source: Arc<str>,
    /// Bytes of shared memory that a launch must ask for.
    pub shared_bytes: usize,
    pub cube_dim: CubeDim,
    /// Bytes behind each buffer that the kernel may read, but not write.
    pub slack: u64,
}

/// Burn's kernels read past the ends of buffers and drop what they find (`select` reads its indices once for each
/// dimension): harmless on a GPU, whose buffers lie in larger pages.
const SLACK_OF_BURN: u64 = 16 * 1024;

impl Text {
    /// Writes `kernel` as CUDA C++ and compares what it asks for with what the device has.
    ///
    /// # Errors
    /// [`HostError::Text`] when CubeCL fails or panics, [`HostError::Limit`].
    pub fn write(kernel: &dyn CubeTask<CudaCompiler>, mode: ExecutionMode) -> Result<Self, HostError> {
        let compile = || kernel.compile(&mut CudaCompiler::default(), &choose_options(), mode, kernel.address_type());
        let failed = |message| HostError::Text { kernel: kernel.name().to_owned(), message };
        let compiled = catch_unwind(AssertUnwindSafe(compile))
            .map_err(|panic| failed(read_panic(&*panic)))?
            .map_err(|error| failed(error.to_string()))?;
        let shared_bytes = compiled.repr.map_or(0, |repr| repr.shared_memory_size());
        let text = Self {
            kernel: compiled.entrypoint_name,
            source: place_shared_arrays(&sort_declarations(&compiled.source), shared_bytes).into(),
            shared_bytes,
            cube_dim: compiled.cube_dim,
            slack: if kernel.name().starts_with("burn_cubecl::") { SLACK_OF_BURN } else { 0 },
        };
        text.check_limits()?;
        Ok(text)
    }

    /// Makes conversions to bf16 cut off, by what `host/cuda_bf16.h` looks for. A text without bf16 stays as it is, and
    /// so does its program.
    pub fn cut_off_bf16(&mut self) {
        if self.source.contains("cuda_bf16.h") {
            self.source = format!("#define KILN_CUT_OFF_BF16\n{}", self.source).into();
        }
    }

    fn check_limits(&self) -> Result<(), HostError> {
        let hardware = describe().hardware;
        let (dim, max) = (self.cube_dim, hardware.max_cube_dim);
        let limits = [
            ("units in a cube", dim.num_elems(), hardware.max_units_per_cube),
            ("units along x", dim.x, max.0),
            ("units along y", dim.y, max.1),
            ("units along z", dim.z, max.2),
            ("bytes of shared memory", self.shared_bytes as u32, hardware.max_shared_memory_size as u32),
        ];
        limits.into_iter().try_for_each(|(what, found, limit)| self.check(what, found, limit))
    }

    /// Compares the cubes of a launch with what the device can launch.
    pub fn check_cubes(&self, (x, y, z): (u32, u32, u32)) -> Result<(), HostError> {
        let limit = describe().hardware.max_cube_count;
        let limits = [("cubes along x", x, limit.0), ("cubes along y", y, limit.1), ("cubes along z", z, limit.2)];
        limits.into_iter().try_for_each(|(what, found, limit)| self.check(what, found, limit))
    }

    fn check(&self, what: &'static str, found: u32, limit: u32) -> Result<(), HostError> {
        if found <= limit {
            return Ok(());
        }
        Err(HostError::Limit { kernel: self.kernel.clone(), what, found: found as usize, limit: limit as usize })
    }
}

/// CubeCL walks hash sets where it declares types and variables, so the same kernel comes out differently in every
/// process. Sorted, a program that an earlier process built is found again.
fn sort_declarations(source: &str) -> String {
    let mut items: Vec<String> = Vec::new();
    let mut inside = false;
    for line in source.lines() {
        match items.last_mut() {
            Some(item) if inside => item.extend(["\n", line]),
            _ => items.push(line.to_owned()),
        }
        inside = (inside || line.starts_with("struct __align__")) && line != "};";
    }
    items.chunk_by_mut(|a, b| is_declaration(a) && is_declaration(b)).for_each(<[String]>::sort);
    items.join("\n")
}

/// A vector type, `TYPE l_mut_NUMBER;` or `TYPE l_arr_NUMBER[LENGTH];`.
fn is_declaration(item: &str) -> bool {
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'[' || byte == b']');
    let is_variable = |(kind, rest): (&str, &str)| !kind.contains(' ') && rest.strip_suffix(';').is_some_and(is_name);
    let mut splits = [" l_mut_", " l_arr_"].into_iter().filter_map(|mark| item.split_once(mark));
    item.starts_with("struct __align__") || splits.any(is_variable)
}

/// The message of a panic.
fn read_panic(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_declarations_change_places() {
        let source = "struct __align__(8) b {\n    float x;\n};\nstruct __align__(4) a {\n    int y;\n};\n\nfloat l_mut_2;\n\
                      bool l_mut_1;\nconst bool l_2 = l_1 > l_mut_1;\nconst bool l_1 = l_mut_2;\nl_mut_1 = l_2;";
        let sorted = "struct __align__(4) a {\n    int y;\n};\nstruct __align__(8) b {\n    float x;\n};\n\nbool l_mut_1;\n\
                      float l_mut_2;\nconst bool l_2 = l_1 > l_mut_1;\nconst bool l_1 = l_mut_2;\nl_mut_1 = l_2;";
        assert_eq!(sort_declarations(source), sorted);
    }
}

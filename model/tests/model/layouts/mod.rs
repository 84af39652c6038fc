//! Checkpoints as other tools and other versions of HF write them: the same numbers as the released layout's, in memory
//! and streamed, or an error that says what the checkpoint is.

mod experts;
mod foreign;
mod names;
mod surplus;

use crate::fixture::{self, Case};
use crate::fp8::{self, Tensors};

use burn_flex::Flex;
use burn_kiln::Kiln;
use kiln_kernels::prefetch::PrefetchError;
use qwen3_vl_burn::checkpoint::CheckpointError;
use qwen3_vl_burn::{Error, LoadOptions, Logits, Qwen3Vl};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// A checkpoint of `tensors` with the configuration of the fixture `name`.
fn write(name: &str, tensors: &Tensors) -> tempfile::TempDir {
    fp8::write(name, tensors, None)
}

/// The tensors of the fixture `name` under other names; those that get none are left out.
fn rename(name: &str, new_name: impl Fn(&str) -> Option<String>) -> Tensors {
    fp8::read_fixture(name).into_iter().filter_map(|(name, tensor)| Some((new_name(&name)?, tensor))).collect()
}

fn logits_of(dir: &Path, case: &Case, options: LoadOptions<'_>) -> Result<Vec<f32>, Error> {
    let model = Qwen3Vl::<Kiln<Flex>>::load(dir, &Default::default(), options)?;
    Ok(model.forward(&case.inputs(), Logits::All)?.into_data().to_vec().unwrap())
}

/// The logits of the released layout, which are HF's (`fixture_cases.rs`).
static RELEASED: LazyLock<[Vec<f32>; 2]> = LazyLock::new(|| {
    ["tiny-dense", "tiny-moe"].map(|name| {
        let case = Case::open(name, "image");
        logits_of(&fixture::folder(name), &case, LoadOptions::default()).unwrap()
    })
});

/// Asserts the logits of the fixture `name`, bit for bit.
#[track_caller]
fn assert_loads_as(name: &str, dir: &Path) {
    let expected = &RELEASED[usize::from(name == "tiny-moe")];
    assert_eq!(logits_of(dir, &Case::open(name, "image"), LoadOptions::default()).unwrap(), *expected);
}

/// The same with as little memory as does.
#[track_caller]
fn assert_streams_as(name: &str, dir: &Path) {
    let (case, expected) = (Case::open(name, "image"), &RELEASED[usize::from(name == "tiny-moe")]);
    let least = match logits_of(dir, &case, LoadOptions::default().with_memory_limit(1)) {
        Err(Error::Streaming(PrefetchError::LimitTooSmall { least, .. })) => least,
        other => panic!("{other:?}"),
    };
    assert_eq!(logits_of(dir, &case, LoadOptions::default().with_memory_limit(least)).unwrap(), *expected, "streamed");
}

#[track_caller]
pub(crate) fn load_error(dir: &Path) -> CheckpointError {
    match Qwen3Vl::<Flex>::load(dir, &Default::default(), LoadOptions::default()) {
        Err(Error::Checkpoint(error)) => error,
        Err(other) => panic!("not a checkpoint error: {other:?}"),
        Ok(_) => panic!("no error"),
    }
}

/// The file `config.json` of the fixture `name` in `dir`.
fn copy_config(name: &str, dir: &Path) {
    fs::copy(fixture::folder(name).join("config.json"), dir.join("config.json")).unwrap();
}

//! The optimiser's state in a safetensors file.
//!
//! | tensor | dtype | what |
//! | --- | --- | --- |
//! | `NAME.exp_avg` | F32 | first moment of parameter `NAME` |
//! | `NAME.exp_avg_sq` | F32 | second moment |
//! | `NAME.master` | F32 | the parameter, where it is held in fewer bits |
//! | `NAME.step` | U64, `[1]` | steps that it took |
//!
//! The names are PyTorch's. What is written is read bit for bit.

use super::AdamW;
use super::adamw::Moments;
use super::record::read;
use burn::tensor::backend::Backend;
use burn::tensor::{Bytes, DType, TensorData, TensorMetadata};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Why state cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no safetensors file.
    #[error("{}: {reason}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// State of a parameter that does not train.
    #[error("{}: state of `{name}`, which does not train here: resume with the same choice of parameters", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The parameter.
        name: String,
    },
    /// A tensor that is not there.
    #[error("{}: no tensor `{tensor}`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor of another type or other sizes.
    #[error(
        "{}: `{tensor}` is {found_dtype:?} {found:?}, expected {expected_dtype:?} {expected:?}", path.display()
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found_dtype: Dtype,
        /// Its sizes.
        found: Vec<usize>,
        /// The type wanted.
        expected_dtype: Dtype,
        /// The sizes wanted.
        expected: Vec<usize>,
    },
}

/// A tensor of the state, read from its device when it is written.
enum Entry<'a, B: Backend> {
    Float { tensor: &'a B::FloatTensorPrimitive, shape: Vec<usize> },
    Step(u64),
}

impl<B: Backend> View for Entry<'_, B> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Float { .. } => Dtype::F32,
            Self::Step(_) => Dtype::U64,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Float { shape, .. } => shape,
            Self::Step(_) => &[1],
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Float { tensor, .. } => Cow::Owned(read::<B>(tensor).bytes.to_vec()),
            Self::Step(step) => Cow::Owned(step.to_le_bytes().to_vec()),
        }
    }

    fn data_len(&self) -> usize {
        let elements: usize = self.shape().iter().product();
        elements * if matches!(self, Self::Step(_)) { 8 } else { 4 }
    }
}

impl<B: Backend> AdamW<B> {
    /// Writes the state of all parameters [with names](AdamW::with_parameters), under a temporary name first.
    ///
    /// # Errors
    /// [`StateError::File`]; then `path` is as it was.
    pub fn save(&self, path: &Path) -> Result<(), StateError> {
        let failed = |source: io::Error| StateError::File { path: path.to_owned(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        safetensors::serialize_to_file(self.entries(), None, file.path())
            .map_err(|error| failed(io::Error::other(error.to_string())))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// The state by names, in their order.
    fn entries(&self) -> BTreeMap<String, Entry<'_, B>> {
        let mut entries = BTreeMap::new();
        for (id, moments) in &self.moments {
            let Some(trainable) = self.parameters.get(id) else { continue };
            let name = &trainable.parameter.name;
            let float = |tensor| Entry::Float { tensor, shape: TensorMetadata::shape(tensor).to_vec() };
            entries.insert(format!("{name}.exp_avg"), float(&moments.moment_1));
            entries.insert(format!("{name}.exp_avg_sq"), float(&moments.moment_2));
            entries.insert(format!("{name}.step"), Entry::Step(moments.step));
            if let Some(master) = &moments.master {
                entries.insert(format!("{name}.master"), float(master));
            }
        }
        entries
    }

    /// Reads the state that [`AdamW::save`] wrote, in place of what there is. Parameters that it doesn't name begin
    /// anew.
    ///
    /// # Errors
    /// [`StateError`]; then the state is as it was.
    pub fn load(&mut self, path: &Path, device: &B::Device) -> Result<(), StateError> {
        let bytes = std::fs::read(path).map_err(|source| StateError::File { path: path.to_owned(), source })?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|error| StateError::Format { path: path.to_owned(), reason: error.to_string() })?;
        let reader = Reader { path, file };
        let mut ids: BTreeMap<&str, _> = BTreeMap::new();
        for (id, trainable) in &self.parameters {
            ids.insert(&trainable.parameter.name, (*id, &trainable.parameter.shape));
        }
        let mut moments = std::collections::HashMap::new();
        for tensor in reader.file.names() {
            let known = [".exp_avg", ".exp_avg_sq", ".step", ".master"].iter().find_map(|end| tensor.strip_suffix(end));
            let name = known.unwrap_or(tensor);
            let Some(&(id, shape)) = ids.get(name) else {
                return Err(StateError::Unknown { path: path.to_owned(), name: name.to_owned() });
            };
            if moments.contains_key(&id) {
                continue;
            }
            let float = |end: &str| reader.float::<B>(&format!("{name}.{end}"), shape, device);
            let has_master = reader.file.tensor(&format!("{name}.master")).is_ok();
            let step = reader.bytes(&format!("{name}.step"), Dtype::U64, &[1])?;
            let step = step.try_into().map(u64::from_le_bytes).unwrap_or_default();
            let master = if has_master { Some(float("master")?) } else { None };
            let (moment_1, moment_2) = (float("exp_avg")?, float("exp_avg_sq")?);
            moments.insert(id, Moments { moment_1, moment_2, master, step });
        }
        self.moments = moments;
        Ok(())
    }
}

/// A file of state.
struct Reader<'a> {
    path: &'a Path,
    file: SafeTensors<'a>,
}

impl Reader<'_> {
    fn bytes(&self, tensor: &str, dtype: Dtype, shape: &[usize]) -> Result<&[u8], StateError> {
        let path = self.path.to_owned();
        let Ok(view) = self.file.tensor(tensor) else {
            return Err(StateError::Missing { path, tensor: tensor.to_owned() });
        };
        if view.dtype() != dtype || view.shape() != shape {
            return Err(StateError::Shape {
                path,
                tensor: tensor.to_owned(),
                found_dtype: view.dtype(),
                found: view.shape().to_vec(),
                expected_dtype: dtype,
                expected: shape.to_vec(),
            });
        }
        Ok(view.data())
    }

    fn float<B: Backend>(
        &self,
        tensor: &str,
        shape: &[usize],
        device: &B::Device,
    ) -> Result<B::FloatTensorPrimitive, StateError> {
        let bytes = Bytes::from_bytes_vec(self.bytes(tensor, Dtype::F32, shape)?.to_vec());
        Ok(B::float_from_data(TensorData::from_bytes(bytes, shape.to_vec(), DType::F32), device))
    }
}

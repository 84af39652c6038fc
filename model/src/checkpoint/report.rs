//! How a checkpoint differs from what a model needs.

use std::fmt;

/// How a checkpoint's tensors differ from those that a model needs. Its `Display` shows up to eight of each kind, and
/// how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShapeReport {
    /// Needed, and not there.
    pub missing: Vec<String>,
    /// There, and not needed, by the names in the files.
    pub surplus: Vec<String>,
    /// There, with another shape.
    pub misshaped: Vec<MisshapedTensor>,
}

/// A tensor whose shape isn't the one that the model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MisshapedTensor {
    /// Its name.
    pub name: String,
    /// The shape that the model needs.
    pub expected: Vec<usize>,
    /// The shape that it has.
    pub found: Vec<usize>,
}

impl ShapeReport {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.surplus.is_empty() && self.misshaped.is_empty()
    }
}

impl fmt::Display for ShapeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let misshaped: Vec<_> = self
            .misshaped
            .iter()
            .map(|tensor| format!("{} is {:?}, expected {:?}", tensor.name, tensor.found, tensor.expected))
            .collect();
        let kinds = [("missing", &self.missing), ("surplus", &self.surplus), ("of another shape", &misshaped)];
        let mut separator = "";
        for (kind, tensors) in kinds {
            if !tensors.is_empty() {
                write!(f, "{separator}{} {kind}: ", tensors.len())?;
                list_some(f, tensors)?;
                separator = "; ";
            }
        }
        Ok(())
    }
}

fn list_some(f: &mut fmt::Formatter<'_>, tensors: &[String]) -> fmt::Result {
    const SHOWN: usize = 8;
    let shown = &tensors[..tensors.len().min(SHOWN)];
    f.write_str(&shown.join(", "))?;
    match tensors.len() - shown.len() {
        0 => Ok(()),
        more => write!(f, ", and {more} more"),
    }
}

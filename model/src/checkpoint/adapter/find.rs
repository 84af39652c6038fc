//! Folders of adapters.

use crate::checkpoint::index::{INDEX_NAME, SINGLE_NAME};
use crate::checkpoint::{CheckpointError, ForeignFormat};
use std::path::Path;

/// Name of a PEFT adapter's settings.
pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";

/// Whether there is a PEFT adapter in the folder, beside the weights of a model.
///
/// # Errors
/// [`CheckpointError::Foreign`] for an adapter alone, which says how to give it.
pub(crate) fn find_adapter(dir: &Path) -> Result<bool, CheckpointError> {
    let there = |name: &str| dir.join(name).symlink_metadata().is_ok();
    if there(ADAPTER_CONFIG) && !there(SINGLE_NAME) && !there(INDEX_NAME) {
        return Err(CheckpointError::Foreign { dir: dir.to_owned(), format: ForeignFormat::Adapter });
    }
    Ok(there(ADAPTER_CONFIG))
}

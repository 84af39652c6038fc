//! A checkpoint by the names and in the layout of the model that it is for.

use super::expected::{EMBEDDING, HEAD};
use super::names::find_released_name;
use super::{Checkpoint, CheckpointError};
use crate::Result;
use crate::config::Qwen3VlConfig;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

impl Checkpoint {
    /// The same checkpoint by the names of released ones, with experts found in whichever layout they are stored:
    /// what other tools and other versions of HF write is read as what released checkpoints have. Nothing is read of a
    /// tensor; what is stored otherwise is put together when it is loaded. [`Qwen3Vl::load`](crate::Qwen3Vl::load) does
    /// this. What is read is in the tables of `names.rs` and `experts.rs`.
    ///
    /// `config` must be valid ([`Qwen3VlConfig::validate`]). A tied model of which only the head is stored has it as
    /// its embedding, as in HF.
    ///
    /// # Errors
    /// [`CheckpointError::SameTensor`] where two tensors are the same one of the model;
    /// [`CheckpointError::Foreign`] for adapters that are not merged into their base model.
    pub fn arranged_for(mut self, config: &Qwen3VlConfig) -> Result<Self> {
        self.refuse_unmerged()?;
        self.assemblies.clear();
        self.rename()?;
        if config.text.tie_word_embeddings && !self.contains(EMBEDDING) {
            for ending in ["", "_scale_inv", "_scale"] {
                let head = format!("{HEAD}{ending}");
                if let Some(mut entry) = self.entries.remove(&head) {
                    entry.stored_name.get_or_insert(head.into());
                    self.entries.insert(format!("{EMBEDDING}{ending}"), entry);
                }
            }
        }
        self.find_experts(&config.text);
        Ok(self)
    }

    /// Gives tensors their released names. One that has its name already keeps it; another that would get the same is
    /// surplus.
    fn rename(&mut self) -> Result<(), CheckpointError> {
        let mut renamed = BTreeMap::new();
        let mut others = Vec::new();
        for (name, mut entry) in std::mem::take(&mut self.entries) {
            let released = find_released_name(&name);
            if released == name {
                renamed.insert(name, entry);
            } else {
                entry.stored_name = Some(name.into());
                others.push((released, entry));
            }
        }
        let kept = renamed.len();
        if kept == 0 && !others.is_empty() {
            tracing::debug!(dir = %self.dir.display(), "none of the tensors has its released name");
        }
        let mut taken: BTreeMap<String, Box<str>> = BTreeMap::new();
        for (released, entry) in others {
            let stored = entry.stored_name.clone().unwrap_or_default();
            match renamed.entry(released) {
                Slot::Vacant(slot) => {
                    taken.insert(slot.key().clone(), stored);
                    slot.insert(entry);
                }
                Slot::Occupied(slot) => {
                    if let Some(first) = taken.get(slot.key()) {
                        let (first, second) = (first.to_string(), stored.to_string());
                        return Err(CheckpointError::SameTensor { tensor: slot.key().clone(), first, second });
                    }
                    // Under a name that no released tensor has.
                    renamed.insert(stored.into(), entry);
                }
            }
        }
        self.entries = renamed;
        Ok(())
    }

    /// The name that the tensor `name` has in its file.
    pub(super) fn stored_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.entries.get(name).and_then(|entry| entry.stored_name.as_deref()).unwrap_or(name)
    }
}

//! Loading a model that streams.

use super::StreamLimit;
use super::experts::StreamedExperts;
use super::parts::{Part, PartKind, Table, list_parts};
use super::plan::{Plan, make_plan};
use super::weights::{LeasedTensors, StreamedWeights};
use crate::checkpoint::{EMBEDDING, expected_tensors};
use crate::load::{WeightSource, wanted_dtype};
use crate::{Qwen3Vl, Result};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn_kiln::prefetch::{Files, Held, Keep, Lease, Ledger, Streamer, StreamerOptions};
use std::sync::Arc;

/// Loads the model so that its weights stay within `limit`; `None` where all of them do.
pub(crate) fn load<B: Backend>(
    source: &WeightSource<'_>,
    limit: StreamLimit,
    device: &B::Device,
    tell: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<Option<Qwen3Vl<B>>> {
    let &WeightSource { checkpoint, dtype, config, .. } = source;
    if loaded_bytes(source)? <= limit.bytes {
        return Ok(None);
    }
    // Elsewhere memory inside an array cannot be given back.
    let experts_apart = cfg!(unix) && limit.keep == Keep::Ring;
    let parts = list_parts(config, checkpoint, dtype, experts_apart)?;
    let table = if parts.tied { parts.head.clone() } else { Table::find(checkpoint, EMBEDDING, dtype)? };
    let row_cost = table.row_cost();
    let scale_bytes = table.scale_bytes() + if parts.tied { 0 } else { parts.head.scale_bytes() };
    let Plan { pinned, streamed, buffers, rows, experts } = make_plan(&parts, row_cost, scale_bytes as u64, limit)?;

    let files = Arc::new(Files::open(checkpoint.paths())?);
    let ledger = Ledger::new(limit.bytes);
    let mut pins = Pins { source, files: &files, ledger: &ledger, held: vec![ledger.hold(scale_bytes)?], device };
    let experts = StreamedExperts::new(parts.experts, (experts, parts.experts_dtype), &files, &ledger)?.map(Arc::new);
    let mut model = config.init::<B>(device);
    if let Some(experts) = &experts {
        let layers = model.language_model.layers.iter_mut().enumerate();
        layers.for_each(|(index, layer)| experts.attach(index, layer));
    }
    let tower = &mut model.visual;
    let base = pins.read(&parts.base)?;
    pins.fill(&base, &mut tower.patch_embed, "visual.patch_embed", tell)?;
    pins.fill(&base, &mut tower.pos_embed, "visual.pos_embed", tell)?;
    pins.fill(&base, &mut model.language_model.norm, "language_model.norm", tell)?;
    drop(base);
    for part in &pinned {
        let lease = pins.read(part)?;
        let (tower, decoder) = (&mut model.visual, &mut model.language_model);
        match &part.kind {
            PartKind::Block(i) => pins.fill(&lease, &mut tower.blocks[*i], &format!("visual.blocks.{i}"), tell)?,
            PartKind::Tap(i) => {
                let path = format!("visual.deepstack_merger_list.{i}");
                pins.fill(&lease, &mut tower.deepstack_merger_list[*i], &path, tell)?;
            }
            PartKind::Merger => pins.fill(&lease, &mut tower.merger, "visual.merger", tell)?,
            PartKind::Layer(i) => {
                pins.fill(&lease, &mut decoder.layers[*i], &format!("language_model.layers.{i}"), tell)?;
            }
            PartKind::Head(..) => match &mut model.lm_head {
                Some(head) => pins.fill(&lease, head, "lm_head", tell)?,
                None => pins.fill(&lease, &mut decoder.embed_tokens, "language_model.embed_tokens", tell)?,
            },
            PartKind::Base => {}
        }
    }
    let held = pins.held;
    let table_is_pinned = parts.tied && pinned.iter().any(|part| matches!(part.kind, PartKind::Head(..)));
    let units = streamed.iter().map(|part| part.unit.clone()).collect();
    let options = StreamerOptions { buffers, keep: limit.keep };
    let weights = Arc::new(StreamedWeights {
        checkpoint: checkpoint.clone(),
        config: config.clone(),
        dtype,
        streamer: Streamer::start(files.clone(), units, options, &ledger)?,
        files,
        ledger,
        streamed: StreamedWeights::number(&streamed),
        table: (!table_is_pinned).then_some(table),
        head: parts.head,
        row_cost,
        rows,
        experts,
        _pinned: held,
    });
    weights.thin_out(&mut model);
    Ok(Some(model))
}

/// Bytes of all weights in memory.
fn loaded_bytes(source: &WeightSource<'_>) -> Result<u64> {
    let checkpoint = source.checkpoint;
    let bytes = expected_tensors(source.config).into_iter().map(|tensor| {
        let copy = checkpoint.converted_len(&tensor.name, wanted_dtype(tensor.shape.len(), source.dtype))?;
        Ok(if copy == 0 { checkpoint.stored_len(&tensor.name)? } else { copy as u64 })
    });
    bytes.sum()
}

/// Reads what stays in memory.
struct Pins<'a, B: Backend> {
    source: &'a WeightSource<'a>,
    files: &'a Files,
    ledger: &'a Ledger,
    held: Vec<Held>,
    device: &'a B::Device,
}

impl<B: Backend> Pins<'_, B> {
    fn read(&mut self, part: &Part) -> Result<Lease> {
        let lease = Lease::read(self.files, part.unit.clone(), self.ledger)?;
        self.held.push(self.ledger.hold(part.converted)?);
        Ok(lease)
    }

    fn fill<M: Module<B>>(
        &self,
        lease: &Lease,
        module: &mut M,
        path: &str,
        tell: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        let bytes = LeasedTensors(lease);
        let source = WeightSource { bytes: &bytes, ..*self.source };
        *module = source.fill(module.clone(), path, self.device, tell)?;
        Ok(())
    }
}

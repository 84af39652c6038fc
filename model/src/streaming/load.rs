//! Loading a model that streams.

use super::card::Card;
use super::error::CardError;
use super::experts::StreamedExperts;
use super::part::{Part, PartKind};
use super::parts::{list_parts, measure_weights};
use super::plan::{BUFFERS, LEAST_BUFFERS, Plan, make_plan};
use super::table::Table;
use super::weights::{PartBytes, StreamedWeights};
use super::{Limits, StreamLimit};
use crate::checkpoint::{EMBEDDING, expected_tensors};
use crate::fill::{WeightSource, wanted_dtype};
use crate::{Qwen3Vl, Result};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{DeviceLayout, FusedOps};
use kiln_kernels::prefetch::{Files, Held, Keep, Lease, Ledger, PrefetchError, Streamer, StreamerOptions};
use std::sync::Arc;

/// Loads the model so that its weights stay within `limits`; `None` where all of them do.
pub(crate) fn load<B: FusedOps>(
    source: &WeightSource<'_>,
    limits: Limits,
    device: &B::Device,
    tell: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<Option<Qwen3Vl<B>>> {
    load_within(source, (limits, find_layout::<B>(limits, device)?), device, tell)
}

/// [`load`] onto a device whose tensors lie as `layout` says, where it is a card's memory that is limited.
pub(super) fn load_within<B: Backend>(
    source: &WeightSource<'_>,
    (limits, layout): (Limits, Option<DeviceLayout>),
    device: &B::Device,
    tell: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<Option<Qwen3Vl<B>>> {
    let &WeightSource { checkpoint, dtype, config, .. } = source;
    let limit = match (limits.card, layout, limits.memory) {
        // What is all on the card takes no host memory.
        (Some(card), Some(layout), _) if measure_weights(config, checkpoint, dtype, layout)? <= card => {
            return Ok(None);
        }
        (Some(bytes), Some(_), _) => StreamLimit { bytes, buffers: LEAST_BUFFERS, keep: Keep::Ring },
        (_, _, Some(bytes)) if loaded_bytes(source)? > bytes => {
            StreamLimit { bytes, buffers: BUFFERS, keep: limits.keep }
        }
        _ => return Ok(None),
    };
    // Elsewhere memory inside an array cannot be given back; a card gets arrays as a whole.
    let experts_apart = cfg!(unix) && limit.keep == Keep::Ring && layout.is_none();
    let parts = list_parts(config, checkpoint, dtype, (experts_apart, layout))?;
    let table = if parts.tied { parts.head.clone() } else { Table::find(checkpoint, EMBEDDING, dtype, layout)? };
    let row_cost = table.row_cost().max(table.shared_row_cost());
    let scale_bytes = table.scale_bytes() + if parts.tied { 0 } else { parts.head.scale_bytes() };
    // A card gets dequantised rows.
    let scales = if layout.is_some() { 0 } else { scale_bytes as u64 };
    let plan = make_plan(&parts, row_cost, scales, limit);
    let Plan { pinned, streamed, buffers, rows, experts } = match plan {
        Err(PrefetchError::LimitTooSmall { limit, least }) if layout.is_some() => {
            return Err(CardError::LimitTooSmall { limit, least }.into());
        }
        plan => plan?,
    };
    let host = match layout {
        None => Some((limit.bytes, buffers)),
        Some(_) => plan_host(&streamed, rows + scale_bytes as u64, limits.memory)?,
    };

    let files = Arc::new(Files::open(checkpoint.paths())?);
    let ledger = Ledger::new(host.map_or(u64::MAX, |(bytes, _)| bytes));
    let mapped = layout.is_some();
    let mut pins =
        Pins { source, files: &files, ledger: &ledger, held: vec![ledger.hold(scale_bytes)?], mapped, device };
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
        let (bytes, path) = (pins.read(part)?, part.kind.path());
        let (tower, decoder) = (&mut model.visual, &mut model.language_model);
        match &part.kind {
            PartKind::Block(i) => pins.fill(&bytes, &mut tower.blocks[*i], &path, tell)?,
            PartKind::Tap(i) => pins.fill(&bytes, &mut tower.deepstack_merger_list[*i], &path, tell)?,
            PartKind::Merger => pins.fill(&bytes, &mut tower.merger, &path, tell)?,
            PartKind::Layer(i) => pins.fill(&bytes, &mut decoder.layers[*i], &path, tell)?,
            PartKind::Head(..) => match &mut model.lm_head {
                Some(head) => pins.fill(&bytes, head, "lm_head", tell)?,
                None => pins.fill(&bytes, &mut decoder.embed_tokens, "language_model.embed_tokens", tell)?,
            },
            PartKind::Base => {}
        }
    }
    let held = pins.held;
    let table_is_pinned = parts.tied && pinned.iter().any(|part| matches!(part.kind, PartKind::Head(..)));
    let streamer = host.map(|(_, buffers)| {
        let units = streamed.iter().map(|part| part.unit.clone()).collect();
        Streamer::start(
            files.clone(),
            units,
            StreamerOptions { buffers, keep: limit.keep, read_ahead: limits.read_ahead },
            &ledger,
        )
    });
    let card = layout.map(|_| {
        let resident = parts.base.buffer() + rows + pinned.iter().map(Part::buffer).sum::<u64>();
        let largest = streamed.iter().map(Part::buffer).max().unwrap_or(0);
        let sizes = streamed.iter().map(|part| part.card.clone()).collect();
        Card::new(limit.bytes, (resident, buffers as u64 * largest), sizes, limits.read_ahead)
    });
    let weights = Arc::new(StreamedWeights {
        checkpoint: checkpoint.clone(),
        config: config.clone(),
        dtype,
        streamer: streamer.transpose()?,
        card,
        files,
        ledger,
        streamed: StreamedWeights::number(&streamed),
        parts: streamed,
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

/// How tensors lie on the card whose memory is limited.
fn find_layout<B: FusedOps>(limits: Limits, device: &B::Device) -> Result<Option<DeviceLayout>> {
    if limits.card.is_none() {
        return Ok(None);
    }
    match B::device_memory(device) {
        Some(memory) => Ok(Some(memory.layout)),
        None => Err(CardError::NoCard { backend: B::name(device) }.into()),
    }
}

/// The limit of host memory and how many buffers the ring has, through which a card's parts come from their files;
/// `None` where the mapped files are read. `besides` bytes are for rows of the token embedding and scales.
fn plan_host(streamed: &[Part], besides: u64, limit: Option<u64>) -> Result<Option<(u64, usize)>, PrefetchError> {
    let Some(limit) = limit else { return Ok(None) };
    let buffer = streamed.iter().map(Part::host_buffer).max().unwrap_or(0);
    let fixed = besides + streamed.iter().map(|part| part.converted as u64).max().unwrap_or(0);
    let need = |buffers: usize| fixed + buffers as u64 * buffer;
    match [BUFFERS, LEAST_BUFFERS].into_iter().find(|&buffers| need(buffers) <= limit) {
        Some(buffers) => Ok(Some((limit, buffers))),
        None => Err(PrefetchError::LimitTooSmall { limit, least: need(LEAST_BUFFERS) }),
    }
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
    /// Whether it is read where the checkpoint is mapped: on its way to a card.
    mapped: bool,
    device: &'a B::Device,
}

impl<'a, B: Backend> Pins<'a, B> {
    fn read(&mut self, part: &Part) -> Result<PartBytes<'a>> {
        if self.mapped {
            return Ok(PartBytes::Mapped(self.source.checkpoint));
        }
        let lease = Lease::read(self.files, part.unit.clone(), self.ledger)?;
        self.held.push(self.ledger.hold(part.converted)?);
        Ok(PartBytes::Leased(lease))
    }

    fn fill<M: Module<B>>(
        &self,
        bytes: &PartBytes<'_>,
        module: &mut M,
        path: &str,
        tell: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        let source = WeightSource { bytes, ..*self.source };
        *module = source.fill(module.clone(), path, self.device, tell)?;
        Ok(())
    }
}

//! How a part comes into the module for a moment.

use super::part::PartKind;
use super::slots::Slot;
use super::weights::{PATIENCE, PartBytes, StreamedWeights};
use crate::Result;
use crate::checkpoint::{StoredBytes, put_weight};
use crate::fill::WeightSource;
use crate::text::DecoderLayer;
use crate::vision::{PatchMerger, VisionBlock};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use kiln_kernels::prefetch::Held;
use std::any::Any;
use std::ops::Deref;

/// A part of the model while it is used.
pub(crate) enum Use<'a, T> {
    /// It is in the module.
    Pinned(&'a T),
    /// It goes when this is dropped, before what counts it.
    Streamed(Box<T>, #[allow(dead_code, reason = "counts until it is dropped")] Counted),
}

/// Counts the memory of a part that is used.
pub(crate) enum Counted {
    /// A copy of it in another dtype, in host memory.
    Host(#[allow(dead_code, reason = "counts until it is dropped")] Held),
    /// A place on a card.
    Card(#[allow(dead_code, reason = "counts until it is dropped")] Slot),
}

impl<T> Deref for Use<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Pinned(part) => part,
            Self::Streamed(part, _) => part,
        }
    }
}

impl StreamedWeights {
    /// The part `kind`: the next of `pinned`, where it is in the module, else one that is made for this use.
    pub(crate) fn part<'a, B: Backend, M: Module<B> + 'static>(
        &self,
        kind: PartKind,
        pinned: &'a [M],
        device: &B::Device,
    ) -> Result<Use<'a, M>> {
        match self.streamed.get(&kind) {
            None => Ok(Use::Pinned(&pinned[self.pinned_before(&kind)])),
            Some(&number) => self.take::<B, M>(number, device).map(|(part, counted)| Use::Streamed(part, counted)),
        }
    }

    /// Calls `multiply` with each piece of the head, `[rows, hidden]`, in order.
    pub(crate) fn for_each_head_piece<B: Backend>(
        &self,
        device: &B::Device,
        mut multiply: impl FnMut(Tensor<B, 2>),
    ) -> Result<()> {
        for (kind, &number) in &self.streamed {
            if matches!(kind, PartKind::Head(..)) {
                let (piece, _counted) = self.take::<B, Tensor<B, 2>>(number, device)?;
                multiply(*piece);
            }
        }
        Ok(())
    }

    /// The streamed part `number`, which is a `T`.
    fn take<B: Backend, T: 'static>(&self, number: usize, device: &B::Device) -> Result<(Box<T>, Counted)> {
        let make = |number| self.make::<B>(number, device);
        if let Some(card) = &self.card {
            // Its copy in another dtype has been sent.
            let send = |number| make(number).map(|(part, _copy)| part);
            let (part, slot) = card.take(number, &send, &|| B::memory_cleanup(device))?;
            return Ok((part, Counted::Card(slot)));
        }
        let (part, copy) = make(number)?;
        let Ok(part) = part.downcast::<T>() else { unreachable!("a part is made as its kind") };
        Ok((part, Counted::Host(copy)))
    }

    /// Makes part `number` of its bytes, and counts its copy in another dtype.
    fn make<B: Backend>(&self, number: usize, device: &B::Device) -> Result<(Box<dyn Any + Send>, Held)> {
        let part = &self.parts[number];
        let bytes = match &self.streamer {
            Some(streamer) => PartBytes::Leased(streamer.ask(number)?),
            None => PartBytes::Mapped(&self.checkpoint),
        };
        let held = self.ledger.hold_within(part.converted, PATIENCE)?;
        let Self { checkpoint, dtype, config, .. } = self;
        let source = WeightSource { checkpoint, bytes: &bytes, dtype: *dtype, config };
        let (text, vision) = (&config.text, &config.vision);
        let part: Box<dyn Any + Send> = match part.kind {
            PartKind::Block(_) => fill::<B, _>(&source, VisionBlock::new(vision, device), &part.kind, device)?,
            PartKind::Tap(_) => fill::<B, _>(&source, PatchMerger::new(vision, true, device), &part.kind, device)?,
            PartKind::Merger => fill::<B, _>(&source, PatchMerger::new(vision, false, device), &part.kind, device)?,
            PartKind::Layer(index) => {
                let mut layer = DecoderLayer::new(text, index, device);
                self.attach_experts(index, &mut layer);
                fill::<B, _>(&source, layer, &part.kind, device)?
            }
            PartKind::Head(start, end) => {
                let stored = match &bytes {
                    PartBytes::Leased(_) => bytes.stored(self.head.name)?,
                    PartBytes::Mapped(checkpoint) => {
                        let all = checkpoint.stored(self.head.name)?;
                        let row = self.head.row_bytes();
                        all.slice(start * row..end * row)
                    }
                };
                let data = self.head.data(checkpoint, stored, |row| start + row, *dtype)?;
                Box::new(put_weight::<B, 2>(data, device))
            }
            PartKind::Base => unreachable!("the base is always in memory"),
        };
        Ok((part, held))
    }
}

/// `module` with its tensors, which stands at its kind's path in the model.
fn fill<B: Backend, M: Module<B> + 'static>(
    source: &WeightSource<'_>,
    module: M,
    kind: &PartKind,
    device: &B::Device,
) -> Result<Box<dyn Any + Send>> {
    Ok(Box::new(source.fill(module, &kind.path(), device, &mut |_| Ok(()))?))
}

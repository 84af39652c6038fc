//! A unit in memory.

use super::files::Files;
use super::ledger::Ledger;
use super::reader::read_unit;
use super::ring::{Filled, Home, Ring};
use super::{PageBuffer, PrefetchError, Unit};
use std::ops::Range;
use std::sync::Arc;

/// A unit that is in memory as long as this, a clone or a part of it lives.
#[derive(Debug, Clone)]
pub struct Lease(pub(super) Arc<Filled>);

/// The bytes of one piece; keeps the whole unit in memory.
#[derive(Debug, Clone)]
pub struct LeasedPiece {
    lease: Lease,
    place: Range<usize>,
}

impl Lease {
    /// Reads `unit` into a buffer of its own, which counts as long as it lives: for what is never let go of.
    ///
    /// # Errors
    /// [`PrefetchError`] of the limit, the file or the read.
    pub fn read(files: &Files, unit: Arc<Unit>, ledger: &Ledger) -> Result<Self, PrefetchError> {
        let held = ledger.hold(PageBuffer::cost(unit.len()))?;
        let mut buffer = PageBuffer::zeroed(unit.len());
        read_unit(files, &unit, buffer.as_mut_slice())?;
        Ok(Self(Arc::new(Filled { unit, buffer: Some(buffer), home: Home::Own(held) })))
    }

    /// A buffer of a ring.
    pub(super) fn lend(unit: Arc<Unit>, buffer: PageBuffer, ring: &Arc<Ring>, number: usize) -> Self {
        Self(Arc::new(Filled { unit, buffer: Some(buffer), home: Home::Ring(Arc::downgrade(ring), number) }))
    }

    /// What is in it.
    pub fn unit(&self) -> &Unit {
        &self.0.unit
    }

    /// The bytes of piece `index` of the unit.
    ///
    /// # Panics
    /// Without such a piece.
    pub fn piece(&self, index: usize) -> LeasedPiece {
        LeasedPiece { place: self.0.unit.place(index), lease: self.clone() }
    }
}

impl AsRef<[u8]> for LeasedPiece {
    fn as_ref(&self) -> &[u8] {
        let buffer = self.lease.0.buffer.as_ref();
        buffer.map_or(&[], |buffer| &buffer.as_slice()[self.place.clone()])
    }
}

//! Places for streamed parts in a card's memory.
//!
//! A card's allocator keeps what was freed for the next tensor of the same size. So a slot is what one part took: it is
//! used again for parts of the same sizes (the layers of a decoder), and where others follow (a vision tower before it,
//! pieces of a head behind it), the free slots are given up first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Slots within a number of bytes. Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Slots(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    budget: u64,
    slots: Vec<Place>,
    made: u64,
    high_water: u64,
}

#[derive(Debug)]
struct Place {
    id: u64,
    /// Bytes of each tensor.
    sizes: Vec<u64>,
    lent: bool,
}

/// A slot in use; free when it is dropped, which must be after its tensors.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
    id: u64,
}

impl Slots {
    /// None yet, of at most `budget` bytes together.
    pub(super) fn new(budget: u64) -> Self {
        Self(Arc::new(Mutex::new(State { budget, slots: Vec::new(), made: 0, high_water: 0 })))
    }

    /// A slot for tensors of these sizes, and whether the allocator must let go of what is free before they are made.
    /// `None` where those in use leave no room.
    pub(super) fn take(&self, sizes: &[u64]) -> Option<(Slot, bool)> {
        let mut state = self.lock();
        let slot = |id| Slot { slots: self.clone(), id };
        if let Some(place) = state.slots.iter_mut().find(|place| !place.lent && place.sizes == sizes) {
            place.lent = true;
            return Some((slot(place.id), false));
        }
        let bytes: u64 = sizes.iter().sum();
        let clean = state.held() + bytes > state.budget;
        let lent: u64 = state.slots.iter().filter(|place| place.lent).map(Place::bytes).sum();
        if lent + bytes > state.budget {
            return None;
        }
        if clean {
            state.slots.retain(|place| place.lent);
        }
        state.made += 1;
        let id = state.made;
        state.slots.push(Place { id, sizes: sizes.to_vec(), lent: true });
        state.high_water = state.high_water.max(state.held());
        Some((slot(id), clean))
    }

    /// Bytes of all slots, in use or free, and the most that they were.
    pub(super) fn held(&self) -> (u64, u64) {
        let state = self.lock();
        (state.held(), state.high_water)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn held(&self) -> u64 {
        self.slots.iter().map(Place::bytes).sum()
    }
}

impl Place {
    fn bytes(&self) -> u64 {
        self.sizes.iter().sum()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        if let Some(place) = state.slots.iter_mut().find(|place| place.id == self.id) {
            place.lent = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again_and_never_exceed_their_bytes() {
        let slots = Slots::new(100);
        let take = |sizes: &[u64]| slots.take(sizes);
        let (first, clean) = take(&[30, 20]).unwrap();
        assert!(!clean);
        let (second, clean) = take(&[30, 20]).unwrap();
        assert!(!clean && take(&[1]).is_none());
        drop(first);
        // The same sizes again.
        let (third, clean) = take(&[30, 20]).unwrap();
        assert!(!clean && third.id == 1);
        drop((second, third));
        assert_eq!(slots.held(), (100, 100));
        // Others: what is free must go.
        let (fourth, clean) = take(&[50]).unwrap();
        assert!(clean);
        assert_eq!(slots.held(), (50, 100));
        let (fifth, clean) = take(&[20, 30]).unwrap();
        assert!(!clean);
        drop((fourth, fifth));
        assert!(take(&[101]).is_none());
        assert_eq!(slots.held(), (100, 100));
    }
}

//! What is pinned and what is streamed, under a limit.

use super::StreamLimit;
use super::part::{Part, PartKind};
use super::parts::Parts;
use kiln_kernels::prefetch::{Choices, Keep, PrefetchError};

/// Buffers of the ring where there is room: one in use, one that is ready, one that is being read into.
pub(crate) const BUFFERS: usize = 3;

/// The least: with one, nothing would be read while something computes.
pub(crate) const LEAST_BUFFERS: usize = 2;

/// The most that rows of the token embedding take at one time, bytes: 256 rows of 2048 elements of 2 bytes. A longer
/// prompt takes several reads.
const ROWS: u64 = 1 << 20;

/// What a model holds.
#[derive(Debug)]
pub(crate) struct Plan {
    /// In memory as long as the model.
    pub(crate) pinned: Vec<Part>,
    /// Read when they are used, in the order of use.
    pub(crate) streamed: Vec<Part>,
    /// Buffers of the ring.
    pub(crate) buffers: usize,
    /// Bytes that the rows of the token embedding may take at one time.
    pub(crate) rows: u64,
    /// Bytes that experts apart from their layers may take.
    pub(crate) experts: u64,
}

/// Shares `limit` out. `row` is the bytes of a row of the token embedding, stored and converted; `scales` those of the
/// scales of FP8 tables.
///
/// # Errors
/// [`PrefetchError::LimitTooSmall`] with the least that would do.
pub(crate) fn make_plan(parts: &Parts, row: u64, scales: u64, limit: StreamLimit) -> Result<Plan, PrefetchError> {
    let largest = parts.parts.iter().map(Part::buffer).max().unwrap_or(0);
    let pieces = parts.head.pieces(largest);
    let all = || parts.parts.iter().chain(&pieces);
    let buffer = all().map(Part::buffer).max().unwrap_or(0);
    // A copy in another dtype is made of what is in use.
    let converted = all().map(Part::copies).max().unwrap_or(0);
    let rows = ROWS.min(row * parts.head.rows as u64).max(row);
    // While a part is pinned it is there twice, but the ring is not there yet.
    let base = parts.base.kept() + parts.base.buffer().saturating_sub(LEAST_BUFFERS as u64 * buffer);
    // A prompt may use all experts of a layer.
    let experts = || parts.experts.values().map(|(count, arrays)| Choices::cost(*count, arrays));
    let (least_experts, all_experts) = (experts().max().unwrap_or(0), experts().sum::<u64>());
    let fixed = base + converted + rows + scales + least_experts;
    let least = fixed + LEAST_BUFFERS as u64 * buffer;
    if limit.bytes < least {
        return Err(PrefetchError::LimitTooSmall { limit: limit.bytes, least });
    }
    if limit.keep == Keep::Lru {
        let buffers = usize::try_from((limit.bytes - fixed) / buffer.max(1)).unwrap_or(usize::MAX);
        return Ok(Plan {
            pinned: Vec::new(),
            streamed: all().cloned().collect(),
            buffers,
            rows,
            experts: least_experts,
        });
    }
    let most = BUFFERS.min(limit.buffers);
    let buffers = if limit.bytes >= fixed + most as u64 * buffer { most } else { LEAST_BUFFERS };
    let mut left = limit.bytes - fixed - buffers as u64 * buffer;
    // What is used at each token first, the head as a whole or not at all.
    let whole = parts.head.part(0..parts.head.rows);
    // It may be larger than the ring that isn't there yet while it is converted.
    let pin_head = take(&mut left, whole.buffer() + whole.copies());
    let (layers, tower): (Vec<&Part>, Vec<&Part>) =
        parts.parts.iter().partition(|part| matches!(part.kind, PartKind::Layer(_)));
    let spread = (0..=layers.len()).rev().map(|count| spread(layers.len(), count));
    let chosen = |pins: &[bool]| layers.iter().zip(pins).filter(|(_, pin)| **pin).map(|(part, _)| part.kept()).sum();
    let pins =
        spread.into_iter().find(|pins| take(&mut left, chosen(pins))).unwrap_or_else(|| vec![false; layers.len()]);
    // Then experts, some of which are used at each token, and then the tower, which runs once a picture.
    let more_experts = left.min(all_experts - least_experts);
    let experts = least_experts + more_experts;
    left -= more_experts;
    let tower_pins: Vec<bool> = tower.iter().map(|part| take(&mut left, part.kept())).collect();

    let (mut pinned, mut streamed) = (Vec::new(), Vec::new());
    let decided = tower.into_iter().zip(tower_pins).chain(layers.into_iter().zip(pins));
    for (part, pin) in decided {
        if pin { &mut pinned } else { &mut streamed }.push(part.clone());
    }
    if pin_head {
        pinned.push(whole);
    } else {
        streamed.extend(pieces);
    }
    Ok(Plan { pinned, streamed, buffers, rows, experts })
}

/// Takes `bytes` off what is left, if it is as much.
fn take(left: &mut u64, bytes: u64) -> bool {
    let fits = bytes <= *left;
    *left -= if fits { bytes } else { 0 };
    fits
}

/// Which of `all` layers are pinned, if `count` are: those between evenly spread streamed ones.
fn spread(all: usize, count: usize) -> Vec<bool> {
    let streamed = all - count;
    (0..all).map(|layer| (layer + 1) * streamed / all == layer * streamed / all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streamed_layers_are_spread() {
        let list = |all, count| spread(all, count).iter().map(|&pin| if pin { 'p' } else { 's' }).collect::<String>();
        assert_eq!(list(6, 3), "pspsps");
        assert_eq!(list(6, 0), "ssssss");
        assert_eq!(list(6, 6), "pppppp");
        assert_eq!(list(7, 5), "pppspps");
        assert_eq!(list(0, 0), "");
    }
}

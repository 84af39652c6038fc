//! The thread that reads: what is wanted first, then what is expected.

use super::PageBuffer;
use super::reader::read_unit;
use super::ring::{Residence, Ring, State};
use std::mem::replace;
use std::time::Instant;

/// Reads until the streamer stops.
pub(super) fn run(ring: &Ring) {
    let mut state = ring.lock();
    while !state.stop {
        let Some((number, mut buffer)) = pick(&mut state, ring.options.reads_ahead()) else {
            state = ring.wait(state);
            continue;
        };
        state.units[number] = Residence::Loading;
        drop(state);
        let began = Instant::now();
        let outcome = read_unit(&ring.files, &ring.units[number], buffer.as_mut_slice());
        state = ring.lock();
        state.stats.reading += began.elapsed();
        state.units[number] = match outcome {
            Ok(()) => {
                state.stats.bytes_read += ring.units[number].len() as u64;
                Residence::Ready { buffer, asked: 0 }
            }
            Err(error) => {
                state.free.push(buffer);
                Residence::Failed(error)
            }
        };
        ring.tell();
    }
}

/// The next unit to read, and a buffer for it.
fn pick(state: &mut State, reads_ahead: bool) -> Option<(usize, PageBuffer)> {
    let absent = |&&number: &&usize| matches!(state.units[number], Residence::Absent);
    if let Some(&number) = state.wanted.iter().find(absent) {
        let buffer = state.free.pop().or_else(|| evict(state, 0))?;
        return Some((number, buffer));
    }
    if !reads_ahead {
        return None;
    }
    // As far ahead as there are buffers that nobody uses.
    let leased = state.units.iter().filter(|unit| matches!(unit, Residence::Leased(_))).count();
    let buffers = state.free.len() + state.units.iter().filter(|unit| holds_buffer(unit)).count();
    let ahead: Vec<usize> = state.predictor.expect().take(buffers - leased).collect();
    let number =
        *ahead.iter().find(|&&number| matches!(state.units[number], Residence::Absent | Residence::Failed(_)))?;
    if matches!(state.units[number], Residence::Failed(_)) {
        // Whoever requests it is told; reading on behind it would be of no use.
        return None;
    }
    let buffer = state.free.pop().or_else(|| evict(state, ahead.len()))?;
    Some((number, buffer))
}

fn holds_buffer(unit: &Residence) -> bool {
    matches!(unit, Residence::Loading | Residence::Ready { .. } | Residence::Leased(_))
}

/// Takes the buffer of a unit that nobody uses or waits for: the one used the longest time ago, and of those never used
/// the one that is expected last. The next `kept` that are expected are left alone.
fn evict(state: &mut State, kept: usize) -> Option<PageBuffer> {
    let mut place = vec![usize::MAX; state.units.len()];
    for (distance, number) in state.predictor.expect().enumerate() {
        place[number] = distance;
    }
    let ready = state.units.iter().enumerate().filter_map(|(number, unit)| match unit {
        Residence::Ready { asked, .. } if place[number] >= kept && !state.wanted.contains(&number) => {
            Some((*asked, usize::MAX - place[number], number))
        }
        _ => None,
    });
    let (_, _, number) = ready.min()?;
    match replace(&mut state.units[number], Residence::Absent) {
        Residence::Ready { buffer, asked } => {
            state.stats.wasted += u64::from(asked == 0);
            Some(buffer)
        }
        other => {
            state.units[number] = other;
            None
        }
    }
}

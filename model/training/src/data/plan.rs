//! Which records make which batch.
//!
//! An epoch's order comes from a seed and the number of the epoch alone, so that the batches from any step on can be
//! found again without what came before. With `group`, records of like lengths come together:
//!
//! 1. All sound records, shuffled.
//! 2. Cut into pools of [`POOL`] batches. A pool is sorted, the longest first.
//! 3. By number: `n` neighbours are a batch. By tokens: each record goes to the batch of its pool that it fills best
//!    (best fit, decreasing), or begins one.
//! 4. The batches, shuffled.
//!
//! Without it, records make batches in the order of step 1.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{DataError, Lengths};

/// Batches of a pool in which records are sorted: enough to fill batches well, few enough that an epoch stays mixed.
const POOL: usize = 32;

/// How many records a batch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    /// As many as have so many tokens together, at most.
    Tokens(usize),
    /// So many; fewer in the last one.
    Records(usize),
}

/// How records become batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanOptions {
    /// How many records a batch has.
    pub batching: Batching,
    /// Whether records of like lengths come together, and batches are filled well.
    pub group: bool,
    /// Whether the order is random; otherwise it is that of the data set, in every epoch.
    pub shuffle: bool,
    /// What the random order comes from.
    pub seed: u64,
}

impl Default for PlanOptions {
    /// One record a batch, shuffled by seed 0.
    fn default() -> Self {
        Self { batching: Batching::Records(1), group: false, shuffle: true, seed: 0 }
    }
}

/// The batches of one epoch: for each step, the indices of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlan {
    batches: Vec<Vec<usize>>,
}

impl BatchPlan {
    /// The batches of `epoch`.
    ///
    /// # Errors
    /// [`DataError::Batch`] for a record with more tokens than a batch takes, [`DataError::Option`] for batches of
    /// nothing, [`DataError::Empty`] without a sound record.
    pub fn new(lengths: &Lengths, options: &PlanOptions, epoch: u64) -> Result<Self, DataError> {
        let (Batching::Tokens(size) | Batching::Records(size)) = options.batching;
        if size == 0 {
            return Err(DataError::Option { name: "batch", value: "0".to_owned(), expected: "a positive number" });
        }
        let mut order: Vec<(usize, usize)> =
            (0..lengths.len()).filter_map(|record| Some((record, lengths.tokens(record)?))).collect();
        if order.is_empty() {
            return Err(DataError::Empty { files: "the data set (no sound record)".to_owned() });
        }
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        random.set_stream(epoch);
        if options.shuffle {
            order.shuffle(&mut random);
        }
        let mut batches = match (options.batching, options.group) {
            (Batching::Records(count), false) => cut(&order, count),
            (Batching::Records(count), true) => group(&mut order, count),
            (Batching::Tokens(limit), grouped) => {
                if let Some(&(record, tokens)) = order.iter().filter(|(_, tokens)| *tokens > limit).min() {
                    return Err(DataError::Batch { record, tokens, limit });
                }
                if grouped { pack(&mut order, limit) } else { fill(&order, limit) }
            }
        };
        if options.shuffle && options.group {
            batches.shuffle(&mut random);
        }
        Ok(Self { batches })
    }

    /// The share of node `index` of several, which take the batches of each step, `accumulate` of them, in turn: those
    /// of the others have no records here.
    pub fn share(&self, index: usize, nodes: usize, accumulate: usize) -> Self {
        let own = |batch: usize| batch % accumulate % nodes == index;
        let take = |(batch, records): (usize, &Vec<usize>)| if own(batch) { records.clone() } else { Vec::new() };
        Self { batches: self.batches.iter().enumerate().map(take).collect() }
    }

    /// Number of batches.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Never true: an epoch has a batch.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The records of a step, from 0.
    pub fn get(&self, step: usize) -> Option<&[usize]> {
        self.batches.get(step).map(Vec::as_slice)
    }

    /// The records of all steps.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[usize]> {
        self.batches.iter().map(Vec::as_slice)
    }
}

/// `count` records a batch, in order.
fn cut(order: &[(usize, usize)], count: usize) -> Vec<Vec<usize>> {
    order.chunks(count).map(|batch| batch.iter().map(|(record, _)| *record).collect()).collect()
}

/// As many records a batch as fit, in order.
fn fill(order: &[(usize, usize)], limit: usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut left = 0;
    for &(record, tokens) in order {
        match batches.last_mut() {
            Some(batch) if tokens <= left => batch.push(record),
            _ => {
                batches.push(vec![record]);
                left = limit;
            }
        }
        left -= tokens;
    }
    batches
}

/// `count` records of like lengths a batch.
fn group(order: &mut [(usize, usize)], count: usize) -> Vec<Vec<usize>> {
    let pools = order.chunks_mut(count.saturating_mul(POOL));
    pools.flat_map(|pool| cut(sort(pool), count)).collect()
}

/// As many records a batch as fill it best.
fn pack(order: &mut [(usize, usize)], limit: usize) -> Vec<Vec<usize>> {
    let mut batches = Vec::new();
    let mut rest = order;
    while !rest.is_empty() {
        let (pool, after) = rest.split_at_mut(count_pool(rest, limit));
        // What is left of each batch of the pool, with its number.
        let mut left = std::collections::BTreeSet::new();
        for &(record, tokens) in sort(pool) {
            let (batch, room) = match left.range((tokens, 0)..).next().copied() {
                Some((room, batch)) => {
                    left.remove(&(room, batch));
                    (batch, room)
                }
                None => {
                    batches.push(Vec::new());
                    (batches.len() - 1, limit)
                }
            };
            batches[batch].push(record);
            left.insert((room - tokens, batch));
        }
        rest = after;
    }
    batches
}

/// Records at the beginning of `order` that make [`POOL`] batches.
fn count_pool(order: &[(usize, usize)], limit: usize) -> usize {
    let room = limit.saturating_mul(POOL);
    let sums = order.iter().scan(0usize, |sum, (_, tokens)| {
        *sum = sum.saturating_add(*tokens);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= room).count().max(1)
}

/// Sorts a pool, the longest first, those of equal lengths in their order.
fn sort(pool: &mut [(usize, usize)]) -> &[(usize, usize)] {
    pool.sort_by_key(|(_, tokens)| std::cmp::Reverse(*tokens));
    pool
}

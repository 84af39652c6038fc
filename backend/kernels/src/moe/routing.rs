//! Which token goes to which expert.

use super::Gates;
use core::ops::Range;

/// Slots of one expert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) expert: usize,
    /// Where they are in [`Routing::slots`].
    pub(super) slots: Range<usize>,
}

/// The choice of experts: `top_k` slots a token, `slot = token · top_k + rank`.
#[derive(Debug, Clone)]
pub(super) struct Routing {
    /// The experts that were chosen, ascending.
    pub(super) groups: Vec<Group>,
    /// Slots, grouped by expert, ascending in each group.
    pub(super) slots: Vec<usize>,
    /// Where each slot is in `slots`.
    pub(super) places: Vec<usize>,
    /// Weight of each slot.
    pub(super) weights: Vec<f32>,
    /// Slots of a token.
    pub(super) top_k: usize,
}

impl Routing {
    /// The `top_k` largest of each row of probabilities, best first; of equal ones the first. NaN is as large as
    /// [`f32::total_cmp`] says: a row that has one makes NaN of its token in any case.
    pub(super) fn choose(gates: Gates<'_>, experts: usize) -> Self {
        let Gates { probabilities, top_k, normalize } = gates;
        let tokens = probabilities.len() / experts;
        let mut choices = Vec::with_capacity(tokens * top_k);
        let mut weights = Vec::with_capacity(tokens * top_k);
        for row in probabilities.chunks_exact(experts) {
            let first = choices.len();
            for (expert, probability) in row.iter().enumerate() {
                // Behind those that are not smaller: experts come in ascending order.
                let chosen = &choices[first..];
                let rank = chosen.iter().rposition(|&other: &usize| row[other].total_cmp(probability).is_ge());
                let rank = rank.map_or(0, |rank| rank + 1);
                if rank < top_k {
                    if chosen.len() == top_k {
                        choices.pop();
                    }
                    choices.insert(first + rank, expert);
                }
            }
            let chosen = choices[first..].iter().map(|&expert| row[expert]);
            let sum = if normalize { chosen.clone().sum() } else { 1.0f32 };
            weights.extend(chosen.map(|probability| probability / sum));
        }
        Self::group(&choices, weights, experts, top_k)
    }

    /// Groups slots by expert, in order.
    fn group(choices: &[usize], weights: Vec<f32>, experts: usize, top_k: usize) -> Self {
        let mut ends = vec![0; experts];
        for &expert in choices {
            ends[expert] += 1;
        }
        let mut groups = Vec::with_capacity(experts.min(choices.len()));
        let mut end = 0;
        for (expert, next) in ends.iter_mut().enumerate() {
            let start = end;
            end += *next;
            *next = start;
            if end > start {
                groups.push(Group { expert, slots: start..end });
            }
        }
        let (mut slots, mut places) = (vec![0; choices.len()], vec![0; choices.len()]);
        for (slot, &expert) in choices.iter().enumerate() {
            slots[ends[expert]] = slot;
            places[slot] = ends[expert];
            ends[expert] += 1;
        }
        Self { groups, slots, places, weights, top_k }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(probabilities: &[f32], experts: usize, top_k: usize, normalize: bool) -> Routing {
        Routing::choose(Gates { probabilities, top_k, normalize }, experts)
    }

    #[test]
    fn the_largest_are_chosen_and_ties_go_to_the_first() {
        let routing = choose(&[0.1, 0.4, 0.1, 0.4, 0.7, 0.1, 0.1, 0.1], 4, 2, false);
        let group = |expert, slots| Group { expert, slots };
        assert_eq!(routing.groups, [group(0, 0..1), group(1, 1..3), group(3, 3..4)]);
        assert_eq!(routing.slots, [2, 0, 3, 1]);
        assert_eq!(routing.places, [1, 3, 0, 2]);
        assert_eq!(routing.weights, [0.4, 0.4, 0.7, 0.1]);
    }

    /// As a stable sort by descending probability has them.
    #[test]
    fn ranks_are_those_of_a_sort() {
        for (experts, top_k) in [(1, 1), (7, 3), (7, 7), (64, 8)] {
            let draw = |i: usize| ((i * 2_654_435_761) >> 7 & 15) as f32 / 16.0;
            let row: Vec<f32> = (0..experts).map(draw).collect();
            let mut order: Vec<usize> = (0..experts).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            let routing = choose(&row, experts, top_k, false);
            for (rank, &expert) in order[..top_k].iter().enumerate() {
                let group = routing.groups.iter().find(|group| group.slots.contains(&routing.places[rank]));
                assert_eq!(group.map(|group| group.expert), Some(expert));
                assert_eq!(routing.weights[rank], row[expert]);
            }
        }
    }

    #[test]
    fn normalised_weights_sum_to_one_and_nan_stays() {
        assert_eq!(choose(&[0.25, 0.5, 0.25], 3, 2, true).weights, [2.0 / 3.0, 1.0 / 3.0]);
        let nan = choose(&[f32::NAN; 3], 3, 2, true);
        assert!(nan.weights.iter().all(|weight| weight.is_nan()) && nan.groups.len() == 2);
    }
}

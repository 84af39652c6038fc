//! Which expert sees which token, read back to the host.

use burn_tensor::{Int, Tensor, backend::Backend};

/// The choice of experts, on the host: `top_k` slots a token, `slot = token · top_k + rank`.
#[derive(Debug, Clone)]
pub(super) struct Routing {
    /// Slots of each chosen expert, ascending by expert.
    pub experts: Vec<(usize, Vec<usize>)>,
    /// Expert of each slot.
    pub choices: Vec<usize>,
    /// Slots a token.
    pub top_k: usize,
}

impl Routing {
    /// The `top_k` largest of each row of `probabilities`, `[tokens, experts]`; of equal ones the first.
    ///
    /// # Panics
    /// When there are fewer experts than slots, or the tensor cannot be read back.
    pub fn choose<B: Backend>(probabilities: Tensor<B, 2>, top_k: usize) -> Self {
        let [_, experts] = probabilities.dims();
        assert!(top_k <= experts, "a token cannot go to {top_k} of {experts} experts");
        let values: Vec<f32> = probabilities.into_data().iter::<f32>().collect();
        let mut choices = Vec::new();
        let mut slots = vec![Vec::new(); experts];
        let mut order: Vec<usize> = Vec::new();
        for row in values.chunks_exact(experts.max(1)) {
            order.clear();
            order.extend(0..experts);
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            for &expert in &order[..top_k] {
                slots[expert].push(choices.len());
                choices.push(expert);
            }
        }
        let experts = slots.into_iter().enumerate().filter(|(_, slots)| !slots.is_empty()).collect();
        Self { experts, choices, top_k }
    }

    /// Expert ids, `[tokens, top_k]`.
    pub fn to_ids<B: Backend>(&self, device: &B::Device) -> Tensor<B, 2, Int> {
        let tokens = self.choices.len().checked_div(self.top_k).unwrap_or(0);
        to_indices(self.choices.iter().copied(), device).reshape([tokens, self.top_k])
    }

    /// For each slot, where the outputs of the experts, one behind the other, have it.
    pub fn locate<B: Backend>(&self, device: &B::Device) -> Tensor<B, 1, Int> {
        let mut places = vec![0; self.choices.len()];
        let slots = self.experts.iter().flat_map(|(_, slots)| slots);
        for (place, &slot) in slots.enumerate() {
            places[slot] = place;
        }
        to_indices(places.into_iter(), device)
    }
}

/// Positions as a tensor.
pub(super) fn to_indices<B: Backend>(positions: impl Iterator<Item = usize>, device: &B::Device) -> Tensor<B, 1, Int> {
    let positions: Vec<i64> = positions.map(|position| position as i64).collect();
    Tensor::from_data(positions.as_slice(), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;

    #[test]
    fn the_largest_are_chosen_and_ties_go_to_the_first() {
        let device = Default::default();
        let probabilities = Tensor::<Flex, 2>::from_data([[0.1, 0.4, 0.1, 0.4], [0.7, 0.1, 0.1, 0.1]], &device);
        let routing = Routing::choose(probabilities, 2);
        assert_eq!(routing.choices, [1, 3, 0, 1]);
        assert_eq!(routing.experts, [(0, vec![2]), (1, vec![0, 3]), (3, vec![1])]);
        let places: Vec<i64> = routing.locate::<Flex>(&device).into_data().iter::<i64>().collect();
        assert_eq!(places, [1, 3, 0, 2]);
    }
}

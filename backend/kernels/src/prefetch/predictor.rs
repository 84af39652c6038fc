//! Which unit comes after which.

/// Learns the order in which units are requested.
///
/// For each unit it keeps the one that was requested after it the last time: layers repeat at each token, so that one
/// pass teaches all of the order, and a change of it (a picture before the text) costs one wrong guess at the place
/// where the orders part. Before a unit has been seen, the next one by number is expected: whoever makes the units
/// numbers them in the order that they should come in.
#[derive(Debug, Clone)]
pub struct Predictor {
    next: Vec<Option<usize>>,
    last: Option<usize>,
}

impl Predictor {
    /// For units `0..units`, none of them seen.
    pub fn new(units: usize) -> Self {
        Self { next: (1..=units).map(|next| (next < units).then_some(next)).collect(), last: None }
    }

    /// `unit` was requested. Says whether it was expected.
    pub fn observe(&mut self, unit: usize) -> bool {
        let slot = self.last.and_then(|last| self.next.get_mut(last));
        self.last = Some(unit);
        match slot {
            Some(slot) => slot.replace(unit) == Some(unit),
            None => false,
        }
    }

    /// The unit expected next; the same again, where it followed itself.
    pub fn following(&self) -> Option<usize> {
        self.next.get(self.last?).copied().flatten()
    }

    /// The units expected after the one requested last, nearest first, none of them twice.
    pub fn expect(&self) -> impl Iterator<Item = usize> + '_ {
        let mut left = self.next.len();
        let mut at = self.last;
        std::iter::from_fn(move || {
            at = self.next.get(at?).copied().flatten();
            // After as many steps as there are units, a cycle repeats itself.
            left = left.checked_sub(1)?;
            at.filter(|&unit| Some(unit) != self.last)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(predictor: &Predictor) -> Vec<usize> {
        predictor.expect().collect()
    }

    #[test]
    fn the_order_of_numbers_comes_first_and_the_seen_one_after() {
        let mut predictor = Predictor::new(4);
        assert!(expected(&predictor).is_empty());
        assert!(!predictor.observe(1));
        assert_eq!(expected(&predictor), [2, 3]);
        for (unit, was_expected) in [(3, false), (2, false), (1, false), (3, true), (2, true), (1, true)] {
            assert_eq!(predictor.observe(unit), was_expected, "{unit}");
        }
        assert_eq!(expected(&predictor), [3, 2]);
    }

    /// A cycle, left once and come back to: two wrong guesses.
    #[test]
    fn a_cycle_is_learned_in_one_pass() {
        let mut predictor = Predictor::new(6);
        let guesses =
            |predictor: &mut Predictor, order: &[usize]| order.iter().filter(|&&u| predictor.observe(u)).count();
        assert_eq!(guesses(&mut predictor, &[2, 3, 4, 5]), 3);
        assert_eq!(guesses(&mut predictor, &[2, 3, 4, 5]), 3);
        assert_eq!(guesses(&mut predictor, &[2, 3, 4, 5]), 4);
        assert_eq!(guesses(&mut predictor, &[0, 1, 2, 3, 4, 5, 2]), 5);
        assert_eq!(expected(&predictor), [3, 4, 5]);
    }

    #[test]
    fn one_unit_expects_nothing_else() {
        let mut predictor = Predictor::new(1);
        assert_eq!(predictor.following(), None);
        assert_eq!([0; 3].map(|unit| predictor.observe(unit)), [false, false, true]);
        assert!(expected(&predictor).is_empty());
        assert_eq!(predictor.following(), Some(0));
    }
}

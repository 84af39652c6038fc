//! The eleven colours that have plain names.

use rand::Rng;
use serde::{Deserialize, Serialize};

/// A basic colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Colour {
    Red,
    Orange,
    Yellow,
    Green,
    Blue,
    Purple,
    Pink,
    Brown,
    Black,
    White,
    Grey,
}

impl Colour {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Red,
        Self::Orange,
        Self::Yellow,
        Self::Green,
        Self::Blue,
        Self::Purple,
        Self::Pink,
        Self::Brown,
        Self::Black,
        Self::White,
        Self::Grey,
    ];

    /// Those in which a thing may be tinted: on shaded art the others look alike.
    pub const BRIGHT: [Self; 7] =
        [Self::Red, Self::Orange, Self::Yellow, Self::Green, Self::Blue, Self::Purple, Self::Pink];

    /// Those that a grey picture can have.
    pub const GREYS: [Self; 3] = [Self::Black, Self::White, Self::Grey];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Purple => "purple",
            Self::Pink => "pink",
            Self::Brown => "brown",
            Self::Black => "black",
            Self::White => "white",
            Self::Grey => "grey",
        }
    }

    /// The colour of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|colour| colour.name() == name)
    }

    /// Its typical red, green and blue.
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Self::Red => [214, 34, 38],
            Self::Orange => [246, 138, 20],
            Self::Yellow => [250, 220, 40],
            Self::Green => [44, 150, 60],
            Self::Blue => [40, 88, 214],
            Self::Purple => [130, 56, 176],
            Self::Pink => [250, 136, 186],
            Self::Brown => [122, 74, 38],
            Self::Black => [18, 18, 20],
            Self::White => [246, 246, 246],
            Self::Grey => [132, 132, 132],
        }
    }

    /// A tone near to the typical one. Grey, black and white stay without a hue.
    pub fn shade(self, rng: &mut impl Rng) -> [u8; 3] {
        let common = rng.random_range(-9..=9);
        self.rgb().map(|value| {
            let own = if Self::GREYS.contains(&self) { 0 } else { rng.random_range(-9..=9) };
            (i32::from(value) + common + own).clamp(0, 255) as u8
        })
    }

    /// The colour whose typical tone is nearest.
    pub fn nearest(rgb: [u8; 3]) -> Self {
        Self::ALL.into_iter().min_by_key(|colour| distance(colour.rgb(), rgb)).expect("there are eleven")
    }
}

/// How far two colours lie apart, 0 to about 765: the "redmean" approximation of how people see it.
pub fn distance(a: [u8; 3], b: [u8; 3]) -> u32 {
    let mean = (i64::from(a[0]) + i64::from(b[0])) / 2;
    let [r, g, bl] = std::array::from_fn(|c| (i64::from(a[c]) - i64::from(b[c])).pow(2));
    let squared = (((512 + mean) * r) >> 8) + 4 * g + (((767 - mean) * bl) >> 8);
    (squared as f64).sqrt() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_shade_is_nearest_to_its_own_colour() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for colour in Colour::ALL {
            assert_eq!(Colour::from_name(colour.name()), Some(colour));
            for _ in 0..200 {
                assert_eq!(Colour::nearest(colour.shade(&mut rng)), colour);
            }
        }
    }
}

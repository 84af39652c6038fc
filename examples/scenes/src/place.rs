//! Nine places of a picture: a grid of three by three.

use serde::{Deserialize, Serialize};

/// Where the middle of a thing's box lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Place {
    TopLeft,
    Top,
    TopRight,
    Left,
    Middle,
    Right,
    BottomLeft,
    Bottom,
    BottomRight,
}

impl Place {
    /// All of them, row by row.
    pub const ALL: [Self; 9] = [
        Self::TopLeft,
        Self::Top,
        Self::TopRight,
        Self::Left,
        Self::Middle,
        Self::Right,
        Self::BottomLeft,
        Self::Bottom,
        Self::BottomRight,
    ];

    /// The place as a caption says it.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::TopLeft => "at the top left",
            Self::Top => "at the top",
            Self::TopRight => "at the top right",
            Self::Left => "on the left",
            Self::Middle => "in the middle",
            Self::Right => "on the right",
            Self::BottomLeft => "at the bottom left",
            Self::Bottom => "at the bottom",
            Self::BottomRight => "at the bottom right",
        }
    }

    /// The place by itself: "the top left".
    pub fn noun(self) -> &'static str {
        let phrase = self.phrase();
        &phrase[3..]
    }

    /// Column and row of the grid, 0 to 2.
    pub fn cell(self) -> (u32, u32) {
        let number = self as u32;
        (number % 3, number / 3)
    }

    /// The place of a point in a picture of `width` x `height`.
    pub fn of(x: f32, y: f32, width: u32, height: u32) -> Self {
        let third = |value: f32, side: u32| ((value * 3.0 / side as f32) as usize).min(2);
        Self::ALL[third(y, height) * 3 + third(x, width)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_each_cell_is_at_its_place() {
        for place in Place::ALL {
            let (column, row) = place.cell();
            let middle = |cell: u32, side: f32| (cell as f32 + 0.5) * side / 3.0;
            assert_eq!(Place::of(middle(column, 90.0), middle(row, 60.0), 90, 60), place);
        }
        assert_eq!(Place::of(90.0, 60.0, 90, 60), Place::BottomRight);
        assert_eq!(Place::Left.noun(), "the left");
        assert_eq!(Place::Middle.noun(), "the middle");
    }
}

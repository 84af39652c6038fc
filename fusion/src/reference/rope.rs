//! Rotary position embedding.

use super::Array;

/// Rotates the pair `(x[i], x[i + d/2])` of each head by the angle of its position.
///
/// `x` `[batch, heads, length, d]`, `cos` and `sin` `[batch | 1, length, d/2]`.
pub fn rotate(x: &Array, cos: &Array, sin: &Array) -> Array {
    let [batch, heads, length, width] = x.shape[..] else {
        panic!("x has the shape {:?}, not [batch, heads, length, head_dim]", x.shape);
    };
    let half = width / 2;
    let mut y = x.clone();
    for index in 0..batch * heads * length {
        let (item, position) = (index / (heads * length), index % length);
        let angle = if cos.shape[0] == 1 { position } else { item * length + position };
        for pair in 0..half {
            let (cos, sin) = (cos.row(angle)[pair], sin.row(angle)[pair]);
            let (a, b) = (x.row(index)[pair], x.row(index)[pair + half]);
            y.row_mut(index)[pair] = a * cos - b * sin;
            y.row_mut(index)[pair + half] = b * cos + a * sin;
        }
    }
    y
}

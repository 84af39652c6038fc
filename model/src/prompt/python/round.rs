//! Jinja's `round`: Python's, which goes to the even neighbour where a number lies midway.

use minijinja::value::Value;
use minijinja::{Error, ErrorKind};

use super::arithmetic::Number;

/// The largest power of ten that is no infinity, and what has no more decimals.
const MOST_DIGITS: i32 = 308;
const LEAST_DIGITS: i32 = 323;

/// `value` rounded to `digits` decimals, fewer than none for tens and hundreds. `method`: `common`, `ceil` or `floor`.
///
/// # Errors
/// Another method, and what is no number.
pub(in crate::prompt) fn round_number(value: &Value, digits: i32, method: &str) -> Result<Value, Error> {
    let refuse = |reason: String| Error::new(ErrorKind::InvalidOperation, reason);
    let number = Number::read(value).ok_or_else(|| refuse(format!("round does not take {}", value.kind())))?;
    let up = match (method, number) {
        ("common", Number::Integer(number)) => {
            return Ok(i64::try_from(round_integer(number, digits)).map_or_else(|_| Value::from(number), Value::from));
        }
        ("common", Number::Float(number)) => return Ok(Value::from(round_float(number, digits))),
        ("ceil", _) => f64::ceil,
        ("floor", _) => f64::floor,
        _ => return Err(refuse("round: method must be common, ceil or floor".to_owned())),
    };
    let power = 10f64.powi(digits);
    let rounded = up(number.to_float() * power);
    match rounded.is_finite() {
        true => Ok(Value::from(rounded / power)),
        false => Err(refuse("round: the number is too large".to_owned())),
    }
}

fn round_integer(number: i128, digits: i32) -> i128 {
    let Some(power) = 10i128.checked_pow(digits.min(0).unsigned_abs()) else { return 0 };
    let (quotient, rest) = (number.div_euclid(power), number.rem_euclid(power));
    let up = rest > power - rest || rest == power - rest && quotient % 2 != 0;
    (quotient + i128::from(up)).saturating_mul(power)
}

fn round_float(number: f64, digits: i32) -> f64 {
    match digits {
        _ if !number.is_finite() || digits > LEAST_DIGITS => number,
        // The decimals of a float are finitely many, and written exactly.
        0.. => format!("{number:.0$}", digits as usize).parse().unwrap_or(number),
        _ if digits < -MOST_DIGITS => 0f64.copysign(number),
        _ => {
            let power = 10f64.powi(-digits);
            (number / power).round_ties_even() * power
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Python 3.11 has them.
    #[test]
    fn midway_goes_to_even() {
        for (number, digits, expected) in [
            (2.5, 0, 2.0),
            (3.5, 0, 4.0),
            (-2.5, 0, -2.0),
            (0.5, 0, 0.0),
            (2.675, 2, 2.67),
            (0.125, 2, 0.12),
            (0.375, 2, 0.38),
            (1e300, 5, 1e300),
            (250.0, -2, 200.0),
            (350.0, -2, 400.0),
            (1e22, 0, 1e22),
        ] {
            assert_eq!(round_float(number, digits), expected, "{number} {digits}");
        }
        for (number, digits, expected) in
            [(5, 0, 5), (5, 3, 5), (25, -1, 20), (35, -1, 40), (-25, -1, -20), (-26, -1, -30), (4, -50, 0)]
        {
            assert_eq!(round_integer(number, digits), expected, "{number} {digits}");
        }
    }
}

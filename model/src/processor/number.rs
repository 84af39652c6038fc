//! Numbers in messages, which come as numbers or as strings of them (`"sample_fps": "1"`).

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads a frame rate: any number, in range or not.
pub(super) fn read_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = match &value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.map(Some).ok_or_else(|| D::Error::custom(format!("expected a number, found {value}")))
}

/// Reads a count: a whole number that is not negative; `50176.0` is one.
pub(super) fn read_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    // Below 2^53, where every whole number is an f64.
    let whole = |number: f64| (0.0..9e15).contains(&number) && number.fract() == 0.0;
    let number = read_rate(deserializer)?;
    match number {
        None => Ok(None),
        Some(number) if whole(number) => Ok(Some(number as usize)),
        Some(number) => Err(D::Error::custom(format!("expected a whole number from 0, found {number}"))),
    }
}

/// Reads a list of counts.
pub(super) fn read_counts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<usize>>, D::Error> {
    let counts = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(None),
        Value::Array(counts) => counts,
        other => return Err(D::Error::custom(format!("expected a list of whole numbers, found {other}"))),
    };
    let read = |count| match read_count(count) {
        Ok(Some(count)) => Ok(count),
        Ok(None) => Err(D::Error::custom("expected a whole number from 0, found null")),
        Err(error) => Err(D::Error::custom(error)),
    };
    counts.into_iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// Reads a count that may have been computed from seconds and rates: a number that is not negative, rounded to the
/// nearest.
pub(super) fn read_total<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    match read_rate(deserializer)? {
        None => Ok(None),
        Some(number) if (0.0..9e15).contains(&number) => Ok(Some(number.round() as usize)),
        Some(number) => Err(D::Error::custom(format!("expected a number of frames, found {number}"))),
    }
}

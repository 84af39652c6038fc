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

//! `*`, `/`, `//`, `%` and `**` of numbers.
//!
//! Integers have 128 bits: what Python would compute beyond them is an error here. `//` rounds down and `%` has the
//! divisor's sign; a true quotient and a power with a negative exponent are floats.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// An operator that the engine doesn't compute by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prompt) enum Operator {
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    /// `%` with a tuple behind it, whose items a text takes one after the other.
    ModuloTuple,
    Power,
}

impl Operator {
    /// Reads what the rewritten template names it by.
    pub(in crate::prompt) fn read(name: &str) -> Option<Self> {
        Some(match name {
            "*" => Self::Multiply,
            "/" => Self::Divide,
            "//" => Self::FloorDivide,
            "%" => Self::Modulo,
            "%()" => Self::ModuloTuple,
            "**" => Self::Power,
            _ => return None,
        })
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::FloorDivide => "//",
            Self::Modulo | Self::ModuloTuple => "%",
            Self::Power => "**",
        }
    }

    /// The error for operands that it doesn't take.
    pub(in crate::prompt) fn refuse(self, left: &Value, right: &Value) -> Error {
        let undefined = left.is_undefined() || right.is_undefined();
        let kind = if undefined { ErrorKind::UndefinedError } else { ErrorKind::InvalidOperation };
        Error::new(kind, format!("`{}` does not take {} and {}", self.symbol(), left.kind(), right.kind()))
    }
}

/// A number as Python has it; `true` is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::prompt) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    /// Reads a number or a truth value; `None` for anything else, and for an integer beyond 128 bits.
    pub(in crate::prompt) fn read(value: &Value) -> Option<Self> {
        match value.kind() {
            ValueKind::Bool => Some(Self::Integer(value.is_true().into())),
            ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok().map(Self::Integer),
            ValueKind::Number => f64::try_from(value.clone()).ok().map(Self::Float),
            _ => None,
        }
    }

    /// The nearest float.
    pub(super) fn to_float(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    fn to_value(self) -> Value {
        match self {
            Self::Integer(number) => i64::try_from(number).map_or_else(|_| Value::from(number), Value::from),
            Self::Float(number) => Value::from(number),
        }
    }

    /// `self operator other`.
    ///
    /// # Errors
    /// A division by zero, and results that are no number or too large.
    pub(in crate::prompt) fn compute(self, operator: Operator, other: Self) -> Result<Value, Error> {
        let number = match (operator, self, other) {
            (Operator::Divide, a, b) => Self::Float(divide(a.to_float(), b.to_float())?),
            (Operator::Power, Self::Integer(a), Self::Integer(b @ 0..)) => Self::Integer(raise(a, b)?),
            (Operator::Power, a, b) => Self::Float(raise_float(a.to_float(), b.to_float())?),
            (Operator::Multiply, Self::Integer(a), Self::Integer(b)) => {
                Self::Integer(a.checked_mul(b).ok_or_else(too_large)?)
            }
            (Operator::Multiply, a, b) => Self::Float(a.to_float() * b.to_float()),
            (Operator::FloorDivide, Self::Integer(a), Self::Integer(b)) => {
                let quotient = a.checked_div(b).ok_or_else(|| if b == 0 { by_zero() } else { too_large() })?;
                let down = a % b != 0 && (a < 0) != (b < 0);
                Self::Integer(quotient - i128::from(down))
            }
            (Operator::FloorDivide, a, b) => Self::Float(divide_down(a.to_float(), b.to_float())?.0),
            (Operator::Modulo | Operator::ModuloTuple, Self::Integer(a), Self::Integer(b)) => {
                let rest = if b == -1 { 0 } else { a.checked_rem(b).ok_or_else(by_zero)? };
                Self::Integer(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
            }
            (Operator::Modulo | Operator::ModuloTuple, a, b) => Self::Float(divide_down(a.to_float(), b.to_float())?.1),
        };
        Ok(number.to_value())
    }
}

fn by_zero() -> Error {
    Error::new(ErrorKind::InvalidOperation, "division by zero")
}

fn too_large() -> Error {
    Error::new(ErrorKind::InvalidOperation, "the result has more than 128 bits")
}

fn divide(a: f64, b: f64) -> Result<f64, Error> {
    if b == 0.0 { Err(by_zero()) } else { Ok(a / b) }
}

/// The quotient rounded down and what is left, which has the sign of `b`.
fn divide_down(a: f64, b: f64) -> Result<(f64, f64), Error> {
    if b == 0.0 {
        return Err(by_zero());
    }
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest == 0.0 {
        rest = 0f64.copysign(b);
    } else if (rest < 0.0) != (b < 0.0) {
        rest += b;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return Ok((0f64.copysign(a / b), rest));
    }
    // The quotient is near an integer; which one the subtraction may have missed by rounding.
    let down = quotient.floor();
    Ok((if quotient - down > 0.5 { down + 1.0 } else { down }, rest))
}

fn raise(base: i128, exponent: i128) -> Result<i128, Error> {
    match base {
        0 | 1 if exponent > 0 => Ok(base),
        -1 => Ok(if exponent % 2 == 0 { 1 } else { -1 }),
        _ => u32::try_from(exponent).ok().and_then(|exponent| base.checked_pow(exponent)).ok_or_else(too_large),
    }
}

fn raise_float(base: f64, exponent: f64) -> Result<f64, Error> {
    if base == 0.0 && exponent < 0.0 {
        return Err(by_zero());
    }
    let power = base.powf(exponent);
    let given = base.is_finite() && exponent.is_finite();
    match power {
        power if given && power.is_nan() => {
            Err(Error::new(ErrorKind::InvalidOperation, "the result is no real number"))
        }
        power if given && power.is_infinite() => {
            Err(Error::new(ErrorKind::InvalidOperation, "the result is too large"))
        }
        power => Ok(power),
    }
}

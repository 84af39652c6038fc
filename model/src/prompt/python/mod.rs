//! What Python makes of values: their texts, products, `%` and `format`, JSON.
//!
//! Templates were written for Jinja2, whose expressions are Python's. Where the engine's own operators and filters give
//! another text (`1e+16`, `['a']`, `-7 // -2`, `'%.3g'`), these do; `tests/prompts/operators.rs` compares them with
//! Jinja2.

mod arithmetic;
mod braces;
mod float;
mod json;
mod padding;
mod percent;
mod round;
mod spec;
mod text;
mod tuple;
mod wrap;

pub(super) use arithmetic::{Number, Operator};
pub(super) use braces::format_braces;
pub(super) use json::format_json;
pub(super) use padding::{Side, fill_zeros, pad, split_right};
pub(super) use percent::{Arguments, format_percent};
pub(super) use round::round_number;
pub(super) use text::write_text;
pub(super) use tuple::Tuple;
pub(super) use wrap::{Wrapping, wrap_line};

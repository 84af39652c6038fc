//! Kiln on SM61, on paper: what a decoder layer of the 2B model launches there, beside what plain Burn launches, and
//! how long two cards need at least. Needs no card: the launches are recorded, NVIDIA's compilers say what fits a
//! multiprocessor.

pub mod cost;
pub mod layer;
pub mod record;
pub mod stream;

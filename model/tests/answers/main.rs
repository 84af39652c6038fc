//! From logits to tokens, text, thoughts, calls and boxes: one binary.

#[path = "../fixture/mod.rs"]
mod fixture;

mod continuations;
mod generation_config;
mod grounding;
mod sampling;
mod thoughts_and_tools;

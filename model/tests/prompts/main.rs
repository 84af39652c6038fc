//! From messages, pictures and videos to what the model takes: one binary.

#[path = "../case/mod.rs"]
mod case;
#[path = "../warnings/mod.rs"]
mod warnings;

mod animations;
mod measures;
mod metadata;
mod operators;
mod positions;
mod processor;
mod prompt;
mod settings;
mod templates;
mod videos;

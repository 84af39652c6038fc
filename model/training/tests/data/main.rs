//! From files of conversations to batches: one binary.

mod checks;
mod drawn;
mod files;
mod formats;
mod labels;
mod loading;
mod objects;
mod plans;
mod setup;

//! What planning gives and takes: every product three times, without plans, with plans, and with plans that were
//! measured.
//!
//! ```text
//! products.rs    which products, and how one runs
//! compare.rs     one product under the three settings in turn (A B C A B C)
//! table.rs       groups of products as rows, and each product that lost
//! args.rs        command line
//! ```

pub mod args;
pub mod compare;
pub mod products;
pub mod table;

/// A setting that has less than this share of the speed without plans has lost: less is what a round differs from the
/// next.
pub const LOST: f64 = 0.97;

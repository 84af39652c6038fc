//! What trains: parameters by the names that checkpoints have.
//!
//! A [`Selection`] is a list of rules, each a [`Part`] of the model or a pattern of names, with a learning rate and
//! weight decay of its own if need be; of several rules that name a parameter, the last one holds. [`Selection::apply`]
//! freezes what no rule names: frozen parameters get no gradient, and none is computed.

mod apply;
mod list;
mod part;
mod selection;

pub use apply::Trainable;
pub use list::{Parameter, list_parameters};
pub use part::Part;
pub use selection::{ParameterError, Rule, Selection, Target};

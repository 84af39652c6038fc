//! Tuples: lists that print in parentheses.

use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};

/// What `(a, b)` makes.
#[derive(Debug)]
pub(in crate::prompt) struct Tuple(pub(in crate::prompt) Vec<Value>);

impl Object for Tuple {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }
}

impl Tuple {
    /// The tuples of the pairs in a list.
    pub(in crate::prompt) fn from_pairs(pairs: &Value) -> Result<Value, minijinja::Error> {
        let pair = |pair: Value| Ok(Value::from_object(Self(pair.try_iter()?.collect())));
        pairs.try_iter()?.map(pair).collect::<Result<Vec<_>, minijinja::Error>>().map(Value::from)
    }
}

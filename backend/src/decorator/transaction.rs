//! Reading several tensors at once.

use crate::{Engine, Kiln};
use burn_backend::ExecutionError;
use burn_backend::ops::{TransactionOps, TransactionPrimitive, TransactionPrimitiveData};
use core::future::Future;

impl<B: Engine> TransactionOps<Self> for Kiln<B> {
    fn tr_execute(
        transaction: TransactionPrimitive<Self>,
    ) -> impl Future<Output = Result<TransactionPrimitiveData, ExecutionError>> + Send {
        let mut inner = TransactionPrimitive::<B>::default();
        inner.read_floats = transaction.read_floats;
        inner.read_qfloats = transaction.read_qfloats;
        inner.read_ints = transaction.read_ints;
        inner.read_bools = transaction.read_bools;
        B::tr_execute(inner)
    }
}

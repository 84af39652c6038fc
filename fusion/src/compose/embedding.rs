//! Rows of a table by id.

use crate::{FusedOps, KernelConfig, TrainingOps, Weight};
use burn_backend::DType;
use burn_tensor::{IndexingUpdateOp, Int, Tensor};

/// Default of [`FusedOps::embedding`].
pub fn embedding<B: FusedOps>(weight: &Weight<B>, ids: Tensor<B, 2, Int>, _config: &KernelConfig) -> Tensor<B, 3> {
    let [batch, length] = ids.dims();
    let table = weight.unpack();
    let hidden = table.dims()[1];
    if batch * length == 0 {
        return Tensor::zeros([batch, length, hidden], (&table.device(), DType::F32));
    }
    // Rows first, then the conversion: the table is large and few of its rows are selected.
    let rows = table.select(0, ids.reshape([batch * length])).cast(DType::F32);
    rows.reshape([batch, length, hidden])
}

/// Default of [`TrainingOps::embedding_backward`], f32.
pub fn embedding_backward<B: TrainingOps>(
    weight: &Weight<B>,
    ids: Tensor<B, 2, Int>,
    grad: Tensor<B, 3>,
    _config: &KernelConfig,
) -> Tensor<B, 2> {
    let [batch, length, hidden] = grad.dims();
    let [vocab, _] = weight.unpack().dims();
    let zeros = Tensor::zeros([vocab, hidden], (&grad.device(), grad.dtype()));
    if batch * length == 0 {
        return zeros;
    }
    let ids = ids.reshape([batch * length]);
    zeros.select_assign(0, ids, grad.reshape([batch * length, hidden]), IndexingUpdateOp::Add)
}

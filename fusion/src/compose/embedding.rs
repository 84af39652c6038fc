//! Rows of a table by id.

use super::rows::reshape;
use crate::{FusedOps, KernelConfig, RowGrads, TrainingOps, Weight};
use burn_backend::DType;
use burn_tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

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
    config: &KernelConfig,
) -> Tensor<B, 2> {
    let zeros = Tensor::zeros(weight.unpack().dims(), (&grad.device(), grad.dtype()));
    add_embedding_backward(zeros, ids, grad, config)
}

/// Default of [`TrainingOps::add_embedding_backward`].
pub fn add_embedding_backward<B: TrainingOps>(
    table: Tensor<B, 2>,
    ids: Tensor<B, 2, Int>,
    grad: Tensor<B, 3>,
    _config: &KernelConfig,
) -> Tensor<B, 2> {
    let [batch, length, hidden] = grad.dims();
    if batch * length == 0 {
        return table;
    }
    let (ids, grad) = (ids.reshape([batch * length]), grad.cast(table.dtype()));
    table.select_assign(0, ids, grad.reshape([batch * length, hidden]), IndexingUpdateOp::Add)
}

/// Default of [`TrainingOps::embedding_backward_rows`].
pub fn embedding_backward_rows<B: TrainingOps>(
    ids: Tensor<B, 2, Int>,
    grad: Tensor<B, 3>,
    _config: &KernelConfig,
) -> RowGrads<B> {
    let ([batch, length, hidden], device) = (grad.dims(), grad.device());
    let given: Vec<i64> = ids.into_data().iter().collect();
    let mut named = given.clone();
    named.sort_unstable();
    named.dedup();
    let mut rows = Tensor::zeros([named.len(), hidden], (&device, grad.dtype()));
    if !given.is_empty() {
        let places = given.iter().map(|id| named.partition_point(|named| named < id) as i64).collect();
        let places = Tensor::from_data(TensorData::new::<i64, _>(places, [batch * length]), &device);
        rows = rows.select_assign(0, places, reshape(grad, [batch * length, hidden]), IndexingUpdateOp::Add);
    }
    let count = named.len();
    RowGrads { ids: Tensor::from_data(TensorData::new(named, [count]), &device), rows }
}

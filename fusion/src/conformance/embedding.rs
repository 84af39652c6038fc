//! Embedding rows.

use super::case::{Case, Setting, check_case, check_output};
use super::compare::{reshape, upload_ids};
use super::{Sampler, Suite};
use crate::reference::{Array, embed};
use crate::{FusedOps, TrainingOps, Weight};
use burn_tensor::{DType, Int, Tensor};

/// Checks [`FusedOps::embedding`], that it gives f32 rows, and its gradient where ids repeat.
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    check_case(suite, &EmbeddingCase::new([2, 7], 5, 3));
    check_output(suite, &EmbeddingCase::new([3, 11], 67, 70));
    check_output(suite, &EmbeddingCase::new([1, 0], 5, 3));
    for &form in &suite.forms {
        let table = form.shape(Tensor::<B, 2>::zeros([4, 3], (&suite.device, DType::F32)), &suite.config);
        let ids = Tensor::<B, 2, Int>::zeros([1, 2], &suite.device);
        let rows = FusedOps::embedding(&table, ids, &suite.config);
        assert_eq!(rows.dtype(), DType::F32, "embedding rows of {form:?}");
    }
}

/// Operand: the table.
struct EmbeddingCase {
    shape: [usize; 2],
    ids: Vec<usize>,
    operands: [Array; 1],
}

impl EmbeddingCase {
    fn new(shape: [usize; 2], vocab: usize, hidden: usize) -> Self {
        let mut sampler = Sampler::new(9);
        let ids = sampler.draw_ids(shape[0] * shape[1], vocab);
        Self { shape, ids, operands: [sampler.draw(&[vocab, hidden])] }
    }

    fn build<B: TrainingOps>(&self, table: &Tensor<B, 1>, setting: &Setting<'_>) -> (Weight<B>, Tensor<B, 2, Int>) {
        let [vocab, hidden] = [self.operands[0].rows(), self.operands[0].width()];
        let ids: Vec<i64> = self.ids.iter().map(|&id| id as i64).collect();
        let ids = upload_ids(&ids, self.shape, &table.device());
        (setting.form.shape(reshape(table.clone(), [vocab, hidden]), setting.config), ids)
    }
}

impl Case for EmbeddingCase {
    fn describe(&self) -> String {
        format!("embedding of {:?} from {:?}", self.shape, self.operands[0].shape)
    }

    fn operands(&self) -> &[Array] {
        &self.operands
    }

    fn expect(&self, operands: &[Array]) -> Array {
        embed(&operands[0], &self.ids)
    }

    fn run<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Tensor<B, 1> {
        let (table, ids) = self.build(&operands[0], setting);
        FusedOps::embedding(&table, ids, setting.config).flatten(0, 2)
    }

    fn run_backward<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        grad: Tensor<B, 1>,
        setting: &Setting<'_>,
    ) -> Vec<Option<Tensor<B, 1>>> {
        let (table, ids) = self.build(&operands[0], setting);
        let grad = reshape(grad, [self.shape[0], self.shape[1], self.operands[0].width()]);
        vec![Some(TrainingOps::embedding_backward(&table, ids, grad, setting.config).flatten(0, 1))]
    }
}

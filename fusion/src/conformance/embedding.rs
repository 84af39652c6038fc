//! Embedding rows.

use super::case::{Case, Setting, check_case, check_output};
use super::compare::{assert_close, reshape, upload_ids, upload_shaped};
use super::{Sampler, Suite, WeightForm};
use crate::reference::{Array, embed};
use crate::{FusedOps, TrainingOps, Weight};
use burn_autodiff::Autodiff;
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
    check_tied(suite);
}

/// A table that is an embedding and a head: its gradient is the sum of both, whichever is on the tape first.
fn check_tied<B: TrainingOps>(suite: &Suite<B>) {
    let case = EmbeddingCase::new([2, 7], 5, 3);
    let mut sampler = Sampler::new(10);
    let (grad, head_grad) = (sampler.draw(&[2, 7, 3]), sampler.draw(&[5, 3]));
    let mut expected = head_grad.clone();
    for (id, row) in case.ids.iter().zip(grad.data.chunks(3)) {
        expected.data[id * 3..(id + 1) * 3].iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    let setting = Setting { config: &suite.config, form: WeightForm::Plain(DType::F32) };
    let [added, rows] = [0, 1].map(|_| upload_shaped::<B, 2>(&head_grad, &suite.device));
    let (_, ids) = case.build::<B>(&rows.flatten(0, 1), &setting);
    let found = B::add_embedding_backward(added, ids, upload_shaped(&grad, &suite.device), &suite.config);
    assert_close("add_embedding_backward", found, &expected, suite.tolerance.gradient);

    type Tape<B> = Autodiff<B>;
    for is_head_first in [false, true] {
        let leaf = upload_shaped::<Tape<B>, 2>(&case.operands[0], &suite.device).require_grad();
        let (weight, ids) = case.build::<Tape<B>>(&leaf.clone().flatten(0, 1), &setting);
        let head = |weight: &Weight<Tape<B>>| (weight.unpack() * upload_shaped(&head_grad, &suite.device)).sum();
        let first = is_head_first.then(|| head(&weight));
        let rows = FusedOps::embedding(&weight, ids, &suite.config);
        let embedded = (rows * upload_shaped(&grad, &suite.device)).sum();
        let loss = embedded + first.unwrap_or_else(|| head(&weight));
        let found = leaf.grad(&loss.backward()).expect("a leaf that is trained");
        assert_close(
            &format!("tied embedding, head first: {is_head_first}"),
            found,
            &expected,
            suite.tolerance.gradient,
        );
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

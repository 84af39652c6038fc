//! The moments of a step, and the largest of them.

use super::cost::{self, LayerCost};
use super::model::ModelSizes;
use super::table::PlanRow;
use super::{ALLOWANCE, PlanRequest};
use crate::step::{Keep, LayerPlan};

/// One moment of a step: what there is beside weights, gradients and moments.
#[derive(Debug, Clone)]
struct Moment {
    /// What happens.
    name: String,
    /// What layers keep, bytes.
    kept: u64,
    /// Temporaries, bytes.
    working: u64,
}

impl Moment {
    fn bytes(&self) -> u64 {
        self.kept + self.working
    }
}

/// All moments of a step.
#[derive(Debug)]
pub(super) struct Timeline {
    weights: u64,
    gradients: u64,
    moments: [u64; 2],
    /// The largest moment.
    largest: Moment,
}

impl Timeline {
    pub fn run(sizes: &ModelSizes, request: &PlanRequest, plan: &LayerPlan) -> Self {
        let mut moments = Vec::new();
        let mut push = |name: String, kept, working| moments.push(Moment { name, kept, working });
        let hidden = 4 * (request.batch.tokens * sizes.text.hidden_size) as u64;
        let mergers = LayerCost::mergers(sizes, request);
        let mut kept = if sizes.mergers { mergers.tape } else { 0 };
        // Features and DeepStack features are there until the decoder has added them.
        let features = {
            let merge = sizes.vision.spatial_merge_size;
            let rows = (request.batch.patches / (merge * merge).max(1)) * sizes.vision.out_hidden_size;
            4 * (rows * (1 + sizes.vision.deepstack_visual_indexes.len())) as u64
        };
        let pixels = 4 * (request.batch.patches * sizes.vision.patch_dim()) as u64;
        kept += pixels;
        let blocks: Vec<_> = sizes.blocks.iter().map(|block| LayerCost::vision(sizes, block, request)).collect();
        let layers: Vec<_> = sizes.layers.iter().map(|layer| LayerCost::text(sizes, layer, request)).collect();
        let stays = |recorded: bool, keep: Keep, cost: &LayerCost| match (recorded, keep) {
            (false, _) => 0,
            (true, Keep::Tape) => cost.tape,
            (true, Keep::Input) => cost.input,
        };
        let runs = |recorded: bool, keep: Keep, cost: &LayerCost| match (recorded, keep) {
            (true, Keep::Tape) => cost.plain.saturating_sub(cost.tape),
            _ => cost.plain,
        };
        let mut after_blocks = Vec::new();
        for (index, cost) in blocks.iter().enumerate() {
            let (recorded, keep) = (sizes.blocks[index].recorded, plan.vision[index]);
            after_blocks.push(kept);
            kept += stays(recorded, keep, cost);
            push(format!("block {index}"), kept, features + runs(recorded, keep, cost) + mergers.plain);
        }
        let mut after_layers = Vec::new();
        for (index, cost) in layers.iter().enumerate() {
            let (recorded, keep) = (sizes.layers[index].recorded, plan.text[index]);
            after_layers.push(kept);
            kept += stays(recorded, keep, cost);
            push(format!("layer {index}"), kept, features + hidden + runs(recorded, keep, cost));
        }
        push("loss".to_owned(), kept, features + 2 * hidden + cost::loss(sizes, request, plan.loss_chunk));
        // Gradients of the features are there from the layers that they were added to until the tower takes them.
        let wanted = if sizes.mergers { features } else { 0 };
        let again = |keep: Keep, cost: &LayerCost| match keep {
            Keep::Tape => cost.backward,
            Keep::Input => cost.backward + cost.tape - cost.input,
        };
        for (index, cost) in layers.iter().enumerate().filter(|(index, _)| sizes.layers[*index].recorded) {
            let keep = plan.text[index];
            let kept = after_layers[index] + stays(true, keep, cost);
            push(format!("layer {index} in reverse"), kept, wanted + 2 * hidden + again(keep, cost));
        }
        for (index, cost) in blocks.iter().enumerate().filter(|(index, _)| sizes.blocks[*index].recorded) {
            let keep = plan.vision[index];
            let kept = after_blocks[index] + stays(true, keep, cost);
            push(format!("block {index} in reverse"), kept, wanted + mergers.backward + again(keep, cost));
        }
        for moment in &mut moments {
            let allowed = |bytes: u64| (bytes as f64 * (1.0 + ALLOWANCE)) as u64;
            (moment.kept, moment.working) = (allowed(moment.kept), allowed(moment.working));
        }
        moments.push(Moment { name: "update".to_owned(), kept: 0, working: cost::update(sizes) });
        let first = Moment { name: String::new(), kept: 0, working: 0 };
        let largest = moments.into_iter().fold(first, |a, b| if b.bytes() > a.bytes() { b } else { a });
        Self {
            weights: sizes.all.weights,
            gradients: cost::gradients(sizes, request),
            moments: cost::moments(sizes),
            largest,
        }
    }

    /// Bytes of the largest moment, with what is always there.
    pub fn total(&self) -> u64 {
        self.rows().iter().map(|row| row.bytes).sum()
    }

    pub fn rows(&self) -> Vec<PlanRow> {
        let Moment { name, kept, working } = &self.largest;
        let row = |name: &str, bytes| PlanRow { name: name.to_owned(), bytes };
        let [moments, masters] = self.moments;
        [
            row("weights", self.weights),
            row("gradients", self.gradients),
            row("moments", moments),
            row("f32 copies of weights", masters),
            row("kept by layers", *kept),
            row(&format!("working memory ({name})"), *working),
        ]
        .into_iter()
        .filter(|row| row.bytes > 0)
        .collect()
    }
}

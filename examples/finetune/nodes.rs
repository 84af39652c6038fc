//! Training together with other machines.

use crate::args::NodeArgs;
use crate::recipe::Recipe;
use kiln_examples::Error;
use qwen3_vl_train::run::Trainer;

/// Lets a run take its steps together with those of other nodes, once it is certain that they are of the same recipe.
///
/// # Errors
/// [`Error::Run`] for addresses that cannot be used, nodes that are not there, and nodes that differ;
/// [`Error::Finetune`] where the program was built without this.
#[cfg(feature = "distributed")]
pub fn join<B: burn_kiln_fusion::TrainingOps>(
    trainer: Trainer<B>,
    args: &NodeArgs,
    recipe: &Recipe,
) -> Result<Trainer<B>, Error> {
    use kiln_examples::note;
    use qwen3_vl_train::distributed::{DistributedError, Group, HostPort, NodeOptions};
    use qwen3_vl_train::run::RunError;
    use std::time::Duration;

    let (Some(index), Some(nodes), Some(orchestrator)) = (args.node, args.nodes, &args.orchestrator) else {
        return Ok(trainer);
    };
    let failed = |error: DistributedError| Error::Run(RunError::from(error));
    let options = NodeOptions {
        index,
        nodes,
        orchestrator: orchestrator.parse().map_err(failed)?,
        listen: args.listen.as_deref().map(str::parse::<HostPort>).transpose().map_err(failed)?,
        timeout: Duration::from_secs(u64::from(args.node_timeout)),
    };
    if !recipe.options.accumulate.is_multiple_of(nodes.max(1) as usize) {
        let accumulate = recipe.options.accumulate;
        let reason = format!("--accumulate is {accumulate}: it must be a multiple of --nodes, {nodes}");
        return Err(Error::Finetune { reason });
    }
    let mut group = Group::join(options, trainer.model().device()).map_err(failed)?;
    note!("node {index} of {nodes} waits for the others at {orchestrator}");
    let state = trainer.state();
    let place = format!("step {}, epoch {}, batch {}, pass {}", state.step, state.epoch, state.batch, state.passes);
    group.agree(&recipe.shared(), "what is trained, or on which data").map_err(failed)?;
    group.agree(&place, "the step that it goes on from").map_err(failed)?;
    Ok(trainer.with_group(group)?)
}

/// As above, without the feature.
///
/// # Errors
/// [`Error::Finetune`] where other nodes are asked for.
#[cfg(not(feature = "distributed"))]
pub fn join<B: burn_kiln_fusion::TrainingOps>(
    trainer: Trainer<B>,
    args: &NodeArgs,
    _recipe: &Recipe,
) -> Result<Trainer<B>, Error> {
    if args.node.is_some() {
        let reason = "--node needs a program built with the feature `distributed`: cargo run --release --example \
                      finetune --features distributed -- ..";
        return Err(Error::Finetune { reason: reason.into() });
    }
    Ok(trainer)
}

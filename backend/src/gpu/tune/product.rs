//! Products by their measured strategy.

use super::{
    Choice, Class,
    files::{choose, recall},
    is_on,
};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    KernelConfig,
    cube::{
        CubeError,
        product::{self, Call, ProductClass, Strategy, list_rivals},
    },
};

/// [`product::multiply`] by the strategy that is the fastest, where the configuration asks for it.
pub(in crate::gpu) fn multiply<R: CubeRuntime>(
    call: &Call<'_, R>,
    config: &KernelConfig,
) -> Result<Vec<CubeTensor<R>>, CubeError> {
    if !is_on(config) {
        return product::multiply(call);
    }
    let run = |strategy| product::multiply(&with_strategy(call, strategy)).map(drop);
    let rivals = || Ok(list_rivals(call)?.into_iter().map(|strategy| (strategy, Choice::Product(strategy))).collect());
    let class = Class::Product(ProductClass::of(call)?);
    let choice = choose::<R, Strategy>(&call.x.device, class, config, rivals, &run)?;
    match choice {
        Choice::Product(strategy) if strategy != Strategy::Auto => {
            // Calls of a class may differ in what they need: the usual strategy takes them all.
            product::multiply(&with_strategy(call, strategy)).or_else(|_| product::multiply(call))
        }
        _ => product::multiply(call),
    }
}

/// The strategy that [`multiply`] would take, if it is known.
pub(in crate::gpu) fn find_product<R: CubeRuntime>(call: &Call<'_, R>, config: &KernelConfig) -> Strategy {
    let known = || recall::<R>(&call.x.device, &Class::Product(ProductClass::of(call).ok()?));
    match is_on(config).then(known).flatten() {
        Some(Choice::Product(strategy)) => strategy,
        _ => Strategy::Auto,
    }
}

fn with_strategy<'a, R: CubeRuntime>(call: &Call<'a, R>, strategy: Strategy) -> Call<'a, R> {
    Call { strategy, layers: call.layers.clone(), ..*call }
}

//! Measuring strategies by CubeCL's autotune benchmark.

use burn_cubecl::{
    CubeRuntime,
    cubecl::{
        client::ComputeClient,
        future::block_on,
        tune::{CloneInputGenerator, KeyGenerator, Tunable, TunableSet, TuneInputs, tune_benchmark},
    },
};
use burn_kiln_fusion::cube::CubeError;
use core::{fmt::Debug, marker::PhantomData};

/// A strategy must be faster than the usual one by this much: less is noise.
const GAIN: f64 = 1.05;

/// What every candidate gets: the call, which runs under a strategy.
struct Run<S>(PhantomData<S>);

/// The call, run under the strategy that it is given.
pub(super) type Call<'a, S> = &'a (dyn Fn(S) -> Result<(), CubeError> + Sync);

/// The set's key, which nothing is looked up by: it holds the rivals of one class.
struct NoKey;

impl<S: Send + Sync + 'static> KeyGenerator<String, Run<S>> for NoKey {
    fn generate(&self, _: &Call<'_, S>) -> String {
        String::new()
    }
}

impl<S: Send + Sync + 'static> TuneInputs for Run<S> {
    type At<'a> = Call<'a, S>;
}

/// The index of the fastest of `strategies`, the first of which is the usual one: it stays unless another is faster by
/// [`GAIN`]. One that fails is never chosen.
pub(super) fn measure<R: CubeRuntime, S: Copy + Debug + Send + Sync + 'static>(
    client: &ComputeClient<R>,
    strategies: &[S],
    run: Call<'_, S>,
) -> usize {
    // The benchmark drops the errors of launches before it: they are said here.
    if let Err(error) = client.flush() {
        tracing::error!(%error, "launches before a measurement failed");
    }
    let mut set = TunableSet::<String, Run<S>, ()>::new(NoKey, CloneInputGenerator);
    for &strategy in strategies {
        let candidate = move |run: Call<'_, S>| run(strategy).map_err(|error| error.to_string());
        set = set.with(Tunable::new(&format!("{strategy:?}"), candidate));
    }
    let seconds: Vec<f64> = set
        .autotunables()
        .map(|candidate| match tune_benchmark(candidate, run, client.clone()) {
            Ok(runs) => median(runs.into_iter().map(|run| block_on(run.resolve()).duration().as_secs_f64()).collect()),
            Err(error) => {
                tracing::debug!(?error, "a candidate does not run");
                f64::INFINITY
            }
        })
        .collect();
    tracing::debug!(?strategies, ?seconds, "measured");
    let best = (0..seconds.len()).min_by(|&i, &j| seconds[i].total_cmp(&seconds[j])).unwrap_or(0);
    if seconds[0] > GAIN * seconds[best] { best } else { 0 }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::INFINITY)
}

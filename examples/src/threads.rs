//! How many threads a program runs on.

use crate::{Error, note};
use kiln_kernels::Cores;
use std::num::NonZero;
use std::thread::available_parallelism;

/// The most threads for each core. More only wait for each other: 4000 on two cores took half a minute over what takes
/// a second, and 65535 did not get anywhere.
const A_CORE: usize = 8;

/// A pool of so many threads; as many as `RAYON_NUM_THREADS` says, or one for each physical core, where no number is
/// given. More than eight for each logical CPU are cut to that, with a warning.
///
/// # Errors
/// [`Error::Threads`] where the system starts no more threads.
pub(crate) fn start_pool(threads: Option<usize>) -> Result<rayon::ThreadPool, Error> {
    let (name, wanted) = match threads {
        Some(threads) => ("--threads", threads),
        None => {
            let wanted = read_env("RAYON_NUM_THREADS").filter(|&threads| threads > 0);
            ("RAYON_NUM_THREADS", wanted.unwrap_or_else(|| Cores::detect().count))
        }
    };
    let cores = available_parallelism().map_or(1, NonZero::get);
    let most = cores * A_CORE;
    let threads = wanted.min(most);
    if threads < wanted {
        note!("warning: {name} {wanted}: {threads} threads are started, {A_CORE} for each of the {cores} cores");
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|error| Error::Threads { threads, reason: error.to_string() })
}

fn read_env(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

//! The seeds of the fuzzers, replayed and damaged, on a stable compiler: no input panics, and none takes much memory.

mod counting;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use counting::measure_peak;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Most bytes that an input may take besides itself.
const LIMIT: usize = 64 << 20;
/// Damaged inputs for each seed, if there is time.
const DAMAGED: usize = 40;
/// Time for the damaged inputs of one target.
const TIME: Duration = Duration::from_millis(2500);

/// Whether anything but the template engine has panicked, caught or not.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The seeds of a target: name and bytes, in the order of their names.
fn read_seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

/// Runs a target; says which input was too much for it, where it could be run again.
fn run(target: targets::Target, what: &str, input: &[u8]) {
    let mut outcome = Ok(());
    let peak = measure_peak(|| outcome = catch_unwind(|| target(input)));
    let panicked = outcome.is_err() || PANICKED.load(Relaxed);
    if panicked || peak > LIMIT + input.len() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz-input");
        fs::write(&path, input).unwrap();
        let how = if panicked { "panics".to_owned() } else { format!("takes {peak} bytes") };
        panic!("{what} {how}; the input is in {}", path.display());
    }
}

/// Damages `input` as files are damaged: bytes flipped, the end missing, parts missing, doubled, or from another file.
fn damage(input: &[u8], other: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut damaged = input.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=damaged.len());
        let end = random.random_range(at..=damaged.len().min(at + 64));
        match random.random_range(0..7) {
            0 => damaged.truncate(at),
            1 => drop(damaged.drain(at..end)),
            2 => {
                let part = damaged[at..end].to_vec();
                damaged.splice(at..at, part);
            }
            3 if !other.is_empty() => {
                let from = random.random_range(0..other.len());
                let part = other[from..other.len().min(from + 64)].to_vec();
                damaged.splice(at..end, part);
            }
            4 => damaged.splice(at..end, random.random::<u64>().to_le_bytes()).for_each(drop),
            _ if at < damaged.len() => damaged[at] ^= 1 << random.random_range(0..8),
            _ => {}
        }
    }
    damaged
}

// One test, so that no other test's allocations are counted.
#[test]
fn no_seed_panics_or_takes_much_memory() {
    targets::watch_panics(|| PANICKED.store(true, Relaxed));
    let mut damaged = 0;
    for (name, target) in targets::TARGETS {
        let seeds = read_seeds(name);
        assert!(seeds.len() >= 15, "{name}: {} seeds", seeds.len());
        for (seed, input) in &seeds {
            run(target, &format!("{name}/{seed}"), input);
        }
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let start = Instant::now();
        for round in 0..DAMAGED {
            for (seed, input) in &seeds {
                if start.elapsed() > TIME {
                    break;
                }
                let other = &seeds[random.random_range(0..seeds.len())].1;
                run(target, &format!("{name}/{seed}, damaged in round {round},"), &damage(input, other, &mut random));
                damaged += 1;
            }
        }
        assert!(start.elapsed() < 4 * TIME, "{name}: one input took {:?}", start.elapsed());
    }
    eprintln!("{damaged} damaged inputs");
    assert!(damaged > 400, "only {damaged} damaged inputs in the time");
}

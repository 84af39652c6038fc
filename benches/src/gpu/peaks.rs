//! What the card can do at most, by kernels that do nothing else.

use super::engine::{Queued, Wait};
use super::work::Work;
use crate::measure::{Effort, Engine, Failure, interleave, median};
use burn_cubecl::CubeRuntime;
use cubecl::{client::ComputeClient, prelude::*, server::Handle};
use serde::Serialize;

/// Units of a cube.
const UNITS: u32 = 256;

/// Cubes that a multiprocessor runs at once: 2,048 units, of which every NVIDIA card since Kepler holds as many or
/// fewer.
const CUBES_A_MULTIPROCESSOR: u32 = 8;

/// Multiprocessors where the driver does not tell.
const MULTIPROCESSORS: u32 = 64;

/// Chains of multiply-adds of a unit that don't wait for each other: with four warps a scheduler or more, enough for a
/// latency of 4 to 6 cycles.
const CHAINS: usize = 8;

/// Elements of a load: 16 bytes.
const VECTOR: usize = 4;

/// What the card can do at most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Peaks {
    /// Reading, GB/s.
    pub read: f64,
    /// Copying, GB/s, read and written.
    pub copy: f64,
    /// Multiply-adds of f32 outside of tensor cores, GFLOP/s.
    pub fma: f64,
    /// Seconds that the host takes to launch a kernel, of many that are enqueued.
    pub launch: f64,
    /// Seconds of a launch that is waited for.
    pub round_trip: f64,
}

impl Peaks {
    /// In one line.
    pub fn describe(&self) -> String {
        let Self { read, copy, fma, launch, round_trip } = self;
        let [launch, round_trip] = [launch, round_trip].map(|seconds| 1e6 * seconds);
        format!(
            "limits: read {read:.0} GB/s, copy {copy:.0} GB/s, multiply-adds of f32 {fma:.0} GFLOP/s; a launch takes {launch:.1} µs of the host, one that \
             is waited for {round_trip:.1} µs"
        )
    }

    /// The better of both, of each.
    pub fn merge(self, other: Self) -> Self {
        Self {
            read: self.read.max(other.read),
            copy: self.copy.max(other.copy),
            fma: self.fma.max(other.fma),
            launch: self.launch.min(other.launch),
            round_trip: self.round_trip.min(other.round_trip),
        }
    }
}

/// Adds up everything.
#[cube(launch)]
fn read_all<N: Size>(x: &Array<Vector<f32, N>>, y: &mut Array<Vector<f32, N>>, vectors: usize, units: usize) {
    let mut sum = Vector::<f32, N>::new(0.0f32);
    for i in range_stepped(ABSOLUTE_POS, vectors, units) {
        sum += x[i];
    }
    y[ABSOLUTE_POS] = sum;
}

/// Copies everything.
#[cube(launch)]
fn copy_all<N: Size>(x: &Array<Vector<f32, N>>, y: &mut Array<Vector<f32, N>>, vectors: usize, units: usize) {
    for i in range_stepped(ABSOLUTE_POS, vectors, units) {
        y[i] = x[i];
    }
}

/// `turns` multiply-adds in each of [`CHAINS`] chains. `y` gets their sum, so that none is left out.
#[cube(launch)]
fn multiply_add(y: &mut Array<f32>, turns: usize, factor: f32) {
    let mut chains = Array::<f32>::new(CHAINS);
    #[unroll]
    for i in 0..CHAINS {
        chains[i] = factor * f32::cast_from(ABSOLUTE_POS + i);
    }
    for _turn in 0..turns {
        #[unroll]
        for i in 0..CHAINS {
            chains[i] = fma(chains[i], factor, 1.0f32);
        }
    }
    let mut sum = 0.0f32;
    #[unroll]
    for i in 0..CHAINS {
        sum += chains[i];
    }
    y[ABSOLUTE_POS] = sum;
}

/// How much the kernels do in a launch.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Bytes that are read, and copied half as many each way.
    pub bytes: usize,
    /// Multiply-adds of a chain.
    pub turns: usize,
}

/// A device's buffers for the kernels.
struct Gauge<R: CubeRuntime> {
    client: ComputeClient<R>,
    cubes: u32,
    amount: Amount,
    x: Handle,
    y: Handle,
}

impl<R: CubeRuntime> Gauge<R> {
    fn units(&self) -> usize {
        (self.cubes * UNITS) as usize
    }

    /// Vectors of half of the bytes.
    fn half(&self) -> usize {
        self.amount.bytes / (2 * VECTOR * size_of::<f32>())
    }

    /// The kernel over so many vectors of `x`.
    fn stream(&self, vectors: usize, copies: bool) -> Work {
        let (client, cubes, units) = (self.client.clone(), CubeCount::new_1d(self.cubes), self.units());
        let (x, y) = (self.x.clone(), self.y.clone());
        let outputs = if copies { vectors } else { units };
        Box::new(move |_| {
            // SAFETY: `x` has `amount.bytes`, which `vectors` does not exceed; `y` has at least half of them, and a
            // vector a unit.
            let [x, y] = [(&x, vectors), (&y, outputs)]
                .map(|(handle, vectors)| unsafe { ArrayArg::from_raw_parts(handle.clone(), vectors) });
            let launch = if copies { copy_all::launch::<R> } else { read_all::launch::<R> };
            launch(&client, cubes.clone(), CubeDim::new_1d(UNITS), VECTOR, x, y, vectors, units);
        })
    }

    /// Multiply-adds by `cubes` cubes.
    fn compute(&self, cubes: u32, turns: usize) -> Work {
        let (client, y, units) = (self.client.clone(), self.y.clone(), (cubes * UNITS) as usize);
        Box::new(move |_| {
            // SAFETY: `y` has a vector a unit of all cubes, and `cubes` are no more.
            let y = unsafe { ArrayArg::from_raw_parts(y.clone(), units) };
            multiply_add::launch::<R>(&client, CubeCount::new_1d(cubes), CubeDim::new_1d(UNITS), y, turns, 0.5f32);
        })
    }
}

/// Measures them, in turn.
///
/// # Errors
/// What the device reports.
pub fn measure<R: CubeRuntime>(
    client: &ComputeClient<R>,
    wait: &Wait,
    amount: Amount,
    effort: Effort,
) -> Result<Peaks, Failure> {
    let multiprocessors = client.properties().hardware.num_streaming_multiprocessors.unwrap_or(MULTIPROCESSORS);
    let cubes = multiprocessors * CUBES_A_MULTIPROCESSOR;
    let least = (cubes * UNITS) as usize * VECTOR * size_of::<f32>();
    let amount = Amount { bytes: amount.bytes.max(2 * least), ..amount };
    let zeros = client.create_from_slice(&vec![0u8; amount.bytes]);
    let gauge = Gauge { client: client.clone(), cubes, amount, x: zeros, y: client.empty(amount.bytes / 2) };
    let engine = |name, work| -> Box<dyn Engine> { Box::new(Queued::new(name, work, 1, wait)) };
    let waited = {
        let (mut launch, wait) = (gauge.compute(1, 1), wait.clone());
        Box::new(move |set| {
            launch(set);
            // A failure is told by the wait behind the calls.
            let _ = wait();
        })
    };
    let mut engines = [
        engine("read", gauge.stream(2 * gauge.half(), false)),
        engine("copy", gauge.stream(gauge.half(), true)),
        engine("fma", gauge.compute(cubes, amount.turns)),
        engine("launch", gauge.compute(1, 1)),
        engine("round trip", waited),
    ];
    let count = engines.len();
    let samples = interleave(&mut engines, count, effort).into_iter().collect::<Result<Vec<_>, _>>()?;
    // Noise only slows: the best round is the limit.
    let best = |i: usize| samples[i].iter().copied().fold(f64::INFINITY, f64::min);
    let middle = |i: usize| median(&samples[i]).unwrap_or(f64::INFINITY);
    let bytes = (2 * gauge.half() * VECTOR * size_of::<f32>()) as f64 / 1e9;
    let flop = 2.0 * (gauge.units() * CHAINS * amount.turns) as f64 / 1e9;
    Ok(Peaks {
        read: bytes / best(0),
        copy: bytes / best(1),
        fma: flop / best(2),
        launch: middle(3),
        round_trip: middle(4),
    })
}

#[cfg(all(test, feature = "sm61"))]
mod tests {
    use super::*;
    use burn_kiln_fusion::cube::cuda_text::{OfflineCuda, ResourceError, Sm61, find_resources, take_launches};

    /// What they measure is the card, not memory that registers are spilled to.
    #[test]
    fn kernels_fit_a_pascal_card() {
        let client = OfflineCuda::client(&Sm61::Records);
        let (x, y) = (client.empty(1 << 20), client.empty(1 << 20));
        let gauge = Gauge { client: client.clone(), cubes: 8, amount: Amount { bytes: 1 << 20, turns: 64 }, x, y };
        drop(take_launches());
        for mut work in [gauge.stream(gauge.half(), false), gauge.stream(gauge.half(), true), gauge.compute(8, 64)] {
            work(0);
        }
        client.flush().unwrap();
        let launches = take_launches();
        assert_eq!(launches.len(), 3);
        match find_resources(&launches) {
            Ok(found) => {
                for (launch, used) in launches.iter().zip(found) {
                    let stays_in_registers = used.spill_bytes == 0 && used.stack_bytes == 0;
                    assert!(stays_in_registers && used.occupancy() == 1.0, "{}: {used:?}", launch.kernel);
                }
            }
            Err(ResourceError::Missing(what)) => eprintln!("skipped: {what}"),
            Err(error) => panic!("{error}"),
        }
    }
}

//! Kernels that a GPU would hang on, fault at or give wrong numbers for: the runtime that runs CUDA text on the CPU
//! must say so, when the stream is next flushed.

mod cube_device;

use burn_kiln_fusion::cube::cuda_text::{OfflineCuda, Sm61, take_launches};
use cube_device::with_cuda_text;
use cubecl::{prelude::*, server::Handle};

const UNITS: u32 = 64;

/// Each unit gives its value to its neighbour through shared memory; the barrier between may be missing.
#[cube(launch_unchecked)]
fn rotate_values(x: &mut Array<f32>, #[comptime] barrier: bool) {
    let mut shared = SharedMemory::<f32>::new(UNITS as usize);
    let unit = UNIT_POS as usize;
    shared[unit] = x[unit];
    if barrier {
        sync_cube();
    }
    x[unit] = shared[(unit + 1) % (UNITS as usize)];
}

/// The cubes add to one number without an atomic.
#[cube(launch_unchecked)]
fn race_between_cubes(x: &mut Array<f32>) {
    if UNIT_POS == 0 {
        x[0] = x[0] * 0.5 + (CUBE_POS as f32);
    }
}

/// A sum over a warp of which half of the units has gone another way.
#[cube(launch_unchecked)]
fn sum_in_a_branch(x: &mut Array<f32>, #[comptime] limit: u32) {
    let unit = UNIT_POS as usize;
    if UNIT_POS < limit {
        x[unit] = plane_sum(x[unit]);
    }
}

/// Both ways have a shuffle, but not the same one.
#[cube(launch_unchecked)]
fn shuffle_in_both_branches(x: &mut Array<f32>) {
    let unit = UNIT_POS as usize;
    let value = x[unit];
    if UNIT_POS & 1 == 0 {
        x[unit] = plane_shuffle_xor(value, 2);
    } else {
        x[unit] = plane_shuffle_xor(value + 1.0, 2);
    }
}

/// A barrier for half of the cube's units.
#[cube(launch_unchecked)]
fn wait_in_a_branch(x: &mut Array<f32>) {
    if UNIT_POS < UNITS / 2 {
        sync_cube();
    }
    x[UNIT_POS as usize] = 1.0;
}

#[cube(launch_unchecked)]
fn write_behind(x: &mut Array<f32>, distance: u32) {
    x[(UNIT_POS + distance) as usize] = 1.0;
}

#[cube(launch_unchecked)]
fn read_behind_shared_memory(x: &mut Array<f32>, distance: u32) {
    let mut shared = SharedMemory::<f32>::new(UNITS as usize);
    shared[UNIT_POS as usize] = 1.0;
    sync_cube();
    x[UNIT_POS as usize] = shared[(UNIT_POS + distance) as usize];
}

#[cube(launch_unchecked)]
fn ask_for_shared_memory(x: &mut Array<f32>, #[comptime] floats: usize) {
    let mut shared = SharedMemory::<f32>::new(floats);
    shared[floats - 1] = 1.0;
    x[0] = shared[floats - 1];
}

/// CubeCL writes two variables of one name for this.
#[cube(launch_unchecked)]
fn elect_twice(x: &mut Array<f32>) {
    if plane_elect() {
        x[0] = 1.0;
    }
    if plane_elect() {
        x[1] = 1.0;
    }
}

#[cube(launch_unchecked)]
fn refuse_to_compile(x: &mut Array<f32>, #[comptime] reason: u32) {
    comptime!(assert_eq!(reason, 0, "no such kernel"));
    x[0] = 1.0;
}

/// The client, and `0, 1, 2, ..` on the device.
fn upload_numbers(device: &Sm61) -> (ComputeClient<OfflineCuda>, Handle) {
    let client = OfflineCuda::client(device);
    let values: Vec<f32> = (0..UNITS).map(|i| i as f32).collect();
    let handle = client.create_from_slice(f32::as_bytes(&values));
    (client, handle)
}

fn as_array(handle: &Handle) -> ArrayArg<OfflineCuda> {
    // SAFETY: the handle has that many floats; that the kernels read and write beyond them is what the tests are about.
    unsafe { ArrayArg::from_raw_parts(handle.clone(), UNITS as usize) }
}

/// Runs `launch` on one cube's worth of numbers; what they become, or the launch's error.
fn run(
    device: &Sm61,
    launch: impl FnOnce(&ComputeClient<OfflineCuda>, ArrayArg<OfflineCuda>),
) -> Result<Vec<f32>, String> {
    let (client, handle) = upload_numbers(device);
    launch(&client, as_array(&handle));
    client.flush().map_err(|error| error.to_string())?;
    Ok(f32::from_bytes(&client.read_one(handle).unwrap()).to_vec())
}

fn one_cube() -> (CubeCount, CubeDim) {
    (CubeCount::Static(1, 1, 1), CubeDim::new_1d(UNITS))
}

/// The error must hold all of `words`.
fn assert_caught(result: Result<Vec<f32>, String>, words: &[&str]) {
    let message = result.expect_err("nothing was caught");
    for word in words {
        assert!(message.contains(word), "no '{word}' in: {message}");
    }
}

/// One launch of a kernel, unchecked.
macro_rules! launch {
    ($kernel:ident($($argument:expr),*)) => {
        |client, x| {
            let (cubes, units) = one_cube();
            // SAFETY: the runtime bounds every access.
            unsafe { $kernel::launch_unchecked::<OfflineCuda>(client, cubes, units, x, $($argument),*) }
        }
    };
}

#[test]
fn barriers_that_are_missing_show() {
    with_cuda_text(|device| {
        let rotated = run(device, launch!(rotate_values(true))).unwrap();
        let expected: Vec<f32> = (0..UNITS).map(|i| ((i + 1) % UNITS) as f32).collect();
        assert_eq!(rotated, expected);
        assert_caught(run(device, launch!(rotate_values(false))), &["rotate_values", "a barrier is missing"]);
    });
}

#[test]
fn races_between_cubes_show() {
    with_cuda_text(|device| {
        let launch = |client: &ComputeClient<_>, x| {
            let (_, units) = one_cube();
            // SAFETY: the kernel stays inside of `x`.
            unsafe { race_between_cubes::launch_unchecked::<OfflineCuda>(client, CubeCount::Static(3, 1, 1), units, x) }
        };
        assert_caught(run(device, launch), &["depends on the order"]);
    });
}

#[test]
fn divergent_warps_show() {
    with_cuda_text(|device| {
        // Whole warps may differ: the first one's sum is 0 + 1 + .. + 31.
        let sums = run(device, launch!(sum_in_a_branch(32))).unwrap();
        assert!(sums[..32].iter().all(|&sum| sum == 496.0) && sums[32] == 32.0, "{sums:?}");
        let half = run(device, launch!(sum_in_a_branch(16)));
        assert_caught(half, &["warp divergence", "16 at a warp collective", "16 have ended"]);
        let both = run(device, launch!(shuffle_in_both_branches()));
        assert_caught(both, &["warp divergence", "32 at a warp collective"]);
    });
}

#[test]
fn barriers_that_some_units_skip_show() {
    with_cuda_text(|device| {
        let words = ["divergence at a barrier", "32 at a barrier", "32 have ended"];
        assert_caught(run(device, launch!(wait_in_a_branch())), &words);
    });
}

#[test]
fn accesses_out_of_bounds_show() {
    with_cuda_text(|device| {
        assert_eq!(run(device, launch!(write_behind(0))).unwrap(), [1.0; UNITS as usize]);
        let words = ["write of 4 bytes at 256 of buffer region 0, which has 256", "unit (63, 0, 0) of cube (0, 0, 0)"];
        assert_caught(run(device, launch!(write_behind(1))), &words);
        // Far away: an index that wrapped, as a rule.
        assert_caught(run(device, launch!(write_behind(u32::MAX))), &["access far from every buffer"]);
        assert_eq!(run(device, launch!(read_behind_shared_memory(0))).unwrap(), [1.0; UNITS as usize]);
        let words = ["read of 4 bytes at 256 of shared memory"];
        assert_caught(run(device, launch!(read_behind_shared_memory(1))), &words);
    });
}

#[test]
fn errors_of_compilers_and_limits_are_not_lost() {
    with_cuda_text(|device| {
        let words = ["49156 bytes of shared memory", "49152"];
        assert_caught(run(device, launch!(ask_for_shared_memory(48 * 256 + 1))), &words);
        assert!(run(device, launch!(ask_for_shared_memory(48 * 256))).is_ok());
        assert_caught(run(device, launch!(elect_twice())), &["g++ rejects", "redeclaration"]);
        assert_caught(run(device, launch!(refuse_to_compile(1))), &["no such kernel"]);
        // An error is told once, and later launches run.
        assert!(run(device, launch!(refuse_to_compile(0))).is_ok());
    });
}

#[test]
fn buffers_that_overlap_share_memory() {
    with_cuda_text(|device| {
        let (client, handle) = upload_numbers(device);
        // Every unit writes one, from the second half of the buffer on, through a handle of that half.
        let half = handle.clone().offset_start(4 * u64::from(UNITS / 2));
        let (cubes, units) = (CubeCount::Static(1, 1, 1), CubeDim::new_1d(UNITS / 2));
        // SAFETY: the half has that many floats.
        let x = unsafe { ArrayArg::from_raw_parts(half, UNITS as usize / 2) };
        // SAFETY: the kernel stays inside of `x`.
        unsafe { write_behind::launch_unchecked::<OfflineCuda>(&client, cubes, units, x, 0) };
        client.flush().unwrap();
        let bytes = client.read_one(handle).unwrap();
        let values = f32::from_bytes(&bytes);
        assert!(values[31] == 31.0 && values[32..].iter().all(|&v| v == 1.0), "{values:?}");
    });
}

#[test]
fn launches_are_kept_on_a_device_that_runs_none() {
    drop(take_launches());
    let (client, handle) = upload_numbers(&Sm61::Records);
    let (cubes, units) = one_cube();
    // SAFETY: nothing runs.
    unsafe { rotate_values::launch_unchecked::<OfflineCuda>(&client, cubes, units, as_array(&handle), true) };
    client.flush().unwrap();
    let launches = take_launches();
    assert_eq!(launches.len(), 1);
    let launch = &launches[0];
    assert!(launch.kernel.contains("rotate_values") && launch.source.contains("__syncthreads"));
    assert_eq!((launch.units, launch.cubes, launch.shared_bytes), (UNITS, (1, 1, 1), 256));
    assert_eq!(launch.buffers, [256]);
    assert!(client.read_one(handle).is_err());
}

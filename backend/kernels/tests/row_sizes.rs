//! What row-wise kernels report of the sizes that they obey: software prefetches and blocks.

mod reference;

use half::bf16;
use kiln_kernels::attention::{AttentionOptions, attention};
use kiln_kernels::config::{BlockingConfig, PrefetchConfig};
use kiln_kernels::elementwise::{UnaryOp, unary};
use kiln_kernels::norm::{LayerNorm, NormRows, Normed, RmsNorm, add_norm, layer_norm, rms_norm};
use kiln_kernels::probe::{self, Probe};
use kiln_kernels::rope::Heads;
use kiln_kernels::softmax::{Axis, SoftmaxKind, softmax};
use kiln_kernels::{Floats, FloatsMut, KernelConfig, Launch};
use reference::{Element, random};
use std::sync::{Mutex, PoisonError};

/// Probes count for the whole process: one test at a time.
static PROBES: Mutex<()> = Mutex::new(());

/// How often `run` reports `probe`.
fn reports(probe: Probe, run: impl FnOnce()) -> u64 {
    let before = probe::count(probe);
    run();
    probe::count(probe) - before
}

/// A configuration with this section of prefetches, as the kernels take it.
fn prefetching(enabled: bool, distance: Option<usize>) -> Launch {
    Launch::from(&KernelConfig { prefetch: PrefetchConfig { enabled, distance }, ..KernelConfig::default() })
}

/// One report a call with prefetches, none where they are off or have no distance.
fn check_prefetch(what: &str, run: &dyn Fn(Launch)) {
    for (launch, times) in [
        (prefetching(true, None), 1),
        (prefetching(true, Some(64)), 1),
        (prefetching(true, Some(100_000)), 1),
        (prefetching(true, Some(0)), 0),
        (prefetching(false, None), 0),
        (prefetching(false, Some(4096)), 0),
    ] {
        assert_eq!(reports(Probe::Prefetch, || run(launch)), times, "{what}: {launch:?}");
    }
}

/// A slice of `buffer` that begins on a cache line.
fn aligned<S>(buffer: &mut [S], len: usize) -> &mut [S] {
    let skip = buffer.as_ptr().addr().wrapping_neg() % 64 / size_of::<S>();
    &mut buffer[skip..][..len]
}

#[test]
fn large_rows_are_prefetched_unless_the_configuration_says_no() {
    let _alone = PROBES.lock().unwrap_or_else(PoisonError::into_inner);
    // More than any cache is thought to keep, so that results are stored non-temporally.
    let (rows, d) = (17_000, 1024);
    let x = vec![bf16::from_f32(0.5); rows * d];
    let gamma = random::<bf16>(d, 1);
    let mut buffers = [0; 2].map(|_| vec![bf16::ZERO; rows * d + 32]);
    let [out, sum] = buffers.each_mut().map(|buffer| Mutex::new(aligned(buffer, rows * d)));
    let rms = RmsNorm { gamma: bf16::view(&gamma), epsilon: 1e-6 };
    let layer = LayerNorm { gamma: bf16::view(&gamma), beta: None, epsilon: 1e-6 };
    let view = || NormRows::contiguous(bf16::view(&x), d);
    check_prefetch("rms", &|launch| {
        rms_norm(launch, rms, view(), Normed::only(bf16::view_mut(&mut out.lock().unwrap())))
    });
    check_prefetch("layer", &|launch| layer_norm(launch, layer, view(), bf16::view_mut(&mut out.lock().unwrap())));
    check_prefetch("add", &|launch| {
        let (mut out, mut sum) = (out.lock().unwrap(), sum.lock().unwrap());
        add_norm(launch, rms, [bf16::view(&x); 2], bf16::view_mut(&mut sum), Normed::only(bf16::view_mut(&mut out)));
    });
    check_prefetch("softmax", &|launch| {
        let axis = Axis { outer: rows, n: d, inner: 1 };
        softmax(launch, SoftmaxKind::Plain, axis, bf16::view(&x), bf16::view_mut(&mut out.lock().unwrap()));
    });
    check_prefetch("gelu", &|launch| {
        unary(launch, UnaryOp::GeluTanh, bf16::view(&x), bf16::view_mut(&mut out.lock().unwrap()));
    });
}

#[test]
fn a_decode_prefetches_unless_the_configuration_says_no_and_computes_the_same() {
    let _alone = PROBES.lock().unwrap_or_else(PoisonError::into_inner);
    let (heads, keys, d) = (4, 300, 64);
    let (q, k, v) = (random::<f32>(heads * d, 1), random::<bf16>(keys * d, 2), random::<bf16>(keys * d, 3));
    let results = Mutex::new(Vec::new());
    check_prefetch("decode", &|launch| {
        let views = [
            Heads::contiguous(Floats::F32(&q), [1, heads, 1, d]),
            Heads::contiguous(bf16::view(&k), [1, 1, keys, d]),
            Heads::contiguous(bf16::view(&v), [1, 1, keys, d]),
        ];
        let mut out = vec![0.0f32; heads * d];
        let launch = Launch { threads: 1, ..launch };
        attention(launch, views, &AttentionOptions::new(0.125), FloatsMut::F32(&mut out), None);
        results.lock().unwrap().push(out);
    });
    let results = results.into_inner().unwrap();
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn the_configuration_sizes_blocks_of_norms_and_softmax() {
    let _alone = PROBES.lock().unwrap_or_else(PoisonError::into_inner);
    let d = 100_000;
    let (x, gamma) = (random::<f32>(d, 1), random::<f32>(d, 2));
    let out = Mutex::new(vec![0.0f32; d]);
    let kernels: [(&str, &dyn Fn(Launch)); 4] = [
        ("rms", &|launch| {
            let norm = RmsNorm { gamma: Floats::F32(&gamma), epsilon: 1e-6 };
            let mut out = out.lock().unwrap();
            let to = Normed::only(FloatsMut::F32(&mut out));
            rms_norm(launch, norm, NormRows::contiguous(Floats::F32(&x), d), to);
        }),
        ("layer", &|launch| {
            let norm = LayerNorm { gamma: Floats::F32(&gamma), beta: None, epsilon: 1e-6 };
            let x = NormRows::contiguous(Floats::F32(&x), d);
            layer_norm(launch, norm, x, FloatsMut::F32(&mut out.lock().unwrap()[..]));
        }),
        ("log softmax", &|launch| {
            let axis = Axis { outer: 1, n: d, inner: 1 };
            softmax(launch, SoftmaxKind::Log, axis, Floats::F32(&x), FloatsMut::F32(&mut out.lock().unwrap()[..]));
        }),
        ("softmax of columns", &|launch| {
            let axis = Axis { outer: 1, n: d / 1000, inner: 1000 };
            softmax(launch, SoftmaxKind::Plain, axis, Floats::F32(&x), FloatsMut::F32(&mut out.lock().unwrap()[..]));
        }),
    ];
    for (what, run) in kernels {
        let sizes = [4096, 16384].map(|rows| {
            let blocking = BlockingConfig { rows: Some(rows), ..BlockingConfig::default() };
            let launch = Launch::from(&KernelConfig { blocking, ..KernelConfig::default() });
            assert_eq!(reports(Probe::Blocks, || run(launch)), 1, "{what}");
            let size = probe::last(Probe::Blocks);
            assert!(size > 0 && size <= rows as u64, "{what}: {size} of {rows}");
            size
        });
        assert!(sizes[0] < sizes[1], "{what}: {sizes:?}");
    }
}

//! Matrix products against sums in f64, on every instruction set that this CPU has.

mod oracle;

use half::{bf16, f16};
use kiln_kernels::gemm::{
    Batch, Blocking, Epilogue, GemmError, Matrix, Offsets, OutMatrix, PackedMatrix, Plan, Residual, Split,
    UnpackedRows, Variant, gemm, gemm_batched,
};
use kiln_kernels::math::Activation;
use kiln_kernels::simd::Tier;
use kiln_kernels::{Floats, FloatsMut, Launch};
use oracle::{Case, Dtype, Values};
use proptest::prelude::*;

/// Every tier on one thread and on two.
fn launches() -> Vec<Launch> {
    Tier::available()
        .into_iter()
        .flat_map(|tier| [1, 2].map(|threads| Launch { threads, ..Launch::single(tier) }))
        .collect()
}

/// Small blocks, so that small products have edges of all of them.
fn small_blocks(launch: Launch) -> Plan {
    Plan { blocking: Blocking { mc: 16, kc: 12, nc: 40 }, variant: Some(Variant::Blocked), ..launch.into() }
}

#[test]
fn sizes_around_every_edge() {
    let sizes = [1, 2, 5, 6, 7, 13, 14, 15, 16, 17, 31, 32, 33, 49];
    for launch in launches() {
        for m in sizes {
            for n in sizes {
                for k in [0, 1, 11, 12, 13, 25, 37] {
                    Case::new(m, n, k).check(&small_blocks(launch));
                }
            }
        }
    }
}

#[test]
fn every_variant_on_its_shapes() {
    for launch in launches() {
        for variant in [None, Some(Variant::Dot), Some(Variant::Axpy), Some(Variant::Unpacked), Some(Variant::Blocked)]
        {
            for (m, n, k) in [
                (1, 1, 1),
                (1, 33, 70),
                (2, 17, 5),
                (3, 100, 64),
                (4, 50, 130),
                (5, 16, 33),
                (7, 19, 40),
                (8, 65, 128),
                (9, 20, 31),
                (8, 65, 300),
                (13, 20, 389),
                (16, 33, 257),
                (32, 32, 32),
                (29, 31, 30),
                // Columns that end with half a tile, rows that share one.
                (7, 24, 20),
                (20, 48, 50),
                (100, 120, 250),
            ] {
                for b_transposed in [false, true] {
                    let plan = Plan { variant, ..launch.into() };
                    Case { b_transposed, ..Case::new(m, n, k) }.check(&plan);
                }
            }
        }
    }
}

/// Few columns, or few rows with a small B: A is read strided, and B in its own order or packed.
#[test]
fn narrow_and_flat_products() {
    for launch in launches() {
        for b in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
            for (m, n, k) in [(70, 17, 33), (101, 32, 40), (90, 7, 705), (66, 10, 1), (40, 90, 70), (17, 200, 65)] {
                for b_transposed in [false, true] {
                    for variant in [None, Some(Variant::Unpacked)] {
                        let plan = Plan { variant, ..launch.into() };
                        let case = Case { b, b_transposed, bias: true, ..Case::new(m, n, k) };
                        case.check(&plan);
                        Case { a_transposed: true, step: -2, ..case }.check(&plan);
                    }
                }
            }
        }
    }
}

#[test]
fn empty_products() {
    for launch in launches() {
        for (m, n, k) in [(0, 5, 3), (5, 0, 3), (0, 0, 0), (3, 4, 0), (40, 40, 0), (1, 1, 0)] {
            Case { bias: true, residual: true, ..Case::new(m, n, k) }.check(&launch.into());
            Case { bias: true, residual: true, ..Case::new(m, n, k) }.check_packed(&launch.into());
        }
    }
}

#[test]
fn transposes_and_strides() {
    for launch in launches() {
        for a_transposed in [false, true] {
            for b_transposed in [false, true] {
                for step in [1, 2, -1] {
                    for plan in [small_blocks(launch), launch.into()] {
                        for (m, n, k) in [(30, 41, 29), (3, 35, 29), (1, 20, 300), (70, 1, 33)] {
                            Case { a_transposed, b_transposed, step, ..Case::new(m, n, k) }.check(&plan);
                        }
                    }
                }
            }
        }
    }
}

/// Rows of A in lanes: every number of them, weights and depths that fill no word, no line and no eight rows, and A
/// with any strides.
#[test]
fn few_rows_of_every_count() {
    for launch in launches() {
        for m in 1..=17 {
            for (n, k) in [(1, 1), (7, 15), (8, 16), (9, 17), (16, 33), (23, 64), (40, 131)] {
                for b in [Dtype::F32, Dtype::Bf16] {
                    for a in [b, Dtype::F32, Dtype::F16] {
                        for a_transposed in [false, true] {
                            let case =
                                Case { a, b, a_transposed, b_transposed: true, bias: true, ..Case::new(m, n, k) };
                            case.check(&launch.into());
                        }
                    }
                }
            }
        }
    }
}

/// Rows of A that are longer than the L1 cache, which four rows of a weight share.
#[test]
fn few_rows_longer_than_a_cache() {
    for launch in launches() {
        for m in 1..=5 {
            for (n, k) in [(3, 4101), (10, 8195)] {
                for b in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
                    Case { b, b_transposed: true, bias: true, ..Case::new(m, n, k) }.check(&launch.into());
                }
            }
        }
    }
}

#[test]
fn element_types() {
    let all = [Dtype::F32, Dtype::Bf16, Dtype::F16];
    for launch in launches() {
        for a in all {
            for b in all {
                for out in all {
                    for (m, n, k) in [(33, 50, 40), (5, 33, 41), (1, 70, 50)] {
                        for b_transposed in [false, true] {
                            let case =
                                Case { a, b, out, b_transposed, bias: true, residual: true, ..Case::new(m, n, k) };
                            case.check(&small_blocks(launch));
                            case.check(&launch.into());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn epilogues() {
    for launch in launches() {
        for (bias, residual, accumulate) in
            [(true, false, false), (false, true, false), (true, true, false), (false, false, true), (true, false, true)]
        {
            for out in [Dtype::F32, Dtype::Bf16] {
                for (m, n, k) in [(20, 45, 40), (4, 45, 40), (28, 64, 12)] {
                    let case = Case { bias, residual, accumulate, out, ..Case::new(m, n, k) };
                    case.check(&small_blocks(launch));
                    case.check(&launch.into());
                    case.check_packed(&small_blocks(launch));
                    case.check_packed(&launch.into());
                }
            }
        }
    }
}

#[test]
fn activations() {
    for launch in launches() {
        for activation in [Activation::GeluTanh, Activation::GeluErf, Activation::Silu] {
            for (bias, residual, accumulate) in [(false, false, false), (true, true, false), (true, false, true)] {
                for (m, n, k) in [(20, 45, 40), (4, 45, 40), (28, 64, 12), (16, 20, 0)] {
                    let activation = Some(activation);
                    let case = Case { bias, residual, accumulate, activation, ..Case::new(m, n, k) };
                    case.check(&small_blocks(launch));
                    case.check(&launch.into());
                    case.check_packed(&launch.into());
                }
            }
        }
    }
}

#[test]
fn packed_weights() {
    for launch in launches() {
        for b in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
            for m in [1, 2, 3, 4, 5, 7, 8, 9, 14, 31, 50] {
                for (n, k) in [(1, 1), (16, 16), (17, 40), (33, 37), (100, 64)] {
                    let case = Case { b, b_transposed: true, ..Case::new(m, n, k) };
                    case.check_packed(&launch.into());
                    case.check_packed(&small_blocks(launch));
                }
            }
        }
    }
}

#[test]
fn large_products_split_over_threads() {
    for launch in launches() {
        for (m, n, k) in [(200, 300, 129), (8, 700, 600), (1, 1500, 900)] {
            for b_transposed in [false, true] {
                let case = Case { b_transposed, ..Case::new(m, n, k) };
                case.check(&launch.into());
                case.check_packed(&launch.into());
            }
        }
    }
}

/// Blocks of rows that threads pack for themselves or find packed, in several turns of the depth and bands of columns.
#[test]
fn packed_weights_in_many_parts() {
    for tier in Tier::available() {
        for (threads, parts) in [(2, 2), (2, 24), (5, 7), (3, 400)] {
            let launch = Launch { threads, ..Launch::single(tier) };
            let blocking = Blocking { mc: 28, kc: 36, nc: 64 };
            let split = Some(Split { threads, parts });
            let plan = Plan { blocking, variant: Some(Variant::Blocked), split, ..launch.into() };
            for b in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
                for (m, n, k) in [(150, 170, 100), (20, 300, 64), (300, 20, 90), (33, 65, 0)] {
                    Case { b, b_transposed: true, ..Case::new(m, n, k) }.check_packed(&plan);
                }
            }
        }
    }
}

/// Every element is summed in the same order, however the output is divided.
#[test]
fn threads_change_no_bit() {
    for tier in Tier::available() {
        for (m, n, k) in [(150, 170, 500), (70, 200, 1500), (500, 30, 300), (3, 900, 700)] {
            let (a, b) = (Values::random(5, m * k), Values::random(6, k * n));
            let a = Matrix::row_major(Floats::F32(&a), m, k).unwrap();
            let b = Matrix::row_major(Floats::F32(&b), k, n).unwrap();
            let product = |threads| {
                let mut out = vec![0.0; m * n];
                let mut view = OutMatrix::row_major(FloatsMut::F32(&mut out), m, n).unwrap();
                gemm(&Launch { threads, ..Launch::single(tier) }.into(), &a, &b, &mut view, &Epilogue::default())
                    .unwrap();
                out
            };
            let one = product(1);
            assert!([2, 3, 8].into_iter().all(|threads| product(threads) == one), "{tier}");
        }
    }
}

#[test]
fn packing_is_exact() {
    for threads in [1, 2] {
        let launch = Launch { threads, ..Launch::default() };
        for (n, k) in [(0, 7), (7, 0), (1, 1), (16, 5), (33, 257), (300, 70)] {
            // Every pattern of 16 bits, signalling NaNs included.
            let bits = (0..n * k).map(|i| (i * 7919 + 31) as u16);
            let halves: Vec<bf16> = bits.clone().map(bf16::from_bits).collect();
            let packed = PackedMatrix::pack(launch, Floats::Bf16(&halves), [n, k]).unwrap();
            assert_eq!(packed.bytes(), n.div_ceil(16) * 16 * k.next_multiple_of(2) * 2);
            let UnpackedRows::Bf16(rows) = packed.unpack(launch) else { panic!("the type changed") };
            assert!(rows.iter().map(|x| x.to_bits()).eq(bits), "{n} x {k}");
            let floats: Vec<f32> = (0..n * k).map(|i| f32::from_bits((i as u32).wrapping_mul(2654435761))).collect();
            let packed = PackedMatrix::pack(launch, Floats::F32(&floats), [n, k]).unwrap();
            let UnpackedRows::F32(rows) = packed.unpack(launch) else { panic!("the type changed") };
            assert!(rows.iter().map(|x| x.to_bits()).eq(floats.iter().map(|x| x.to_bits())), "{n} x {k}");
            let mut row = vec![0.0; k];
            for i in 0..n {
                packed.row(i, &mut row).unwrap();
                assert!(row.iter().zip(&floats[i * k..]).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
            assert!(packed.row(n, &mut row).is_err());
        }
    }
    let halves = [f16::from_f32(0.5); 6];
    let packed = PackedMatrix::pack(Launch::default(), Floats::F16(&halves), [2, 3]).unwrap();
    let mut row = [0.0; 3];
    packed.row(1, &mut row).unwrap();
    assert_eq!(row, [0.5; 3]);
    assert!(packed.row(1, &mut row[..2]).is_err());
    assert!(PackedMatrix::pack(Launch::default(), Floats::F16(&halves), [2, 4]).is_err());
}

/// NaN and infinities reach exactly the elements that the definition says, whatever zeros they meet.
#[test]
fn special_values_propagate() {
    for launch in launches() {
        for plan in [small_blocks(launch), launch.into()] {
            for (m, n, k) in [(31, 45, 25), (3, 45, 25), (1, 30, 40), (20, 20, 20)] {
                for b_transposed in [false, true] {
                    let mut case = Case { b_transposed, ..Case::new(m, n, k) }.values();
                    case.a[(m - 1) * k + k - 1] = f32::NAN;
                    case.a[k / 2] = f32::INFINITY;
                    case.b[(k - 1) * n + n - 1] = f32::NEG_INFINITY;
                    // The infinity of A meets zeros: NaN.
                    for j in 0..n / 2 {
                        case.b[k / 2 * n + j] = 0.0;
                    }
                    case.check(&plan);
                    case.check_packed(&plan);
                }
            }
        }
    }
}

#[test]
fn batches() {
    let (m, n, k, count) = (19, 35, 21, 5);
    let a: Vec<f32> = Values::random(1, count * m * k);
    let b: Vec<f32> = Values::random(2, k * n);
    for launch in launches() {
        for (m, plan) in [(m, small_blocks(launch)), (m, launch.into()), (2, launch.into())] {
            // B is broadcast; outputs are interleaved, as heads are in [length, heads, head_dim].
            let mut out = vec![0.0; m * count * n];
            let offsets: Vec<_> = (0..count).map(|i| Offsets { a: i * m * k, b: 0, out: i * n }).collect();
            let batch = Batch {
                a: Matrix::row_major(Floats::F32(&a), m, k).unwrap(),
                b: Matrix::row_major(Floats::F32(&b), k, n).unwrap(),
                offsets: &offsets,
            };
            let mut view = OutMatrix::new(FloatsMut::F32(&mut out), 0, [m, n], count * n).unwrap();
            gemm_batched(&plan, &batch, &mut view, &Epilogue::default()).unwrap();
            for i in 0..count {
                for r in 0..m {
                    for c in 0..n {
                        let terms = (0..k).map(|p| f64::from(a[i * m * k + r * k + p]) * f64::from(b[p * n + c]));
                        let (want, size) = terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
                        let got = f64::from(out[r * count * n + i * n + c]);
                        assert!((got - want).abs() <= size * (k as f64) * f64::from(f32::EPSILON), "{got} {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn bad_operands_are_declined() {
    let data = [1.0f32; 12];
    let mut out = [7.0f32; 12];
    assert!(matches!(
        Matrix::new(Floats::F32(&data), 1, [3, 4], [4, 1]),
        Err(GemmError::OutOfBounds { len: 12, offset: 1, .. })
    ));
    assert!(Matrix::new(Floats::F32(&data), 0, [2, 2], [-1, 1]).is_err());
    assert!(Matrix::new(Floats::F32(&data), 0, [usize::MAX, 2], [isize::MAX, 1]).is_err());
    assert!(Matrix::new(Floats::F32(&data), 99, [0, 4], [4, 1]).is_ok());
    assert!(OutMatrix::new(FloatsMut::F32(&mut out), 0, [2, 4], 3).is_err());
    assert!(OutMatrix::new(FloatsMut::F32(&mut out), 0, [2, 4], usize::MAX).is_err());
    let a = Matrix::row_major(Floats::F32(&data), 3, 4).unwrap();
    let plan = Plan::default();
    let mut view = OutMatrix::row_major(FloatsMut::F32(&mut out), 3, 4).unwrap();
    assert_eq!(
        gemm(&plan, &a, &a, &mut view, &Epilogue::default()),
        Err(GemmError::Shape { what: "rows of B", expected: 4, found: 3 })
    );
    let b = a.transposed();
    assert!(gemm(&plan, &a, &b, &mut view, &Epilogue::default()).is_err());
    let mut view = OutMatrix::row_major(FloatsMut::F32(&mut out), 3, 3).unwrap();
    assert!(gemm(&plan, &a, &b, &mut view, &Epilogue::bias(Some(Floats::F32(&data)))).is_err());
    assert!(gemm(&plan, &a, &b, &mut view, &Epilogue::residual(Residual::Add(a))).is_err());
    let overlapping = [Offsets::default(), Offsets { out: 2, ..Offsets::default() }];
    let batch = Batch { a, b, offsets: &overlapping };
    assert!(matches!(
        gemm_batched(&plan, &batch, &mut view, &Epilogue::default()),
        Err(GemmError::Overlap { distance: 2, needed: 9, .. })
    ));
    let outside = [Offsets { a: 1, ..Offsets::default() }];
    assert!(gemm_batched(&plan, &Batch { a, b, offsets: &outside }, &mut view, &Epilogue::default()).is_err());
    assert_eq!(out, [7.0; 12]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_products(
        (m, n, k) in (1usize..70, 1usize..70, 0usize..90),
        (mc, kc, nc) in (1usize..40, 1usize..40, 1usize..80),
        (a_transposed, b_transposed, bias, accumulate) in any::<(bool, bool, bool, bool)>(),
        (a, b, out) in (0usize..3, 0usize..3, 0usize..3),
        step in prop_oneof![Just(1isize), Just(2), Just(-1), Just(-3)],
        (blocked, threads, seed) in (any::<bool>(), 1usize..4, any::<u64>()),
    ) {
        let dtypes = [Dtype::F32, Dtype::Bf16, Dtype::F16];
        let case = Case {
            a_transposed, b_transposed, bias, accumulate, step, seed,
            a: dtypes[a], b: dtypes[b], out: dtypes[out], ..Case::new(m, n, k)
        };
        for tier in Tier::available() {
            let variant = blocked.then_some(Variant::Blocked);
            let launch = Launch { threads, ..Launch::single(tier) };
            let plan = Plan { blocking: Blocking { mc, kc, nc }, variant, ..launch.into() };
            case.check(&plan);
            case.check_packed(&plan);
        }
    }
}

/// The register tile reads no column beyond those of B, whose last row ends where memory does. (The portable tile of
/// half a width once read both of its registers.)
#[cfg(target_os = "linux")]
#[test]
fn half_a_tile_reads_no_further_than_b() {
    // SAFETY: it returns a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let [m, n, k] = [9, 24, 40];
    let mut map = memmap2::MmapMut::map_anon(2 * page).unwrap();
    // SAFETY: the second of two pages, which nothing touches until they are unmapped.
    let guarded = unsafe { libc::mprotect(map.as_mut_ptr().add(page).cast(), page, libc::PROT_NONE) };
    assert_eq!(guarded, 0);
    let b: &mut [f32] = bytemuck::cast_slice_mut(&mut map[page - n * k * size_of::<f32>()..page]);
    b.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 5) as f32 - 2.0);
    let a: Vec<f32> = (0..m * k).map(|i| (i % 7) as f32 - 3.0).collect();
    for launch in launches() {
        let plan = Plan { variant: Some(Variant::Unpacked), ..launch.into() };
        let mut c = vec![0.0; m * n];
        gemm(
            &plan,
            &Matrix::row_major(Floats::F32(&a), m, k).unwrap(),
            &Matrix::row_major(Floats::F32(b), k, n).unwrap(),
            &mut OutMatrix::row_major(FloatsMut::F32(&mut c), m, n).unwrap(),
            &Epilogue::default(),
        )
        .unwrap();
        for (i, row) in c.chunks_exact(n).enumerate() {
            for (j, &found) in row.iter().enumerate() {
                let expected: f32 = (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
                assert_eq!(found, expected, "({i}, {j}) on {launch:?}");
            }
        }
    }
}

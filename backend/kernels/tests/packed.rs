//! Packing rows in their own memory, against packing a copy of them.

use kiln_kernels::ElementType;
use kiln_kernels::gemm::PackedMatrix;
use kiln_kernels::memory::AlignedBytes;
use kiln_kernels::{Floats, Launch};

fn floats(bytes: &[u8], dtype: ElementType) -> Floats<'_> {
    match dtype {
        ElementType::F32 => Floats::F32(bytemuck::cast_slice(bytes)),
        ElementType::Bf16 => Floats::Bf16(bytemuck::cast_slice(bytes)),
        ElementType::F16 => Floats::F16(bytemuck::cast_slice(bytes)),
    }
}

fn start(floats: &Floats<'_>) -> *const u8 {
    match floats {
        Floats::F32(x) => x.as_ptr().cast(),
        Floats::Bf16(x) => x.as_ptr().cast(),
        Floats::F16(x) => x.as_ptr().cast(),
    }
}

/// Rows whose panels take as many bytes are packed in their own memory, all others beside it; both are what a copy is
/// packed to.
#[test]
fn owned_rows_are_packed_as_borrowed_ones() {
    let launch = Launch::default();
    for dtype in [ElementType::F32, ElementType::Bf16, ElementType::F16] {
        for [n, k] in [[16, 2], [48, 33], [64, 4096], [17, 8], [32, 7], [1, 1], [0, 5], [16, 0]] {
            let bytes: Vec<u8> = (0..n * k * dtype.size()).map(|i| (i * 37 % 251) as u8 & 0x3f).collect();
            let mut aligned = AlignedBytes::zeroed(bytes.len());
            aligned.as_mut_slice().copy_from_slice(&bytes);
            let expected = PackedMatrix::pack(launch, floats(aligned.as_slice(), dtype), [n, k]).unwrap();
            let address = aligned.as_slice().as_ptr();
            let whole = n * k > 0 && n % 16 == 0 && (dtype != ElementType::Bf16 || k % 2 == 0);
            let owned = PackedMatrix::pack_owned(launch, Box::new(aligned), dtype, [n, k]).unwrap();
            // Bytes of a `Vec` are aligned by chance, those of an empty one to nothing.
            let other = PackedMatrix::pack_owned(launch, Box::new(bytes.clone()), dtype, [n, k]).unwrap();
            for packed in [&owned, &other] {
                assert_eq!((packed.dtype(), packed.n(), packed.k()), (dtype, n, k));
                assert_eq!(packed.unpack(launch), expected.unpack(launch), "{dtype:?} {n} x {k}");
                for i in 0..n {
                    let (mut found, mut row) = (vec![0.0; k], vec![0.0; k]);
                    packed.row(i, &mut found).unwrap();
                    expected.row(i, &mut row).unwrap();
                    assert_eq!(found, row);
                }
            }
            assert_eq!(start(&owned.panels()) == address, whole, "{dtype:?} {n} x {k}");
        }
    }
    let bytes = || Box::new(AlignedBytes::zeroed(64));
    assert!(PackedMatrix::pack_owned(Launch::default(), bytes(), ElementType::F32, [4, 5]).is_err());
}

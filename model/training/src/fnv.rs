//! FNV-1a of 64 bits (Fowler, Noll and Vo): the same on every machine and in every version.

/// Of nothing.
pub(crate) const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// With one byte more.
pub(crate) fn add(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the test vectors of the draft, draft-eastlake-fnv.
    #[test]
    fn known_values() {
        let of = |text: &str| text.bytes().fold(OFFSET, add);
        assert_eq!((of(""), of("a"), of("foobar")), (OFFSET, 0xaf63_dc4c_8601_ec8c, 0x8594_4171_f739_67e8));
    }
}

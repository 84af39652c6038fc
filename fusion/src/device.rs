//! Memory that is a device's own.

/// The memory of a device that is not the host's, as the calling thread's stream of work sees it: other streams
/// allocate beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Bytes of live tensors.
    pub in_use: u64,
    /// Bytes taken from the device: those in use, and those kept for later ones.
    pub reserved: u64,
    /// How tensors lie in it.
    pub layout: DeviceLayout,
}

/// How tensors lie in a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLayout {
    /// Tensors take multiples of so many bytes; a power of two.
    pub alignment: u64,
    /// Rows are padded: to the next power of two bytes, 16 at least, up to `alignment`, and to multiples of that
    /// beyond.
    pub pitched: bool,
}

impl DeviceLayout {
    /// Bytes that a tensor of this shape takes, `element` bytes each.
    pub fn tensor_bytes(&self, shape: &[usize], element: usize) -> u64 {
        let (columns, rows) = match shape.split_last() {
            Some((&columns, rows)) => (columns as u64, rows.iter().product::<usize>() as u64),
            None => (1, 1),
        };
        let row = columns * element as u64;
        let padded = match self.pitched && columns > 1 {
            true => row.next_multiple_of(row.next_power_of_two().clamp(16.min(self.alignment), self.alignment)),
            false => row,
        };
        (rows * padded).next_multiple_of(self.alignment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_tensors_are_padded() {
        let flat = DeviceLayout { alignment: 32, pitched: false };
        let pitched = DeviceLayout { alignment: 512, pitched: true };
        for (shape, element, flat_bytes, pitched_bytes) in [
            (vec![3, 5], 4, 64, 512),
            (vec![100, 5], 4, 2016, 3584),
            (vec![2048, 6144], 2, 25_165_824, 25_165_824),
            (vec![10, 300], 2, 6016, 10_240),
            (vec![7, 1], 4, 32, 512),
            (vec![0, 8], 4, 0, 0),
            (vec![], 4, 32, 512),
        ] {
            let found = [flat, pitched].map(|layout| layout.tensor_bytes(&shape, element));
            assert_eq!(found, [flat_bytes, pitched_bytes], "{shape:?}");
        }
    }
}

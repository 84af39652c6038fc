//! The data caches of the machine, from which block sizes follow.

use std::sync::OnceLock;

/// Data caches as one thread sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caches {
    /// Level 1 data cache of one core, bytes.
    pub l1d: usize,
    /// Level 2 cache of one core, bytes.
    pub l2: usize,
    /// Level 3 cache, shared by cores, bytes; 0 on a machine without one.
    pub l3: usize,
}

impl Caches {
    /// What is assumed where nothing can be read: the i5-10210U.
    pub const FALLBACK: Self = Self { l1d: 32 << 10, l2: 256 << 10, l3: 6 << 20 };

    /// The caches of this machine, read once: from sysfs on Linux, else [`Caches::FALLBACK`]. A level that cannot be
    /// read is the fallback's.
    pub fn detect() -> Self {
        static CACHES: OnceLock<Caches> = OnceLock::new();
        *CACHES.get_or_init(|| Self::read("/sys/devices/system/cpu/cpu0/cache"))
    }

    /// Reads `folder/index*/{level,type,size}`.
    fn read(folder: &str) -> Self {
        let mut caches = Self::FALLBACK;
        let mut levels = 0;
        for index in 0..8 {
            let field = |name: &str| std::fs::read_to_string(format!("{folder}/index{index}/{name}")).ok();
            let (Some(level), Some(kind)) = (field("level"), field("type")) else { break };
            let Some(bytes) = field("size").and_then(|size| parse_size(&size)) else { continue };
            if kind.trim() == "Instruction" {
                continue;
            }
            levels += 1;
            match level.trim() {
                "1" => caches.l1d = bytes,
                "2" => caches.l2 = bytes,
                "3" => caches.l3 = bytes,
                _ => {}
            }
        }
        // Two levels were read and no third: there is none.
        if levels == 2 {
            caches.l3 = 0;
        }
        caches
    }
}

/// Bytes of a size as sysfs writes it: `48K`, `6144K`, `32M`.
fn parse_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit).filter(|&bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_sysfs() {
        assert_eq!(parse_size("48K\n"), Some(49152));
        assert_eq!(parse_size("6M"), Some(6 << 20));
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size("0K"), None);
        assert_eq!(parse_size("K"), None);
        assert_eq!(parse_size(""), None);
    }

    #[test]
    fn a_missing_folder_is_the_fallback() {
        assert_eq!(Caches::read("/nonexistent"), Caches::FALLBACK);
    }

    #[test]
    fn detected_levels_grow() {
        let caches = Caches::detect();
        assert!(caches.l1d >= 8 << 10 && caches.l2 >= caches.l1d, "{caches:?}");
    }
}

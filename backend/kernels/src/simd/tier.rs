//! The instruction sets by name.

use core::fmt;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// An instruction set that this build knows. A value does not prove that the CPU has it: [`Tier::run`] checks.
///
/// Each tier has all that the ones before it have. The last two differ from AVX-512 only in products of two bf16
/// matrices, those in attention included.
///
/// `vdpbf16ps` multiplies up to twice as fast as f32 arithmetic on some CPUs and half as fast on others, so its rate is
/// measured, once a process and in some 30 µs. Where it is below three quarters of f32's, [`Tier::best`] is never
/// [`Tier::Avx512Bf16`], and attention on [`Tier::Amx`] widens to f32 what its tiles do not take. Products of few rows,
/// which wait for memory, run it on both tiers. A tier that is asked for by name runs as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// `wide`.
    Portable,
    /// AVX2, FMA, F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
    /// AVX-512 with `vdpbf16ps` wherever two bf16 are multiplied.
    Avx512Bf16,
    /// The same with tiles of bf16, `tdpbf16ps`.
    Amx,
}

/// A name that is no tier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown instruction set `{0}`: expected portable, avx2, avx512, avx512bf16 or amx")]
pub struct UnknownTier(pub String);

/// What `KILN_ISA` asks for and cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IsaError {
    /// It is the name of nothing.
    #[error("KILN_ISA: {0}")]
    Unknown(#[from] UnknownTier),
    /// This CPU lacks it.
    #[error("KILN_ISA={tier}: this CPU has no {tier}, but {available}")]
    Missing {
        /// The instruction set asked for.
        tier: Tier,
        /// Those that there are, by name.
        available: String,
    },
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512bf16",
            Self::Amx => "amx",
        })
    }
}

impl FromStr for Tier {
    type Err = UnknownTier;

    /// Reads the names that `KILN_ISA` takes: those that [`fmt::Display`] writes, in any case.
    fn from_str(name: &str) -> Result<Self, UnknownTier> {
        match name.trim().to_ascii_lowercase().as_str() {
            "portable" => Ok(Self::Portable),
            "avx2" => Ok(Self::Avx2),
            "avx512" => Ok(Self::Avx512),
            "avx512bf16" => Ok(Self::Avx512Bf16),
            "amx" => Ok(Self::Amx),
            _ => Err(UnknownTier(name.into())),
        }
    }
}

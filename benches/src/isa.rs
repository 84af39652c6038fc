//! The instruction set of a run.

use burn_kiln_fusion::config::IsaChoice;
use kiln_kernels::simd::Tier;

/// An instruction set that this CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa {
    /// For peaks.
    pub tier: Tier,
    /// For Kiln's configuration.
    pub choice: IsaChoice,
}

impl Isa {
    /// The one that runs by default.
    pub fn best() -> Self {
        Self { tier: Tier::best(), choice: IsaChoice::Auto }
    }

    /// Whether this is AVX2 or less, so that peers are held to AVX2.
    pub fn is_held(self) -> bool {
        self.tier <= Tier::Avx2
    }
}

pub(crate) fn parse_isa(name: &str) -> Result<Isa, String> {
    let tier: Tier = name.parse().map_err(|error: kiln_kernels::simd::UnknownTier| error.to_string())?;
    if !tier.is_available() {
        return Err(format!("this CPU has no {tier}"));
    }
    let choice = serde_json::from_value(tier.to_string().into()).map_err(|error| error.to_string())?;
    Ok(Isa { tier, choice })
}

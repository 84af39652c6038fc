//! Which instruction set runs: detected once, forced by `KILN_ISA` or by a model's configuration.

#[cfg(target_arch = "x86_64")]
use super::{Amx, Avx2, Avx512, Avx512Bf16, prefers_bf16_dots};
use super::{Isa, IsaError, Kernel, Portable, Tier};
use crate::config::IsaChoice;
use crate::probe::{Probe, report_state};
use std::sync::{Once, OnceLock};

impl Tier {
    /// Every tier, lowest first.
    pub const ALL: [Self; 5] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16, Self::Amx];

    /// Whether this CPU has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => Avx512Bf16::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Amx::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The tiers of this CPU, lowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|t| t.is_available()).collect()
    }

    /// The tier that `KILN_ISA` names; `None` where it is not set, or to nothing.
    ///
    /// # Errors
    /// [`IsaError`] for a name that is unknown or that this CPU lacks.
    pub fn from_env() -> Result<Option<Self>, IsaError> {
        let Some(name) = std::env::var_os("KILN_ISA").filter(|name| !name.is_empty()) else { return Ok(None) };
        let tier: Self = name.to_string_lossy().parse()?;
        if tier.is_available() {
            return Ok(Some(tier));
        }
        let names: Vec<String> = Self::available().iter().map(ToString::to_string).collect();
        Err(IsaError::Missing { tier, available: names.join(", ") })
    }

    /// The tier that runs by default: the one that `KILN_ISA` names if the CPU has it, else the highest available.
    /// But `Avx512Bf16` only where its `vdpbf16ps` has three quarters of the rate of f32 arithmetic at least, which is
    /// measured. A name that is unknown or not available is reported once, as a `tracing` warning; a program that would
    /// rather not run asks [`Tier::from_env`] first.
    pub fn best() -> Self {
        static BEST: OnceLock<Tier> = OnceLock::new();
        *BEST.get_or_init(|| match Self::from_env() {
            Ok(tier) => tier.unwrap_or_else(Self::fastest),
            Err(error) => {
                let fastest = Self::fastest();
                tracing::warn!("{error}; running on {fastest}");
                fastest
            }
        })
    }

    /// What [`Tier::best`] is where nothing is named.
    fn fastest() -> Self {
        let highest = *Self::available().last().expect("the portable tier is always there");
        #[cfg(target_arch = "x86_64")]
        if highest == Self::Avx512Bf16 && !prefers_bf16_dots() {
            return Self::Avx512;
        }
        highest
    }

    /// The tier for a configuration. What the CPU lacks falls back to [`Tier::best`], with a warning the first time.
    pub fn choose(choice: IsaChoice) -> Self {
        let wanted = match choice {
            IsaChoice::Auto => return Self::best(),
            IsaChoice::Portable => Self::Portable,
            IsaChoice::Avx2 => Self::Avx2,
            IsaChoice::Avx512 => Self::Avx512,
            IsaChoice::Avx512Bf16 => Self::Avx512Bf16,
            IsaChoice::Amx => Self::Amx,
        };
        if wanted.is_available() {
            return wanted;
        }
        static TOLD: Once = Once::new();
        TOLD.call_once(|| tracing::warn!("simd.isa = {wanted}: this CPU has no {wanted}; running on {}", Self::best()));
        Self::best()
    }

    /// Runs `kernel` on this tier, or on the portable one where the CPU lacks it. The tiers above AVX-512 run it as
    /// that one does.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Out {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Avx512 | Self::Avx512Bf16 | Self::Amx => {
                if let Some(isa) = Avx512::detect() {
                    report_state(Probe::Tier, Self::Avx512 as usize);
                    return isa.run(kernel);
                }
            }
            Self::Avx2 => {
                if let Some(isa) = Avx2::detect() {
                    report_state(Probe::Tier, Self::Avx2 as usize);
                    return isa.run(kernel);
                }
            }
            Self::Portable => {}
        }
        report_state(Probe::Tier, Self::Portable as usize);
        Portable::detect().expect("the portable tier is always there").run(kernel)
    }
}

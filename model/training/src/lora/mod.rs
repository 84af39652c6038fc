//! LoRA: small matrices that train beside frozen weights.
//!
//! ```text
//! y = x·Wᵀ + b + s · dropout(x)·Aᵀ·Bᵀ     A [rank, in] from a seed, B [out, rank] from 0, s = alpha / rank
//! ```
//!
//! Adapters are saved in PEFT's layout and read from it ([`qwen3_vl_burn::checkpoint::Adapter`]).
//!
//! ```no_run
//! use burn_autodiff::Autodiff;
//! use burn_flex::Flex;
//! use burn_kiln::Kiln;
//! use qwen3_vl_burn::{LoadOptions, Qwen3Vl};
//! use qwen3_vl_train::lora::{LoraConfig, attach, save_adapter};
//!
//! let model = Qwen3Vl::<Autodiff<Kiln<Flex>>>::load("base", &Default::default(), LoadOptions::default())?;
//! let config = LoraConfig::new(16, 32.0);
//! let (model, report) = attach(model, &config)?;
//! println!("{report}");
//! // .. train ..
//! save_adapter(&model, &config, "adapter")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sources: LoRA (Hu and others 2021, arXiv 2106.09685), rsLoRA (Kalajdzievski 2023, arXiv 2312.03732), and the layout
//! and the matching rules of PEFT 0.21.

mod attach;
mod config;
mod error;
mod load;
mod save;
mod targets;

pub use attach::{LoraModule, LoraReport, attach, merge};
pub use config::LoraConfig;
pub use error::LoraError;
pub use load::{load_adapter, load_adapter_with_seed};
pub use qwen3_vl_burn::checkpoint::AdapterTargets;
pub use save::save_adapter;

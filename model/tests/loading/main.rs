//! Configurations, checkpoints and downloads: one binary.

#[path = "../files/mod.rs"]
mod files;
#[path = "../fixture/mod.rs"]
mod fixture;
#[path = "../heard/mod.rs"]
mod heard;
#[cfg(feature = "hub")]
#[path = "../hub_server/mod.rs"]
mod hub_server;

mod adapters;
mod bad_checkpoints;
mod bad_configs;
mod checkpoints;
mod config_defaults;
mod configs;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "hub")]
mod hub_options;

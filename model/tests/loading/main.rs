//! Configurations, checkpoints and downloads: one binary.

#[path = "../files/mod.rs"]
mod files;
#[path = "../fixture/mod.rs"]
mod fixture;
#[path = "../hub_server/mod.rs"]
mod hub_server;

mod bad_checkpoints;
mod bad_configs;
mod checkpoints;
mod configs;
mod hub;
mod hub_options;

//! scDiVa, the single-cell foundation model, on any GPU.
//!
//! See `ARCHITECTURE.md` for how the crate is built.

pub mod analysis;
pub mod backend;
pub mod cells;
pub mod cpu;
mod engine;
pub mod error;
pub mod gpu;
#[cfg(target_arch = "wasm32")]
pub mod js;
pub mod model;
mod order;
mod parallel;
pub mod read;
pub mod run;
pub mod tasks;
pub mod write;

pub use engine::{DeviceChoice, DeviceInfo, DeviceOptions, Info, ModelInfo, ScDiVa};
pub use error::{Error, Result};
pub use model::ModelFiles;

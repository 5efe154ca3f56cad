//! scDiVa, the single-cell foundation model, on any GPU.
//!
//! See `ARCHITECTURE.md` for how the crate is built.

pub mod backend;
pub mod cells;
pub mod cpu;
pub mod error;
pub mod gpu;
pub mod model;
pub mod read;
pub mod write;

pub use error::{Error, Result};

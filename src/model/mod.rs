//! The model: its files, its weights on a device, its forward pass, its heads.

mod batch;
mod checkpoint;
mod config;
mod files;
mod forward;
mod head;
pub mod self_test;
mod tensors;
mod weights;

pub use batch::CellInput;
pub use checkpoint::{Checkpoint, tensor_shapes};
pub use config::Config;
pub use files::ModelFiles;
pub use forward::{Model, Output, Want};
pub use head::{Head, Pooling, Prediction, Tissue};
pub use tensors::TensorFile;

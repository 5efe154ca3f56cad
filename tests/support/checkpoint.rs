//! Writes random checkpoints as model folders.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::panic,
    clippy::unwrap_used,
    reason = "several test files share this, each uses a part; numbers are chosen to fit, and a failure is a failed test"
)]

use crate::reference::model::Sizes;
use crate::reference::random::tensor;
use half::{bf16, f16};
use safetensors::{Dtype, tensor::TensorView};
use std::path::Path;

/// One number of a tensor as it is stored.
fn bytes(x: f32, dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F32 => x.to_le_bytes().to_vec(),
        Dtype::F16 => f16::from_f32(x).to_le_bytes().to_vec(),
        Dtype::BF16 => bf16::from_f32(x).to_le_bytes().to_vec(),
        other => panic!("no checkpoint is stored as {other:?}"),
    }
}

/// `config.json` of these sizes.
pub fn config(sizes: &Sizes) -> String {
    serde_json::json!({
        "name": "random",
        "vocab_size": sizes.vocab_size,
        "hidden_size": sizes.hidden_size,
        "num_layers": sizes.num_layers,
        "num_heads": sizes.num_heads,
        "intermediate_size": sizes.intermediate_size,
        "max_genes": sizes.max_genes,
        "rope_theta": sizes.rope_theta,
    })
    .to_string()
}

/// `model.safetensors` with the random weights of `seed`.
pub fn weights(sizes: &Sizes, seed: u64, dtype: Dtype) -> Vec<u8> {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = sizes
        .tensors()
        .into_iter()
        .map(|(name, shape)| {
            let data = tensor(seed, &name, &shape)
                .into_iter()
                .flat_map(|x| bytes(x, dtype))
                .collect();
            (name, shape, data)
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, data)| (name, TensorView::new(dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// Writes `config.json` and `model.safetensors` into a folder.
pub fn write(folder: &Path, sizes: &Sizes, seed: u64, dtype: Dtype) {
    std::fs::write(folder.join("config.json"), config(sizes)).unwrap();
    std::fs::write(folder.join("model.safetensors"), weights(sizes, seed, dtype)).unwrap();
}

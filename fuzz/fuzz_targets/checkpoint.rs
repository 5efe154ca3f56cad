#![no_main]
//! A model folder: `config.json`, the tensors of the model and of a head.

use scdiva::model::{Checkpoint, Head, ModelFiles};
use std::sync::Arc;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [config, head, model] = scdiva_fuzz::cut(bytes);
    let mut files = ModelFiles::new("model");
    for (name, bytes) in [("config.json", config), ("heads/a.safetensors", head), ("model.safetensors", model)] {
        files.insert(name, Arc::new(bytes));
    }
    drop(Head::open(&files, "a", 16));
    if let Ok(checkpoint) = Checkpoint::open(&files) {
        for tensor in checkpoint.tensors.tensor_names() {
            let mut out = [0.0; 16];
            drop(checkpoint.tensors.read_f32(&tensor, 0..16, &mut out));
        }
    }
});

//! The whole model in WGSL, on whatever adapter there is. No adapter is a failure, not a skip.
#![expect(clippy::expect_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod checkpoint;
    pub mod forward;
    pub mod goldens;
}

use reference::model::{self, Cell, Sizes};
use safetensors::Dtype;
use scdiva::gpu::{Gpu, GpuOptions};
use scdiva::model::Want;
use support::forward;

fn open(options: GpuOptions) -> Gpu {
    pollster::block_on(Gpu::open(options)).expect("an adapter, a software one will do (mesa-vulkan-drivers)")
}

#[test]
fn gpu_agrees_with_goldens_and_reference() {
    forward::check_all(open(GpuOptions::default()));
}

/// Embedding and gene head are past what one binding holds here, as they are on a default adapter for a large vocabulary.
#[test]
fn tensors_past_one_binding_are_cut() {
    let sizes = Sizes {
        vocab_size: 5_000,
        hidden_size: 32,
        num_layers: 1,
        num_heads: 2,
        intermediate_size: 64,
        max_genes: 40,
        rope_theta: 10_000.0,
    };
    let gpu = open(GpuOptions {
        max_binding_size: 256 << 10,
        ..GpuOptions::default()
    });
    let model = forward::load(gpu, &sizes, 31, Dtype::F32);
    let mut cell = Cell::random(7, &sizes, 40, 0.2, 0.0);
    // The first and the last id of every slice of 65,536 / 32 = 2,048 rows.
    for (id, to) in [2, 2_047, 2_048, 4_095, 4_096, 4_996].into_iter().zip(&mut cell.gene_ids) {
        *to = id;
    }
    let want = Want {
        gene_logits: true,
        ..Want::default()
    };
    let output = pollster::block_on(model.forward(&[forward::input(&cell), forward::input(&cell)], want)).unwrap();
    let wanted = model::Model::new(sizes, 31).forward(&cell);
    for c in 0..2 {
        let got: Vec<f64> = output.gene_logits[c].iter().map(|&x| f64::from(x)).collect();
        forward::close("gene_logits", &got, &wanted.gene_logits.data, 2e-4);
        let latent: Vec<f64> = output.latent[c * 32..(c + 1) * 32].iter().map(|&x| f64::from(x)).collect();
        forward::close("latent", &latent, &wanted.latent.data, 2e-4);
    }
}

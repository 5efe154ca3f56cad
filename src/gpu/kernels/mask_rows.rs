//! Replaces masked rows: `shaders/mask_rows.wgsl`.

use crate::backend::Matrix;
use crate::error::Result;
use crate::gpu::kernel::{Access, Kernel, count, elements, params, wgsl};
use crate::gpu::{Batch, Gpu, Tensor, Weight};

params! { n_rows: u32, n_cols: u32 }

pub(crate) const KERNEL: Kernel = Kernel {
    name: "mask_rows",
    source: &[wgsl!("mask_rows.wgsl")],
    needs: &[],
    buffers: &[
        ("masked", Access::Read),
        ("gene_mask", Access::Read),
        ("value_mask", Access::Read),
        ("x", Access::ReadWrite),
    ],
    params: Params::MEMBERS,
    overrides: &[],
};

/// `x[r] = gene_mask + value_mask` at masked rows.
pub(crate) fn launch(gpu: &Gpu, x: &Tensor, batch: &Batch, gene_mask: &Weight, value_mask: &Weight) -> Result<()> {
    let params = Params {
        n_rows: count(x.n_rows()),
        n_cols: count(x.n_cols()),
    };
    let buffers = [&batch.masked, gene_mask.whole()?, value_mask.whole()?, &x.buffer];
    gpu.launch(&KERNEL, &[], &params, &buffers, elements(x.n_rows() * x.n_cols()), 0)
}

//! First layer of the value encoder: `shaders/encode_values.wgsl`.

use crate::backend::Matrix;
use crate::error::Result;
use crate::gpu::kernel::{Access, Kernel, count, elements, params, wgsl};
use crate::gpu::{Batch, Gpu, Tensor, Weight};

params! { n_rows: u32, n_cols: u32 }

pub(crate) const KERNEL: Kernel = Kernel {
    name: "encode_values",
    source: &[wgsl!("encode_values.wgsl"), wgsl!("parts/relu.wgsl")],
    needs: &[],
    buffers: &[
        ("values", Access::Read),
        ("weight", Access::Read),
        ("bias", Access::Read),
        ("out", Access::ReadWrite),
    ],
    params: Params::MEMBERS,
    overrides: &[],
};

/// `relu(values weightᵀ + bias)`.
pub(crate) fn launch(gpu: &Gpu, batch: &Batch, weight: &Weight, bias: &Weight) -> Result<Tensor> {
    let (n_rows, n_cols) = (batch.n_rows, weight.n_cols());
    let out = gpu.tensor(n_rows, n_cols)?;
    let params = Params {
        n_rows: count(n_rows),
        n_cols: count(n_cols),
    };
    let buffers = [&batch.values, weight.whole()?, bias.whole()?, &out.buffer];
    gpu.launch(&KERNEL, &[], &params, &buffers, elements(n_rows * n_cols), 0)?;
    Ok(out)
}

//! Layer normalisation, then `ReLU`: `shaders/layer_norm_relu.wgsl`.

use crate::backend::Matrix;
use crate::error::Result;
use crate::gpu::kernel::{Access, Kernel, count, folded, params, wgsl};
use crate::gpu::{Gpu, Tensor, Weight};

params! { n_rows: u32, n_cols: u32, eps: f32 }

pub(crate) const KERNEL: Kernel = Kernel {
    name: "layer_norm_relu",
    source: &[wgsl!("layer_norm_relu.wgsl"), wgsl!("parts/relu.wgsl")],
    needs: &[],
    buffers: &[
        ("x", Access::Read),
        ("weight", Access::Read),
        ("bias", Access::Read),
        ("out", Access::ReadWrite),
    ],
    params: Params::MEMBERS,
    overrides: &[],
};

/// `relu((x − mean) / sqrt(variance + eps) · weight + bias)` per row.
pub(crate) fn launch(gpu: &Gpu, x: &Tensor, weight: &Weight, bias: &Weight, eps: f32) -> Result<Tensor> {
    let out = gpu.tensor(x.n_rows(), x.n_cols())?;
    let params = Params {
        n_rows: count(x.n_rows()),
        n_cols: count(x.n_cols()),
        eps,
    };
    let buffers = [&x.buffer, weight.whole()?, bias.whole()?, &out.buffer];
    gpu.launch(&KERNEL, &[], &params, &buffers, folded(x.n_rows()), 0)?;
    Ok(out)
}

//! Root mean square normalisation: `shaders/rms_norm.wgsl`.

use crate::backend::Matrix;
use crate::error::Result;
use crate::gpu::kernel::{Access, Kernel, count, folded, params, wgsl};
use crate::gpu::{Gpu, Tensor, Weight};

params! { n_rows: u32, n_cols: u32, eps: f32 }

pub(crate) const KERNEL: Kernel = Kernel {
    name: "rms_norm",
    source: &[wgsl!("rms_norm.wgsl")],
    needs: &[],
    buffers: &[("x", Access::Read), ("weight", Access::Read), ("out", Access::ReadWrite)],
    params: Params::MEMBERS,
    overrides: &[],
};

/// `x / sqrt(mean(x²) + eps) · weight` per row.
pub(crate) fn launch(gpu: &Gpu, x: &Tensor, weight: &Weight, eps: f32) -> Result<Tensor> {
    let out = gpu.tensor(x.n_rows(), x.n_cols())?;
    let params = Params {
        n_rows: count(x.n_rows()),
        n_cols: count(x.n_cols()),
        eps,
    };
    gpu.launch(
        &KERNEL,
        &[],
        &params,
        &[&x.buffer, weight.whole()?, &out.buffer],
        folded(x.n_rows()),
        0,
    )?;
    Ok(out)
}

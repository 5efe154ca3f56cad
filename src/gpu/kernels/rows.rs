//! Copies a run of rows: `shaders/rows.wgsl`.

use crate::backend::Matrix;
use crate::error::Result;
use crate::gpu::kernel::{Access, Kernel, count, elements, params, wgsl};
use crate::gpu::{Gpu, Tensor};
use std::ops::Range;

params! { n_rows: u32, n_cols: u32, first_row: u32 }

pub(crate) const KERNEL: Kernel = Kernel {
    name: "rows",
    source: &[wgsl!("rows.wgsl")],
    needs: &[],
    buffers: &[("x", Access::Read), ("out", Access::ReadWrite)],
    params: Params::MEMBERS,
    overrides: &[],
};

/// `out[r] = x[rows.start + r]`.
pub(crate) fn launch(gpu: &Gpu, x: &Tensor, rows: Range<usize>) -> Result<Tensor> {
    let out = gpu.tensor(rows.len(), x.n_cols())?;
    let params = Params {
        n_rows: count(rows.len()),
        n_cols: count(x.n_cols()),
        first_row: count(rows.start),
    };
    gpu.launch(
        &KERNEL,
        &[],
        &params,
        &[&x.buffer, &out.buffer],
        elements(rows.len() * x.n_cols()),
        0,
    )?;
    Ok(out)
}

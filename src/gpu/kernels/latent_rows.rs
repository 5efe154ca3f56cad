//! Takes the `[LAT]` rows out: `shaders/latent_rows.wgsl`.

use crate::backend::Matrix;
use crate::error::Result;
use crate::gpu::kernel::{Access, Kernel, count, elements, params, wgsl};
use crate::gpu::{Batch, Gpu, Tensor};

params! { n_cells: u32, n_cols: u32 }

pub(crate) const KERNEL: Kernel = Kernel {
    name: "latent_rows",
    source: &[wgsl!("latent_rows.wgsl")],
    needs: &[],
    buffers: &[("cells", Access::Read), ("x", Access::Read), ("out", Access::ReadWrite)],
    params: Params::MEMBERS,
    overrides: &[],
};

/// `out[b] = x[first row of cell b]`.
pub(crate) fn launch(gpu: &Gpu, x: &Tensor, batch: &Batch) -> Result<Tensor> {
    let out = gpu.tensor(batch.cells.len(), x.n_cols())?;
    let params = Params {
        n_cells: count(batch.cells.len()),
        n_cols: count(x.n_cols()),
    };
    let buffers = [&batch.cell_rows, &x.buffer, &out.buffer];
    gpu.launch(&KERNEL, &[], &params, &buffers, elements(batch.cells.len() * x.n_cols()), 0)?;
    Ok(out)
}

//! Puts the `[LAT]` rows in: `shaders/set_latent_rows.wgsl`.

use crate::backend::Matrix;
use crate::error::Result;
use crate::gpu::kernel::{Access, Kernel, count, elements, params, wgsl};
use crate::gpu::{Batch, Gpu, Tensor};

params! { n_cells: u32, n_cols: u32 }

pub(crate) const KERNEL: Kernel = Kernel {
    name: "set_latent_rows",
    source: &[wgsl!("set_latent_rows.wgsl")],
    needs: &[],
    buffers: &[("cells", Access::Read), ("latent", Access::Read), ("x", Access::ReadWrite)],
    params: Params::MEMBERS,
    overrides: &[],
};

/// `x[first row of cell b] = latent[b]`.
pub(crate) fn launch(gpu: &Gpu, x: &Tensor, batch: &Batch, latent: &Tensor) -> Result<()> {
    let params = Params {
        n_cells: count(batch.cells.len()),
        n_cols: count(x.n_cols()),
    };
    let buffers = [&batch.cell_rows, &latent.buffer, &x.buffer];
    gpu.launch(&KERNEL, &[], &params, &buffers, elements(batch.cells.len() * x.n_cols()), 0)
}

//! Mean over the attended genes of each cell: `shaders/cell_mean.wgsl`.

use crate::backend::Matrix;
use crate::error::Result;
use crate::gpu::kernel::{Access, Kernel, count, folded, params, wgsl};
use crate::gpu::{Batch, Gpu, Tensor};

params! { n_cells: u32, n_cols: u32 }

pub(crate) const KERNEL: Kernel = Kernel {
    name: "cell_mean",
    source: &[wgsl!("cell_mean.wgsl")],
    needs: &[],
    buffers: &[("cells", Access::Read), ("x", Access::Read), ("out", Access::ReadWrite)],
    params: Params::MEMBERS,
    overrides: &[],
};

/// `out[b] = mean of x over the attended gene rows of cell b`.
pub(crate) fn launch(gpu: &Gpu, x: &Tensor, batch: &Batch) -> Result<Tensor> {
    let out = gpu.tensor(batch.cells.len(), x.n_cols())?;
    let params = Params {
        n_cells: count(batch.cells.len()),
        n_cols: count(x.n_cols()),
    };
    let [cells_x, cells_y, _] = folded(batch.cells.len());
    let grid = [cells_x, cells_y, count(x.n_cols().div_ceil(64))];
    gpu.launch(&KERNEL, &[], &params, &[&batch.cell_rows, &x.buffer, &out.buffer], grid, 0)?;
    Ok(out)
}

//! The best candidates of every row: `shaders/nearest.wgsl`.

use crate::backend::Matrix;
use crate::error::Result;
use crate::gpu::kernel::{Access, Kernel, count, folded, params, wgsl};
use crate::gpu::{Gpu, Tensor};

params! { n_rows: u32, n_scores: u32, n_best: u32, first: u32 }

pub(crate) const KERNEL: Kernel = Kernel {
    name: "nearest",
    source: &[wgsl!("nearest.wgsl")],
    needs: &[],
    buffers: &[("scores", Access::Read), ("best", Access::ReadWrite)],
    params: Params::MEMBERS,
    overrides: &[],
};

/// Rows of one workgroup.
const ROWS: usize = 64;

/// Merges `scores`, those of candidates from `first` on, into `best`.
pub(crate) fn launch(gpu: &Gpu, scores: &Tensor, first: usize, best: &Tensor) -> Result<()> {
    let params = Params {
        n_rows: count(scores.n_rows()),
        n_scores: count(scores.n_cols()),
        n_best: count(best.n_cols() / 2),
        first: count(first),
    };
    let grid = folded(scores.n_rows().div_ceil(ROWS));
    // A comparison each; the recorder is to know that there is work in it.
    let cost = (scores.n_rows() * scores.n_cols()) as u64;
    gpu.launch(&KERNEL, &[], &params, &[&scores.buffer, &best.buffer], grid, cost)
}

//! Attention probabilities of one cell: `shaders/attention_weights.wgsl`.

use crate::backend::{CellRows, Columns, Matrix};
use crate::error::Result;
use crate::gpu::kernel::{Access, Kernel, count, params, wgsl};
use crate::gpu::{Gpu, Tensor};

params! { first_row: u32, n_rows: u32, n_keys: u32, head_size: u32, scale: f32, q_first_col: u32, q_n_cols: u32, k_first_col: u32, k_n_cols: u32 }

pub(crate) const KERNEL: Kernel = Kernel {
    name: "attention_weights",
    source: &[wgsl!("attention_weights.wgsl")],
    needs: &[],
    buffers: &[("q", Access::Read), ("k", Access::Read), ("out", Access::ReadWrite)],
    params: Params::MEMBERS,
    overrides: &[],
};

/// `softmax(q kᵀ / sqrt(d))` of one cell, `[n_heads · T, T]`.
#[expect(clippy::cast_precision_loss, reason = "a head size is small")]
pub(crate) fn launch(
    gpu: &Gpu,
    q: &Columns<'_, Tensor>,
    k: &Columns<'_, Tensor>,
    cell: CellRows,
    n_heads: usize,
    head_size: usize,
) -> Result<Tensor> {
    let out = gpu.tensor(n_heads * cell.n_rows, cell.n_rows)?;
    let params = Params {
        first_row: count(cell.first_row),
        n_rows: count(cell.n_rows),
        n_keys: count(cell.n_keys),
        head_size: count(head_size),
        scale: 1.0 / (head_size as f32).sqrt(),
        q_first_col: count(q.first),
        q_n_cols: count(q.tensor.n_cols()),
        k_first_col: count(k.first),
        k_n_cols: count(k.tensor.n_cols()),
    };
    let buffers = [&q.tensor.buffer, &k.tensor.buffer, &out.buffer];
    let flops = 2 * (cell.n_rows * cell.n_keys * n_heads * head_size) as u64;
    gpu.launch(
        &KERNEL,
        &[],
        &params,
        &buffers,
        [count(cell.n_rows), count(n_heads), 1],
        flops,
    )?;
    Ok(out)
}

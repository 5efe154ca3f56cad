//! The operations that look at one row at a time.

use super::simd::{sum, vectorised};
use crate::backend::CellRows;
use crate::parallel::{in_turn, threads_for};

/// Calls `f(row number, row)` for every row of `out`, in parallel.
pub(super) fn for_each_row(out: &mut [f32], n_cols: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    // 16 k numbers are some microseconds of work: enough to be worth handing to another thread.
    let n_rows = ((1 << 14) / n_cols.max(1)).max(1);
    let n_threads = threads_for(16 * out.len());
    let tasks = out.chunks_mut((n_rows * n_cols).max(1)).enumerate().collect();
    in_turn(tasks, n_threads, |(i, rows): (usize, &mut [f32])| {
        vectorised(
            #[inline(always)]
            || {
                for (j, row) in rows.chunks_exact_mut(n_cols).enumerate() {
                    f(i * n_rows + j, row);
                }
            },
        );
    });
}

/// Not `max`, which makes 0 of what is not a number.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `out = relu(v w + b)`.
pub(super) fn encode_values(values: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    for_each_row(
        out,
        weight.len(),
        #[inline(always)]
        |r, row| {
            for ((out, w), b) in row.iter_mut().zip(weight).zip(bias) {
                *out = relu(values[r] * w + b);
            }
        },
    );
}

/// `x[r] += table[ids[r]]`; ids are inside the table.
pub(super) fn add_from_table(x: &mut [f32], n_cols: usize, ids: &[u32], table: &[f32]) {
    for_each_row(
        x,
        n_cols,
        #[inline(always)]
        |r, row| {
            let from = &table[ids[r] as usize * n_cols..][..n_cols];
            row.iter_mut().zip(from).for_each(|(x, t)| *x += t);
        },
    );
}

/// Mean of rows 1 to `n_keys` of every cell.
pub(super) fn cell_mean(x: &[f32], n_cols: usize, cells: &[CellRows], out: &mut [f32]) {
    for_each_row(
        out,
        n_cols,
        #[inline(always)]
        |c, mean| {
            let CellRows { first_row, n_keys, .. } = cells[c];
            mean.fill(0.0);
            for row in x[(first_row + 1) * n_cols..(first_row + n_keys) * n_cols].chunks_exact(n_cols) {
                mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x);
            }
            #[expect(clippy::cast_precision_loss, reason = "a cell has far fewer than 2^24 genes")]
            let scale = 1.0 / (n_keys - 1).max(1) as f32;
            mean.iter_mut().for_each(|mean| *mean *= scale);
        },
    );
}

/// `relu((x − mean) / sqrt(variance + eps) · weight + bias)`.
pub(super) fn layer_norm_relu(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let n = weight.len();
    #[expect(clippy::cast_precision_loss, reason = "rows are far shorter than 2^24")]
    let share = 1.0 / n as f32;
    for_each_row(
        out,
        n,
        #[inline(always)]
        |r, row| {
            let x = &x[r * n..(r + 1) * n];
            let mean = sum(x, |x| x) * share;
            let variance = sum(x, |x| (x - mean) * (x - mean)) * share;
            let scale = 1.0 / (variance + eps).sqrt();
            for (((out, x), w), b) in row.iter_mut().zip(x).zip(weight).zip(bias) {
                *out = relu((x - mean) * scale * w + b);
            }
        },
    );
}

/// `x / sqrt(mean(x²) + eps) · weight`.
pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let n = weight.len();
    #[expect(clippy::cast_precision_loss, reason = "rows are far shorter than 2^24")]
    let share = 1.0 / n as f32;
    for_each_row(
        out,
        n,
        #[inline(always)]
        |r, row| {
            let x = &x[r * n..(r + 1) * n];
            let scale = 1.0 / (sum(x, |x| x * x) * share + eps).sqrt();
            for ((out, x), w) in row.iter_mut().zip(x).zip(weight) {
                *out = x * scale * w;
            }
        },
    );
}

//! The reference: every operation of the forward pass, and the whole model, as plain loops in f64.
//!
//! [`ops`] mirrors the signatures of `scdiva::backend::Backend`. [`model`] follows the model's description and none of the
//! library's arrangements: one cell at a time, rows in the order of the input, weights as the checkpoint holds them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::panic,
    clippy::unwrap_used,
    reason = "several test files share this, each uses a part; numbers are chosen to fit, and a failure is a failed test"
)]

pub mod model;
pub mod ops;
pub mod random;

use rayon::prelude::*;

/// A matrix in f64, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Mat {
    pub n_rows: usize,
    pub n_cols: usize,
    pub data: Vec<f64>,
}

impl Mat {
    pub fn new(n_rows: usize, n_cols: usize, data: Vec<f64>) -> Self {
        assert_eq!(n_rows * n_cols, data.len(), "a {n_rows} x {n_cols} matrix");
        Self { n_rows, n_cols, data }
    }

    pub fn zeros(n_rows: usize, n_cols: usize) -> Self {
        Self::new(n_rows, n_cols, vec![0.0; n_rows * n_cols])
    }

    /// The same numbers, widened.
    pub fn from_f32(n_rows: usize, n_cols: usize, data: &[f32]) -> Self {
        Self::new(n_rows, n_cols, data.iter().map(|&x| f64::from(x)).collect())
    }

    pub fn row(&self, row: usize) -> &[f64] {
        &self.data[row * self.n_cols..(row + 1) * self.n_cols]
    }

    pub fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.data[row * self.n_cols..(row + 1) * self.n_cols]
    }

    /// A matrix with these rows of this one.
    pub fn pick(&self, rows: impl IntoIterator<Item = usize>) -> Self {
        let data: Vec<f64> = rows.into_iter().flat_map(|row| self.row(row).to_vec()).collect();
        Self::new(data.len() / self.n_cols.max(1), self.n_cols, data)
    }

    /// Every row replaced by `f(row number, row)`, which has `n_cols` numbers.
    pub fn map_rows(&self, n_cols: usize, f: impl Fn(usize, &[f64]) -> Vec<f64> + Sync) -> Self {
        let data = (0..self.n_rows)
            .into_par_iter()
            .flat_map_iter(|r| f(r, self.row(r)))
            .collect();
        Self::new(self.n_rows, n_cols, data)
    }
}

/// `Σ a[i] b[i]`, in eight partial sums so that it is done in reasonable time.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let mut sums = [0.0; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    rest + sums.iter().sum::<f64>()
}

/// `x Wᵀ`: `[n, K] · [N, K] → [n, N]`.
pub fn matmul(x: &Mat, weight: &Mat) -> Mat {
    assert_eq!(x.n_cols, weight.n_cols);
    x.map_rows(weight.n_rows, |_, row| {
        (0..weight.n_rows).map(|n| dot(row, weight.row(n))).collect()
    })
}

pub fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exp: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.iter().map(|e| e / sum).collect()
}

pub fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// Root of the mean square.
pub fn rms(x: &[f64]) -> f64 {
    (x.iter().map(|x| x * x).sum::<f64>() / x.len().max(1) as f64).sqrt()
}

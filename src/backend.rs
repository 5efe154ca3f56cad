//! The operations of the forward pass, and [`Backend::nearest`] for what looks at its embeddings, each documented once;
//! [`crate::cpu`] and [`crate::gpu`] implement them.
//!
//! Numbers are f32, matrices row-major. A batch is *packed*: the rows of all its cells stand one after another, `[LAT]`
//! first in every cell, then the attended genes, then the unattended ones, so that the keys of a cell are its first
//! `n_keys` rows and no padding is computed. Row order inside a cell is free because every row carries its position.

pub(crate) mod check;

use crate::error::Result;
use std::ops::Range;

/// Where one cell stands among the packed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellRows {
    /// Its first row, which is `[LAT]`.
    pub first_row: usize,
    /// All its rows, `[LAT]` included.
    pub n_rows: usize,
    /// The rows that others attend to: the first `n_keys` of them, `[LAT]` included, so at least 1.
    pub n_keys: usize,
}

/// A batch of cells as packed rows; `n_rows` is the sum over the cells.
#[derive(Debug, Clone, Default)]
pub struct PackedRows {
    /// One entry a cell, in order, without gaps.
    pub cells: Vec<CellRows>,
    /// `[n_rows]`; 0 at `[LAT]` rows.
    pub gene_ids: Vec<u32>,
    /// `[n_rows]`; 0 at `[LAT]` rows.
    pub values: Vec<f32>,
    /// `[n_rows]`; 1 where gene and value are masked, 0 elsewhere.
    pub masked: Vec<u32>,
    /// `[n_rows]`; 0 at `[LAT]` rows, else 1 + the rank of the gene in its cell.
    pub positions: Vec<u32>,
}

impl PackedRows {
    /// Rows of all cells together.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.gene_ids.len()
    }
}

/// Rows and columns of a matrix that lives on a device.
pub trait Matrix {
    /// Number of rows.
    fn n_rows(&self) -> usize;
    /// Number of columns.
    fn n_cols(&self) -> usize;
}

/// `n_cols` columns of a tensor from `first` on; the operation knows how many.
#[derive(Debug)]
pub struct Columns<'a, T> {
    /// The matrix.
    pub tensor: &'a T,
    /// The first column.
    pub first: usize,
}

/// What happens to a row of `x Wᵀ` before it is written.
#[derive(Debug)]
pub enum Epilogue<'a, B: Backend + ?Sized> {
    /// Nothing.
    None,
    /// `+ bias`; bias is `[1, n_out]`.
    Bias(&'a B::Weight),
    /// `max(0, · + bias)`.
    BiasRelu(&'a B::Weight),
    /// Columns come in pairs (gate, up); writes `silu(gate) · up`, so half as many columns.
    SwiGlu,
    /// Rotary position embedding of the first `n_cols` columns. They come in adjacent pairs: pair `i` of a head, `(a, b)`,
    /// becomes `(a cos − b sin, a sin + b cos)`.
    Rope {
        /// `[max position + 1, head_size]`: cos and sin of pair `i` at columns `2i` and `2i + 1`.
        table: &'a B::Weight,
        /// Gives the position of each row.
        batch: &'a B::Batch,
        /// How many columns are rotated, a multiple of `head_size`.
        n_cols: usize,
    },
}

/// Fills a run of rows of a weight: `read(rows, out)`, `out` has `rows.len()` times the weight's columns.
pub type ReadRows<'a> = dyn FnMut(Range<usize>, &mut [f32]) -> Result<()> + 'a;

/// Which rows ask in an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queries {
    /// Every packed row: q has `n_rows` rows.
    AllRows,
    /// Only the `[LAT]` row of each cell: q has `n_cells` rows.
    LatentRows,
}

/// A device that computes the forward pass. Shapes below: R packed rows, B cells, D hidden size, d head size, H heads.
///
/// # Errors
/// Operations fail with [`crate::Error::Argument`] when shapes do not fit (checked before anything runs), with
/// [`crate::Error::Device`] when the device cannot do them, with [`crate::Error::Memory`] when it has no room for the answer, with
/// [`crate::Error::DeviceLost`] when it is gone. On a GPU the last three may show only at the next [`Backend::download`].
#[expect(
    async_fn_in_trait,
    reason = "used with static dispatch only; a GPU's futures are not Send on the web"
)]
#[expect(clippy::missing_errors_doc, reason = "said once for all operations, above")]
pub trait Backend {
    /// An activation matrix; its memory is given back for reuse when it is dropped.
    type Tensor: Matrix;
    /// A weight matrix, unchanged for the life of the model; a vector is `[1, n]`.
    type Weight: Matrix;
    /// A batch's layout, ids, values and positions on the device.
    type Batch;

    /// What errors call this device.
    fn name(&self) -> String;

    /// Brings a weight `[n_rows, n_cols]` to the device piece by piece: `read(rows, out)` fills `out` (`rows.len() · n_cols`
    /// numbers) and is called for consecutive row ranges that cover all rows, each of at most a few MiB.
    fn weight(&self, n_rows: usize, n_cols: usize, read: &mut ReadRows<'_>) -> Result<Self::Weight>;

    /// As [`Backend::weight`], for a matrix that only [`Backend::linear`] and [`Backend::linear_add`] read: a device may keep it less exactly.
    fn matrix(&self, n_rows: usize, n_cols: usize, read: &mut ReadRows<'_>) -> Result<Self::Weight> {
        self.weight(n_rows, n_cols, read)
    }

    /// The largest relative error with which the factors of a product are kept.
    fn rounding(&self) -> f64 {
        f64::from(f32::EPSILON) / 2.0
    }

    /// Brings a batch to the device.
    fn batch(&self, rows: &PackedRows) -> Result<Self::Batch>;

    /// The largest number of f32 that one tensor may hold on this device.
    fn max_tensor_len(&self) -> usize;

    /// Rows of one batch at the most: enough to keep this device busy, little enough that a slow one shows progress.
    fn batch_rows(&self) -> usize;

    /// Brings numbers to the device: `[n_rows, n_cols]`, row-major.
    fn upload(&self, n_rows: usize, n_cols: usize, numbers: &[f32]) -> Result<Self::Tensor>;

    /// Reads a tensor back, row-major, after everything before it is done.
    async fn download(&self, x: &Self::Tensor) -> Result<Vec<f32>>;

    /// First layer of the value encoder: `relu(v wᵀ + b)`, `[R] → [R, D]`. Source: spec 3.1, `value_encoder.0`. `weight`, `bias`: `[1, D]`.
    fn encode_values(&self, batch: &Self::Batch, weight: &Self::Weight, bias: &Self::Weight) -> Result<Self::Tensor>;

    /// `x[r] += table[gene_ids[r]]`: `x` `[R, D]`, `table` `[V, D]`. Source: spec 3.1, `gene_embedding`.
    fn add_gene_embedding(&self, x: &mut Self::Tensor, batch: &Self::Batch, table: &Self::Weight) -> Result<()>;

    /// Mean of a cell's attended gene rows, `[LAT]` left out; zeros for a cell without any: `[R, D] → [B, D]`. Source: spec 3.2.
    fn cell_mean(&self, x: &Self::Tensor, batch: &Self::Batch) -> Result<Self::Tensor>;

    /// `x[r] = gene_mask + value_mask` at masked rows: `x` `[R, D]`, masks `[1, D]`. Source: spec 3.3.
    fn mask_rows(
        &self,
        x: &mut Self::Tensor,
        batch: &Self::Batch,
        gene_mask: &Self::Weight,
        value_mask: &Self::Weight,
    ) -> Result<()>;

    /// Writes `latent` `[B, D]` to the `[LAT]` rows of `x` `[R, D]`. Source: spec 3.3.
    fn set_latent_rows(&self, x: &mut Self::Tensor, batch: &Self::Batch, latent: &Self::Tensor) -> Result<()>;

    /// The `[LAT]` rows: `[R, D] → [B, D]`.
    fn latent_rows(&self, x: &Self::Tensor, batch: &Self::Batch) -> Result<Self::Tensor>;

    /// A run of consecutive rows, copied: `[R, n] → [rows.len(), n]`.
    fn rows(&self, x: &Self::Tensor, rows: Range<usize>) -> Result<Self::Tensor>;

    /// `relu((x − mean) / sqrt(variance + eps) · weight + bias)` per row, the variance divided by n: `[B, D] → [B, D]`. Source: spec 3.2.
    fn layer_norm_relu(&self, x: &Self::Tensor, weight: &Self::Weight, bias: &Self::Weight, eps: f32) -> Result<Self::Tensor>;

    /// `x / sqrt(mean(x²) + eps) · weight` per row, `[n, D] → [n, D]`. Source: spec 3.4.
    fn rms_norm(&self, x: &Self::Tensor, weight: &Self::Weight, eps: f32) -> Result<Self::Tensor>;

    /// `x Wᵀ` with an epilogue: `x` `[n, K]`, `weight` `[N, K]`, of which `weight_rows` are used: `[n, weight_rows.len()]`
    /// (half of it with [`Epilogue::SwiGlu`]).
    fn linear(
        &self,
        x: &Self::Tensor,
        weight: &Self::Weight,
        weight_rows: Range<usize>,
        epilogue: Epilogue<'_, Self>,
    ) -> Result<Self::Tensor>;

    /// `into += x Wᵀ`: `x` `[n, K]`, `weight` `[N, K]`, `into` `[n, N]`.
    fn linear_add(&self, x: &Self::Tensor, weight: &Self::Weight, into: &mut Self::Tensor) -> Result<()>;

    /// Bidirectional attention inside each cell, `softmax(q kᵀ / sqrt(d)) v` over its `n_keys` first rows, without a stored score
    /// matrix. q: `n_heads · head_size` columns of `[R, ·]` or `[B, ·]` as `queries` says; k, v: of `[R, ·]`; head `h` has
    /// columns `h d .. (h + 1) d`. Gives `[R or B, n_heads · head_size]`. Source: spec 3.4.
    #[expect(clippy::too_many_arguments, reason = "q, k and v may come from one matrix or from two")]
    fn attention(
        &self,
        q: Columns<'_, Self::Tensor>,
        k: Columns<'_, Self::Tensor>,
        v: Columns<'_, Self::Tensor>,
        batch: &Self::Batch,
        queries: Queries,
        n_heads: usize,
        head_size: usize,
    ) -> Result<Self::Tensor>;

    /// Merges `scores` `[n, m]`, those of the candidates `first .. first + m`, into `best` `[n, 2 K]`: in each row the K smallest scores so far, rising,
    /// of equal ones that of the lower candidate first, then their candidates as f32, hence below 2^24. With `first` 0 nothing is taken from
    /// `best`; candidates come in rising order. Where there are fewer than K the score is 3e38 and the candidate −1. Of a score that is not a number nothing is said.
    fn nearest(&self, scores: &Self::Tensor, first: usize, best: &mut Self::Tensor) -> Result<()>;

    /// The attention probabilities of one cell with T rows: `[n_heads · T, T]`, row `h T + query`; 0 at unattended keys.
    fn attention_weights(
        &self,
        q: Columns<'_, Self::Tensor>,
        k: Columns<'_, Self::Tensor>,
        batch: &Self::Batch,
        cell: usize,
        n_heads: usize,
        head_size: usize,
    ) -> Result<Self::Tensor>;
}

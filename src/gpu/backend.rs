//! [`Backend`] for the GPU: shapes are checked, kernels launched.

use super::kernel::count;
use super::kernels::attention::Tiles;
use super::pool::Buffer;
use super::{Batch, Gpu, Slice, Tensor, Weight, kernels};
use crate::backend::{Backend, Columns, Epilogue, Matrix, PackedRows, Queries, ReadRows, check};
use crate::error::{Error, Result};
use half::slice::HalfFloatSliceExt;
use std::ops::Range;

/// f32 that are converted and uploaded at a time: 4 MiB.
const CHUNK: usize = 1 << 20;

impl Gpu {
    /// An uninitialised tensor; every kernel writes all of what it gives.
    pub(super) fn tensor(&self, n_rows: usize, n_cols: usize) -> Result<Tensor> {
        if n_rows * n_cols > self.max_tensor_len() {
            return Err(Error::argument(
                "gpu",
                "tensor",
                format_args!(
                    "[{n_rows}, {n_cols}] is more than the {} numbers of one buffer",
                    self.max_tensor_len()
                ),
            ));
        }
        Ok(Tensor {
            n_rows,
            n_cols,
            buffer: self.buffer(n_rows * n_cols * 4),
        })
    }

    /// Brings a weight over, as f16 where `half`.
    pub(super) fn load(&self, n_rows: usize, n_cols: usize, half: bool, read: &mut ReadRows<'_>) -> Result<Weight> {
        // Slices begin at multiples of 64 rows, so that no pair of RoPE or SwiGLU is cut.
        let fits = self.max_tensor_len() / n_cols.max(1);
        let slice_len = if fits >= n_rows { n_rows } else { fits / 64 * 64 };
        if slice_len == 0 {
            return Err(Error::argument(
                "gpu",
                "weight",
                format_args!("[{n_rows}, {n_cols}]: 64 rows do not fit one buffer"),
            ));
        }
        let size = if half { 2 } else { 4 };
        let mut slices = Vec::new();
        let mut chunk = Vec::new();
        let mut halves = Vec::new();
        for start in (0..n_rows).step_by(slice_len) {
            let rows = start..(start + slice_len).min(n_rows);
            let buffer = self.exact_buffer(rows.len() * n_cols * size);
            for first in rows.clone().step_by((CHUNK / n_cols).max(1)) {
                let part = first..(first + (CHUNK / n_cols).max(1)).min(rows.end);
                chunk.resize(part.len() * n_cols, 0.0);
                read(part.clone(), &mut chunk)?;
                let bytes = if half {
                    halves.resize(chunk.len(), half::f16::ZERO);
                    halves.convert_from_f32_slice(&chunk);
                    bytemuck::cast_slice(&halves)
                } else {
                    bytemuck::cast_slice(&chunk)
                };
                self.write(&buffer, ((first - start) * n_cols * size) as u64, bytes);
                self.settle(bytes.len() as u64)?;
            }
            slices.push(Slice { rows, buffer });
        }
        Ok(Weight {
            n_rows,
            n_cols,
            half,
            slices,
        })
    }

    pub(super) fn bytes(&self, bytes: &[u8]) -> Buffer {
        let buffer = self.buffer(bytes.len());
        self.write(&buffer, 0, bytes);
        buffer
    }
}

impl Backend for Gpu {
    type Tensor = Tensor;
    type Weight = Weight;
    type Batch = Batch;

    fn name(&self) -> String {
        self.info().adapter.clone()
    }

    fn weight(&self, n_rows: usize, n_cols: usize, read: &mut ReadRows<'_>) -> Result<Weight> {
        self.load(n_rows, n_cols, false, read)
    }

    fn matrix(&self, n_rows: usize, n_cols: usize, read: &mut ReadRows<'_>) -> Result<Weight> {
        self.load(n_rows, n_cols, self.half && n_cols.is_multiple_of(4), read)
    }

    fn rounding(&self) -> f64 {
        if self.half {
            f64::from(half::f16::EPSILON) / 2.0
        } else {
            f64::from(f32::EPSILON) / 2.0
        }
    }

    fn batch(&self, rows: &PackedRows) -> Result<Batch> {
        self.check_alive()?;
        check::packed_rows(rows)?;
        let cells: Vec<u32> = rows
            .cells
            .iter()
            .flat_map(|c| [count(c.first_row), count(c.n_rows), count(c.n_keys), 0])
            .collect();
        Ok(Batch {
            n_rows: rows.n_rows(),
            max_gene_id: rows.gene_ids.iter().copied().max().unwrap_or(0),
            max_position: rows.positions.iter().copied().max().unwrap_or(0),
            gene_ids: self.bytes(bytemuck::cast_slice(&rows.gene_ids)),
            values: self.bytes(bytemuck::cast_slice(&rows.values)),
            masked: self.bytes(bytemuck::cast_slice(&rows.masked)),
            positions: self.bytes(bytemuck::cast_slice(&rows.positions)),
            cell_rows: self.bytes(bytemuck::cast_slice(&cells)),
            tiles: Tiles::of(self, &rows.cells, Queries::AllRows),
            latent_tiles: Tiles::of(self, &rows.cells, Queries::LatentRows),
            cells: rows.cells.clone(),
        })
    }

    fn max_tensor_len(&self) -> usize {
        let info = self.info();
        usize::try_from(info.max_binding_size.min(info.max_buffer_size) / 4).unwrap_or(usize::MAX)
    }

    fn batch_rows(&self) -> usize {
        if self.info().software { 2_048 } else { 8_192 }
    }

    fn upload(&self, n_rows: usize, n_cols: usize, numbers: &[f32]) -> Result<Tensor> {
        self.check_alive()?;
        check::numbers("upload", n_rows, n_cols, numbers)?;
        let tensor = self.tensor(n_rows, n_cols)?;
        self.write(&tensor.buffer, 0, bytemuck::cast_slice(numbers));
        Ok(tensor)
    }

    async fn download(&self, x: &Tensor) -> Result<Vec<f32>> {
        let bytes = self.read(&x.buffer, x.n_rows * x.n_cols * 4).await?;
        Ok(bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    }

    fn encode_values(&self, batch: &Batch, weight: &Weight, bias: &Weight) -> Result<Tensor> {
        check::vector("encode_values", "weight", weight, weight.n_cols())?;
        check::vector("encode_values", "bias", bias, weight.n_cols())?;
        kernels::encode_values::launch(self, batch, weight, bias)
    }

    fn add_gene_embedding(&self, x: &mut Tensor, batch: &Batch, table: &Weight) -> Result<()> {
        check::shape("add_gene_embedding", "x", x, batch.n_rows, table.n_cols())?;
        if table.half {
            return Err(Error::argument("add_gene_embedding", "table", "kept as f16; wanted f32"));
        }
        check::below("add_gene_embedding", "gene_ids", batch.max_gene_id, table.n_rows())?;
        kernels::add_gene_embedding::launch(self, x, batch, table)
    }

    fn cell_mean(&self, x: &Tensor, batch: &Batch) -> Result<Tensor> {
        check::shape("cell_mean", "x", x, batch.n_rows, x.n_cols())?;
        kernels::cell_mean::launch(self, x, batch)
    }

    fn mask_rows(&self, x: &mut Tensor, batch: &Batch, gene_mask: &Weight, value_mask: &Weight) -> Result<()> {
        check::shape("mask_rows", "x", x, batch.n_rows, gene_mask.n_cols())?;
        check::vector("mask_rows", "gene_mask", gene_mask, x.n_cols())?;
        check::vector("mask_rows", "value_mask", value_mask, gene_mask.n_cols())?;
        kernels::mask_rows::launch(self, x, batch, gene_mask, value_mask)
    }

    fn set_latent_rows(&self, x: &mut Tensor, batch: &Batch, latent: &Tensor) -> Result<()> {
        check::shape("set_latent_rows", "x", x, batch.n_rows, x.n_cols())?;
        check::shape("set_latent_rows", "latent", latent, batch.cells.len(), x.n_cols())?;
        kernels::set_latent_rows::launch(self, x, batch, latent)
    }

    fn latent_rows(&self, x: &Tensor, batch: &Batch) -> Result<Tensor> {
        check::shape("latent_rows", "x", x, batch.n_rows, x.n_cols())?;
        kernels::latent_rows::launch(self, x, batch)
    }

    fn rows(&self, x: &Tensor, rows: Range<usize>) -> Result<Tensor> {
        check::range("rows", "rows", &rows, x.n_rows())?;
        kernels::rows::launch(self, x, rows)
    }

    fn layer_norm_relu(&self, x: &Tensor, weight: &Weight, bias: &Weight, eps: f32) -> Result<Tensor> {
        check::vector("layer_norm_relu", "weight", weight, x.n_cols())?;
        check::vector("layer_norm_relu", "bias", bias, x.n_cols())?;
        kernels::layer_norm_relu::launch(self, x, weight, bias, eps)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Weight, eps: f32) -> Result<Tensor> {
        check::vector("rms_norm", "weight", weight, x.n_cols())?;
        kernels::rms_norm::launch(self, x, weight, eps)
    }

    fn linear(&self, x: &Tensor, weight: &Weight, weight_rows: Range<usize>, epilogue: Epilogue<'_, Self>) -> Result<Tensor> {
        check::linear(x, weight, &weight_rows, &epilogue, |batch| batch.n_rows)?;
        if let Epilogue::Rope { table, batch, .. } = &epilogue {
            check::below("linear", "positions", batch.max_position, table.n_rows())?;
        }
        kernels::linear::launch(self, x, weight, weight_rows, &epilogue)
    }

    fn linear_add(&self, x: &Tensor, weight: &Weight, into: &mut Tensor) -> Result<()> {
        check::shape("linear_add", "weight", weight, into.n_cols(), x.n_cols())?;
        check::shape("linear_add", "into", into, x.n_rows(), into.n_cols())?;
        kernels::linear::launch_add(self, x, weight, into)
    }

    fn attention(
        &self,
        q: Columns<'_, Tensor>,
        k: Columns<'_, Tensor>,
        v: Columns<'_, Tensor>,
        batch: &Batch,
        queries: Queries,
        n_heads: usize,
        head_size: usize,
    ) -> Result<Tensor> {
        let n_queries = match queries {
            Queries::AllRows => batch.n_rows,
            Queries::LatentRows => batch.cells.len(),
        };
        check::heads("attention", n_heads, head_size)?;
        check::columns("attention", "q", &q, n_queries, n_heads * head_size)?;
        check::columns("attention", "k", &k, batch.n_rows, n_heads * head_size)?;
        check::columns("attention", "v", &v, batch.n_rows, n_heads * head_size)?;
        kernels::attention::launch(self, &q, &k, &v, batch, queries, n_heads, head_size)
    }

    fn nearest(&self, scores: &Tensor, first: usize, best: &mut Tensor) -> Result<()> {
        check::nearest(scores, first, best)?;
        kernels::nearest::launch(self, scores, first, best)
    }

    fn attention_weights(
        &self,
        q: Columns<'_, Tensor>,
        k: Columns<'_, Tensor>,
        batch: &Batch,
        cell: usize,
        n_heads: usize,
        head_size: usize,
    ) -> Result<Tensor> {
        check::heads("attention_weights", n_heads, head_size)?;
        check::columns("attention_weights", "q", &q, batch.n_rows, n_heads * head_size)?;
        check::columns("attention_weights", "k", &k, batch.n_rows, n_heads * head_size)?;
        check::range("attention_weights", "cell", &(cell..cell + 1), batch.cells.len())?;
        kernels::attention_weights::launch(self, &q, &k, batch.cells[cell], n_heads, head_size)
    }
}

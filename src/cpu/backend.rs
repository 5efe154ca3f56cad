//! [`Backend`] for the CPU: shapes are checked, loops run.

use super::attention::{self, Heads, Shape, Side};
use super::linear::{Finish, Linear};
use super::{Batch, Cpu, Tensor, Weight, nearest, rows};
use crate::backend::{Backend, CellRows, Columns, Epilogue, Matrix, PackedRows, Queries, ReadRows, check};
use crate::error::{Error, Result};
use std::ops::Range;

impl Cpu {
    /// A tensor of which every number is about to be written.
    fn stale(&self, n_rows: usize, n_cols: usize) -> Result<Tensor> {
        Tensor::stale(&self.pool, n_rows, n_cols)
    }
}

impl Batch {
    fn n_rows(&self) -> usize {
        self.rows.n_rows()
    }

    fn cells(&self) -> &[CellRows] {
        &self.rows.cells
    }
}

/// The heads of q, k or v, checked.
fn heads<'a>(
    operation: &'static str,
    argument: &'static str,
    x: &Columns<'a, Tensor>,
    n_rows: usize,
    shape: Shape,
) -> Result<Heads<'a>> {
    check::heads(operation, shape.n_heads, shape.head_size)?;
    check::columns(operation, argument, x, n_rows, shape.n_heads * shape.head_size)?;
    Ok(Heads {
        numbers: x.tensor.numbers(),
        n_cols: x.tensor.n_cols(),
        first: x.first,
    })
}

impl Backend for Cpu {
    type Tensor = Tensor;
    type Weight = Weight;
    type Batch = Batch;

    fn name(&self) -> String {
        "CPU".to_owned()
    }

    fn weight(&self, n_rows: usize, n_cols: usize, read: &mut ReadRows<'_>) -> Result<Weight> {
        const PIECE: usize = 1 << 18;
        if n_rows == 0 || n_cols == 0 {
            return Err(Error::argument("weight", "shape", format_args!("[{n_rows}, {n_cols}]")));
        }
        let mut rows = super::buffers::zeros(n_rows * n_cols)?;
        let step = (PIECE / n_cols).max(1);
        for (i, out) in rows.chunks_mut(step * n_cols).enumerate() {
            let first = i * step;
            read(first..first + out.len() / n_cols, out)?;
        }
        Ok(Weight::new(n_rows, n_cols, rows))
    }

    fn batch(&self, rows: &PackedRows) -> Result<Batch> {
        check::packed_rows(rows)?;
        let max = |numbers: &[u32]| numbers.iter().copied().max().unwrap_or(0);
        Ok(Batch {
            max_gene_id: max(&rows.gene_ids),
            max_position: max(&rows.positions),
            rows: rows.clone(),
        })
    }

    fn max_tensor_len(&self) -> usize {
        // 4 GiB: past it, memory rather than the address space decides. A quarter of that where addresses have 32 bits.
        if cfg!(target_pointer_width = "64") { 1 << 30 } else { 1 << 28 }
    }

    /// Measured at widths of 128 and 512: with fewer rows the ends of the operations show, with 8,192 activations pass through the memory (6 % slower).
    fn batch_rows(&self) -> usize {
        2_560
    }

    fn upload(&self, n_rows: usize, n_cols: usize, numbers: &[f32]) -> Result<Tensor> {
        check::numbers("upload", n_rows, n_cols, numbers)?;
        let mut tensor = self.stale(n_rows, n_cols)?;
        tensor.numbers_mut().copy_from_slice(numbers);
        Ok(tensor)
    }

    async fn download(&self, x: &Tensor) -> Result<Vec<f32>> {
        Ok(x.numbers().to_vec())
    }

    fn encode_values(&self, batch: &Batch, weight: &Weight, bias: &Weight) -> Result<Tensor> {
        let op = "encode_values";
        check::vector(op, "weight", weight, weight.n_cols())?;
        check::vector(op, "bias", bias, weight.n_cols())?;
        let mut out = self.stale(batch.n_rows(), weight.n_cols())?;
        rows::encode_values(&batch.rows.values, &weight.rows(), &bias.rows(), out.numbers_mut());
        Ok(out)
    }

    fn add_gene_embedding(&self, x: &mut Tensor, batch: &Batch, table: &Weight) -> Result<()> {
        let op = "add_gene_embedding";
        check::shape(op, "x", x, batch.n_rows(), table.n_cols())?;
        check::below(op, "gene_ids", batch.max_gene_id, table.n_rows())?;
        let n_cols = x.n_cols();
        rows::add_from_table(x.numbers_mut(), n_cols, &batch.rows.gene_ids, &table.rows());
        Ok(())
    }

    fn cell_mean(&self, x: &Tensor, batch: &Batch) -> Result<Tensor> {
        check::shape("cell_mean", "x", x, batch.n_rows(), x.n_cols())?;
        let mut out = self.stale(batch.cells().len(), x.n_cols())?;
        rows::cell_mean(x.numbers(), x.n_cols(), batch.cells(), out.numbers_mut());
        Ok(out)
    }

    fn mask_rows(&self, x: &mut Tensor, batch: &Batch, gene_mask: &Weight, value_mask: &Weight) -> Result<()> {
        let op = "mask_rows";
        let n_cols = x.n_cols();
        check::shape(op, "x", x, batch.n_rows(), n_cols)?;
        check::vector(op, "gene_mask", gene_mask, n_cols)?;
        check::vector(op, "value_mask", value_mask, n_cols)?;
        let mask: Vec<f32> = gene_mask.rows().iter().zip(&*value_mask.rows()).map(|(g, v)| g + v).collect();
        rows::for_each_row(x.numbers_mut(), n_cols, |r, row| {
            if batch.rows.masked[r] == 1 {
                row.copy_from_slice(&mask);
            }
        });
        Ok(())
    }

    fn set_latent_rows(&self, x: &mut Tensor, batch: &Batch, latent: &Tensor) -> Result<()> {
        let op = "set_latent_rows";
        let n_cols = x.n_cols();
        check::shape(op, "x", x, batch.n_rows(), n_cols)?;
        check::shape(op, "latent", latent, batch.cells().len(), n_cols)?;
        for (cell, latent) in batch.cells().iter().zip(latent.numbers().chunks_exact(n_cols.max(1))) {
            x.numbers_mut()[cell.first_row * n_cols..(cell.first_row + 1) * n_cols].copy_from_slice(latent);
        }
        Ok(())
    }

    fn latent_rows(&self, x: &Tensor, batch: &Batch) -> Result<Tensor> {
        check::shape("latent_rows", "x", x, batch.n_rows(), x.n_cols())?;
        let n_cols = x.n_cols();
        let mut out = self.stale(batch.cells().len(), n_cols)?;
        rows::for_each_row(out.numbers_mut(), n_cols, |c, row| {
            let first_row = batch.rows.cells[c].first_row;
            row.copy_from_slice(&x.numbers()[first_row * n_cols..(first_row + 1) * n_cols]);
        });
        Ok(out)
    }

    fn rows(&self, x: &Tensor, rows: Range<usize>) -> Result<Tensor> {
        check::range("rows", "rows", &rows, x.n_rows())?;
        let mut out = self.stale(rows.len(), x.n_cols())?;
        out.numbers_mut()
            .copy_from_slice(&x.numbers()[rows.start * x.n_cols()..rows.end * x.n_cols()]);
        Ok(out)
    }

    fn nearest(&self, scores: &Tensor, first: usize, best: &mut Tensor) -> Result<()> {
        check::nearest(scores, first, best)?;
        let (n_scores, n_cols) = (scores.n_cols(), best.n_cols());
        rows::for_each_row(best.numbers_mut(), n_cols, |row, best| {
            nearest::merge(&scores.numbers()[row * n_scores..(row + 1) * n_scores], first, best);
        });
        Ok(())
    }

    fn layer_norm_relu(&self, x: &Tensor, weight: &Weight, bias: &Weight, eps: f32) -> Result<Tensor> {
        let op = "layer_norm_relu";
        check::vector(op, "weight", weight, x.n_cols())?;
        check::vector(op, "bias", bias, x.n_cols())?;
        let mut out = self.stale(x.n_rows(), x.n_cols())?;
        rows::layer_norm_relu(x.numbers(), &weight.rows(), &bias.rows(), eps, out.numbers_mut());
        Ok(out)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Weight, eps: f32) -> Result<Tensor> {
        check::vector("rms_norm", "weight", weight, x.n_cols())?;
        let mut out = self.stale(x.n_rows(), x.n_cols())?;
        rows::rms_norm(x.numbers(), &weight.rows(), eps, out.numbers_mut());
        Ok(out)
    }

    fn linear(&self, x: &Tensor, weight: &Weight, weight_rows: Range<usize>, epilogue: Epilogue<'_, Self>) -> Result<Tensor> {
        check::linear(x, weight, &weight_rows, &epilogue, Batch::n_rows)?;
        let (bias, table);
        let mut n_out = weight_rows.len();
        let finish = match epilogue {
            Epilogue::None => Finish::Write,
            Epilogue::Bias(vector) => {
                bias = vector.rows();
                Finish::Bias(&bias)
            }
            Epilogue::BiasRelu(vector) => {
                bias = vector.rows();
                Finish::BiasRelu(&bias)
            }
            Epilogue::SwiGlu => {
                n_out /= 2;
                Finish::SwiGlu
            }
            Epilogue::Rope {
                table: angles,
                batch,
                n_cols,
            } => {
                check::below("linear", "positions", batch.max_position, angles.n_rows())?;
                table = angles.rows();
                Finish::Rope {
                    table: &table,
                    head_size: angles.n_cols(),
                    positions: &batch.rows.positions,
                    n_cols,
                }
            }
        };
        let mut out = self.stale(x.n_rows(), n_out)?;
        let product = Linear {
            x: x.numbers(),
            n_inner: x.n_cols(),
            weight: &weight.panels(),
            weight_rows,
            finish,
        };
        product.run(out.numbers_mut(), n_out);
        Ok(out)
    }

    fn linear_add(&self, x: &Tensor, weight: &Weight, into: &mut Tensor) -> Result<()> {
        let op = "linear_add";
        check::shape(op, "weight", weight, into.n_cols(), x.n_cols())?;
        check::shape(op, "into", into, x.n_rows(), into.n_cols())?;
        let product = Linear {
            x: x.numbers(),
            n_inner: x.n_cols(),
            weight: &weight.panels(),
            weight_rows: 0..weight.n_rows(),
            finish: Finish::Add,
        };
        product.run(into.numbers_mut(), weight.n_rows());
        Ok(())
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
        let op = "attention";
        let shape = Shape { n_heads, head_size };
        let cells = batch.cells();
        let n_queries: Vec<usize> = match queries {
            Queries::AllRows => cells.iter().map(|cell| cell.n_rows).collect(),
            Queries::LatentRows => vec![1; cells.len()],
        };
        let n_rows = n_queries.iter().sum();
        let q = heads(op, "q", &q, n_rows, shape)?;
        let k = heads(op, "k", &k, batch.n_rows(), shape)?;
        let v = heads(op, "v", &v, batch.n_rows(), shape)?;
        let mut keys = self.stale(1, shape.packed_len(Side::Keys, cells))?;
        let mut values = self.stale(1, shape.packed_len(Side::Values, cells))?;
        let mut packing = shape.packing(Side::Keys, k, cells, keys.numbers_mut());
        packing.extend(shape.packing(Side::Values, v, cells, values.numbers_mut()));
        attention::pack(packing);
        let keys = shape.packed(Side::Keys, cells, keys.numbers());
        let values = shape.packed(Side::Values, cells, values.numbers());
        let mut out = self.stale(n_rows, n_heads * head_size)?;
        attention::attend(q, &keys, &values, cells, &n_queries, shape, out.numbers_mut());
        Ok(out)
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
        let op = "attention_weights";
        let shape = Shape { n_heads, head_size };
        let q = heads(op, "q", &q, batch.n_rows(), shape)?;
        let k = heads(op, "k", &k, batch.n_rows(), shape)?;
        check::range(op, "cell", &(cell..cell.saturating_add(1)), batch.cells().len())?;
        let cell = batch.cells()[cell];
        let mut keys = self.stale(1, shape.packed_len(Side::Keys, &[cell]))?;
        attention::pack(shape.packing(Side::Keys, k, &[cell], keys.numbers_mut()));
        let keys = shape.packed(Side::Keys, &[cell], keys.numbers());
        let mut out = self.stale(n_heads * cell.n_rows, cell.n_rows)?;
        attention::probabilities(q, &keys, cell, shape, out.numbers_mut());
        Ok(out)
    }
}

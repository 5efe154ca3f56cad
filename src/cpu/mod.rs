//! The operations on the CPU: all cores natively, vectors everywhere (AVX-512, AVX2, Neon, wasm's simd128), memory used again.

mod attention;
mod buffers;
mod linear;
mod rows;
mod simd;
mod tile;
mod weight;

use crate::backend::{Backend, CellRows, Columns, Epilogue, Matrix, PackedRows, Queries, ReadRows};
use crate::error::{Error, Result};
use attention::{Heads, Shape};
use buffers::Pool;
use linear::{Finish, Linear};
use rten_simd::ops::BitOps;
use rten_simd::{Isa, SimdOp};
use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

pub use buffers::Tensor;
pub use weight::Weight;

/// The CPU of this machine.
#[derive(Debug, Default)]
pub struct Cpu {
    pool: Arc<Pool>,
}

/// A batch in memory, checked.
#[derive(Debug)]
pub struct Batch {
    rows: PackedRows,
    max_gene_id: usize,
    max_position: usize,
}

impl Cpu {
    /// All threads of the global rayon pool.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Threads and vectors in use, for people.
    ///
    /// ```
    /// let text = scdiva::cpu::Cpu::new().describe();
    /// assert!(text.contains("thread") && text.contains("f32"), "{text}");
    /// ```
    #[must_use]
    pub fn describe(&self) -> String {
        struct Vectors;
        impl SimdOp for Vectors {
            type Output = String;
            fn eval<I: Isa>(self, isa: I) -> String {
                // The type of the instruction set is the only thing that knows its name.
                let path = std::any::type_name::<I>();
                let name = path.rsplit("::").next().unwrap_or(path).trim_end_matches("Isa");
                format!("{name}, {} f32 at once", isa.f32().len())
            }
        }
        let n = rayon::current_num_threads();
        format!("{n} thread{}, {}", if n == 1 { "" } else { "s" }, Vectors.dispatch())
    }

    /// A tensor of which every number is about to be written.
    fn stale(&self, n_rows: usize, n_cols: usize) -> Tensor {
        Tensor::stale(&self.pool, n_rows, n_cols)
    }
}

/// Refuses `got` for an argument where `wanted` is needed.
fn expect<T: PartialEq + Display>(operation: &'static str, argument: &'static str, what: &str, got: T, wanted: T) -> Result<()> {
    if got == wanted {
        return Ok(());
    }
    Err(Error::argument(
        operation,
        argument,
        format_args!("{what} {got}, wanted {wanted}"),
    ))
}

fn expect_rows(operation: &'static str, argument: &'static str, x: &impl Matrix, n_rows: usize) -> Result<()> {
    expect(operation, argument, "rows", x.n_rows(), n_rows)
}

fn expect_shape(operation: &'static str, argument: &'static str, x: &impl Matrix, n_rows: usize, n_cols: usize) -> Result<()> {
    expect_rows(operation, argument, x, n_rows)?;
    expect(operation, argument, "columns", x.n_cols(), n_cols)
}

fn expect_range(operation: &'static str, argument: &'static str, range: &Range<usize>, n: usize) -> Result<()> {
    if range.start <= range.end && range.end <= n {
        return Ok(());
    }
    Err(Error::argument(operation, argument, format_args!("{range:?} of {n}")))
}

impl Batch {
    fn n_rows(&self) -> usize {
        self.rows.n_rows()
    }

    fn cells(&self) -> &[CellRows] {
        &self.rows.cells
    }
}

/// Checks the heads of q, k or v.
fn heads<'a>(
    operation: &'static str,
    argument: &'static str,
    x: &Columns<'a, Tensor>,
    n_rows: usize,
    shape: Shape,
) -> Result<Heads<'a>> {
    expect_rows(operation, argument, x.tensor, n_rows)?;
    let n_cols = x.tensor.n_cols();
    let width = shape.n_heads.checked_mul(shape.head_size);
    let end = width.and_then(|width| width.checked_add(x.first));
    if width.is_none_or(|width| width == 0) || end.is_none_or(|end| end > n_cols) {
        let Shape { n_heads, head_size } = shape;
        let problem = format_args!("{n_heads} heads of {head_size} from column {} on, of {n_cols}", x.first).to_string();
        return Err(Error::argument(operation, argument, problem));
    }
    Ok(Heads {
        numbers: x.tensor.numbers(),
        n_cols,
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
        let mut rows = vec![0.0; n_rows * n_cols];
        let step = (PIECE / n_cols).max(1);
        for (i, out) in rows.chunks_mut(step * n_cols).enumerate() {
            let first = i * step;
            read(first..first + out.len() / n_cols, out)?;
        }
        Ok(Weight::new(n_rows, n_cols, rows))
    }

    fn batch(&self, rows: &PackedRows) -> Result<Batch> {
        let op = "batch";
        expect(op, "values", "length", rows.values.len(), rows.n_rows())?;
        expect(op, "masked", "length", rows.masked.len(), rows.n_rows())?;
        expect(op, "positions", "length", rows.positions.len(), rows.n_rows())?;
        let mut next_row = 0_usize;
        for cell in &rows.cells {
            expect(op, "cells", "first row", cell.first_row, next_row)?;
            if !(1..=cell.n_rows).contains(&cell.n_keys) {
                let problem = format_args!("{} keys in a cell of {} rows", cell.n_keys, cell.n_rows).to_string();
                return Err(Error::argument(op, "cells", problem));
            }
            next_row = next_row.saturating_add(cell.n_rows);
        }
        expect(op, "cells", "rows in all", next_row, rows.n_rows())?;
        let max = |numbers: &[u32]| numbers.iter().copied().max().unwrap_or(0) as usize;
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

    async fn download(&self, x: &Tensor) -> Result<Vec<f32>> {
        Ok(x.numbers().to_vec())
    }

    fn encode_values(&self, batch: &Batch, weight: &Weight, bias: &Weight) -> Result<Tensor> {
        let op = "encode_values";
        expect_rows(op, "weight", weight, 1)?;
        expect_shape(op, "bias", bias, 1, weight.n_cols())?;
        let mut out = self.stale(batch.n_rows(), weight.n_cols());
        rows::encode_values(&batch.rows.values, &weight.rows(), &bias.rows(), out.numbers_mut());
        Ok(out)
    }

    fn add_gene_embedding(&self, x: &mut Tensor, batch: &Batch, table: &Weight) -> Result<()> {
        let op = "add_gene_embedding";
        expect_shape(op, "x", x, batch.n_rows(), table.n_cols())?;
        if batch.max_gene_id >= table.n_rows() {
            let problem = format_args!("gene id {} is past a table of {} rows", batch.max_gene_id, table.n_rows()).to_string();
            return Err(Error::argument(op, "batch", problem));
        }
        let n_cols = x.n_cols();
        rows::add_from_table(x.numbers_mut(), n_cols, &batch.rows.gene_ids, &table.rows());
        Ok(())
    }

    fn cell_mean(&self, x: &Tensor, batch: &Batch) -> Result<Tensor> {
        expect_rows("cell_mean", "x", x, batch.n_rows())?;
        let mut out = self.stale(batch.cells().len(), x.n_cols());
        rows::cell_mean(x.numbers(), x.n_cols(), batch.cells(), out.numbers_mut());
        Ok(out)
    }

    fn mask_rows(&self, x: &mut Tensor, batch: &Batch, gene_mask: &Weight, value_mask: &Weight) -> Result<()> {
        let op = "mask_rows";
        let n_cols = x.n_cols();
        expect_rows(op, "x", x, batch.n_rows())?;
        expect_shape(op, "gene_mask", gene_mask, 1, n_cols)?;
        expect_shape(op, "value_mask", value_mask, 1, n_cols)?;
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
        expect_rows(op, "x", x, batch.n_rows())?;
        expect_shape(op, "latent", latent, batch.cells().len(), n_cols)?;
        for (cell, latent) in batch.cells().iter().zip(latent.numbers().chunks_exact(n_cols.max(1))) {
            x.numbers_mut()[cell.first_row * n_cols..(cell.first_row + 1) * n_cols].copy_from_slice(latent);
        }
        Ok(())
    }

    fn latent_rows(&self, x: &Tensor, batch: &Batch) -> Result<Tensor> {
        expect_rows("latent_rows", "x", x, batch.n_rows())?;
        let n_cols = x.n_cols();
        let mut out = self.stale(batch.cells().len(), n_cols);
        rows::for_each_row(out.numbers_mut(), n_cols, |c, row| {
            let first_row = batch.rows.cells[c].first_row;
            row.copy_from_slice(&x.numbers()[first_row * n_cols..(first_row + 1) * n_cols]);
        });
        Ok(out)
    }

    fn rows(&self, x: &Tensor, rows: Range<usize>) -> Result<Tensor> {
        expect_range("rows", "rows", &rows, x.n_rows())?;
        let mut out = self.stale(rows.len(), x.n_cols());
        out.numbers_mut()
            .copy_from_slice(&x.numbers()[rows.start * x.n_cols()..rows.end * x.n_cols()]);
        Ok(out)
    }

    fn layer_norm_relu(&self, x: &Tensor, weight: &Weight, bias: &Weight, eps: f32) -> Result<Tensor> {
        let op = "layer_norm_relu";
        expect_shape(op, "weight", weight, 1, x.n_cols())?;
        expect_shape(op, "bias", bias, 1, x.n_cols())?;
        let mut out = self.stale(x.n_rows(), x.n_cols());
        rows::layer_norm_relu(x.numbers(), &weight.rows(), &bias.rows(), eps, out.numbers_mut());
        Ok(out)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Weight, eps: f32) -> Result<Tensor> {
        expect_shape("rms_norm", "weight", weight, 1, x.n_cols())?;
        let mut out = self.stale(x.n_rows(), x.n_cols());
        rows::rms_norm(x.numbers(), &weight.rows(), eps, out.numbers_mut());
        Ok(out)
    }

    fn linear(&self, x: &Tensor, weight: &Weight, weight_rows: Range<usize>, epilogue: Epilogue<'_, Self>) -> Result<Tensor> {
        let op = "linear";
        expect(op, "x", "columns", x.n_cols(), weight.n_cols())?;
        expect_range(op, "weight_rows", &weight_rows, weight.n_rows())?;
        let n = weight_rows.len();
        let (bias, table);
        let mut n_out = n;
        let finish = match epilogue {
            Epilogue::None => Finish::Write,
            Epilogue::Bias(vector) | Epilogue::BiasRelu(vector) => {
                expect_shape(op, "bias", vector, 1, n)?;
                bias = vector.rows();
                match epilogue {
                    Epilogue::Bias(_) => Finish::Bias(&bias),
                    _ => Finish::BiasRelu(&bias),
                }
            }
            Epilogue::SwiGlu => {
                if !n.is_multiple_of(2) {
                    return Err(Error::argument(op, "weight_rows", format_args!("{n} rows are no pairs")));
                }
                n_out = n / 2;
                Finish::SwiGlu
            }
            Epilogue::Rope {
                table: angles,
                batch,
                n_cols,
            } => {
                let head_size = angles.n_cols();
                expect_rows(op, "x", x, batch.n_rows())?;
                if !head_size.is_multiple_of(2) || !n_cols.is_multiple_of(head_size) || n_cols > n {
                    let problem = format_args!("{n_cols} of {n} columns in heads of {head_size}").to_string();
                    return Err(Error::argument(op, "n_cols", problem));
                }
                if batch.max_position >= angles.n_rows() {
                    let problem =
                        format_args!("position {} is past a table of {}", batch.max_position, angles.n_rows()).to_string();
                    return Err(Error::argument(op, "table", problem));
                }
                table = angles.rows();
                Finish::Rope {
                    table: &table,
                    head_size,
                    positions: &batch.rows.positions,
                    n_cols,
                }
            }
        };
        let mut out = self.stale(x.n_rows(), n_out);
        let mut panels = weight.panels();
        let mut weight_rows = weight_rows;
        if matches!(finish, Finish::SwiGlu | Finish::Rope { .. }) && !weight_rows.start.is_multiple_of(2) {
            // Pairs would lie across two panels: no model asks for this, so it may cost a copy.
            panels = Arc::new(weight::Panels::pack(&panels.unpack(weight_rows), n, weight.n_cols()));
            weight_rows = 0..n;
        }
        if n_out > 0 {
            let product = Linear {
                x: x.numbers(),
                n_inner: x.n_cols(),
                weight: &panels,
                weight_rows,
                finish,
            };
            product.run(out.numbers_mut(), n_out);
        }
        Ok(out)
    }

    fn linear_add(&self, x: &Tensor, weight: &Weight, into: &mut Tensor) -> Result<()> {
        let op = "linear_add";
        expect(op, "x", "columns", x.n_cols(), weight.n_cols())?;
        expect_shape(op, "into", into, x.n_rows(), weight.n_rows())?;
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
        let mut keys = self.stale(1, shape.keys_len(cells));
        let mut values = self.stale(1, shape.values_len(cells));
        let keys = shape.pack_keys(k, cells, keys.numbers_mut());
        let values = shape.pack_values(v, cells, values.numbers_mut());
        let mut out = self.stale(n_rows, n_heads * head_size);
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
        let Some(&cell) = batch.cells().get(cell) else {
            return Err(Error::argument(op, "cell", format_args!("{cell} of {}", batch.cells().len())));
        };
        let mut keys = self.stale(1, shape.keys_len(&[cell]));
        let keys = shape.pack_keys(k, &[cell], keys.numbers_mut());
        let mut out = self.stale(n_heads * cell.n_rows, cell.n_rows);
        attention::probabilities(q, &keys, cell, shape, out.numbers_mut());
        Ok(out)
    }
}

//! The forward pass, written once over any [`Backend`]. Source: spec section 3.

use super::batch::{CellInput, pack};
use super::checkpoint::Checkpoint;
use super::weights::{Layer, Weights};
use crate::backend::{Backend, Columns, Epilogue, Matrix, PackedRows, Queries};
use crate::error::{Error, Result};
use std::ops::Range;

/// What a forward pass is to give besides the cell embedding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Want {
    /// The mean over the attended gene rows of the final hidden states.
    pub mean: bool,
    /// The final hidden states.
    pub hidden: bool,
    /// The gene head's logits: V numbers a token.
    pub gene_logits: bool,
    /// The value head's predictions.
    pub values: bool,
    /// The attention probabilities of every layer and head.
    pub attention: bool,
}

/// What a forward pass gives. Per-token parts have one entry a cell, rows in the order of its input tokens.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// `[n_cells, D]`: the cell embeddings.
    pub latent: Vec<f32>,
    /// `[n_cells, D]`, when wanted.
    pub mean: Vec<f32>,
    /// Per cell `[L, D]`, when wanted.
    pub hidden: Vec<Vec<f32>>,
    /// Per cell `[L, V]`, when wanted.
    pub gene_logits: Vec<Vec<f32>>,
    /// Per cell `[L]`, when wanted.
    pub values: Vec<Vec<f32>>,
    /// Per cell `[N, H, L + 1, L + 1]` (query, key), `[LAT]` first, when wanted.
    pub attention: Vec<Vec<f32>>,
}

impl Output {
    /// Puts the cells of `next` behind these.
    pub fn append(&mut self, next: Self) {
        self.latent.extend(next.latent);
        self.mean.extend(next.mean);
        self.hidden.extend(next.hidden);
        self.gene_logits.extend(next.gene_logits);
        self.values.extend(next.values);
        self.attention.extend(next.attention);
    }
}

/// A model whose weights are on a device.
pub struct Model<B: Backend> {
    backend: B,
    checkpoint: Checkpoint,
    weights: Weights<B>,
}

impl<B: Backend> std::fmt::Debug for Model<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("config", &self.checkpoint.config)
            .finish_non_exhaustive()
    }
}

impl<B: Backend> Model<B> {
    /// Brings the weights to the device, one tensor at a time.
    ///
    /// # Errors
    /// [`Error::File`] for a number that is not finite; [`Error::Memory`] when the device cannot hold the weights; a GPU says so
    /// with the first answer.
    pub fn load(backend: B, checkpoint: Checkpoint) -> Result<Self> {
        let weights = Weights::load(&backend, &checkpoint)?;
        Ok(Self {
            backend,
            checkpoint,
            weights,
        })
    }

    /// The device.
    pub const fn backend(&self) -> &B {
        &self.backend
    }

    /// After memory ran out: what is brought only when it is wanted has to be brought again.
    pub fn memory_ran_out(&mut self) {
        self.weights.forget_gene_head();
    }

    /// Gives the device back; the weights are dropped.
    pub fn into_backend(self) -> B {
        self.backend
    }

    /// The checkpoint that was loaded.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The most rows (genes and one `[LAT]` a cell) that one batch may have on this device.
    pub fn max_rows(&self) -> usize {
        let config = &self.checkpoint.config;
        self.backend.max_tensor_len() / (3 * config.hidden_size).max(config.intermediate_size)
    }

    /// Runs a batch of cells.
    ///
    /// # Errors
    /// [`Error::Argument`] for inputs that do not fit the model or the device, [`Error::Device`], [`Error::Memory`], [`Error::DeviceLost`].
    pub async fn forward(&self, cells: &[CellInput<'_>], want: Want) -> Result<Output> {
        if cells.is_empty() {
            return Ok(Output::default());
        }
        let config = &self.checkpoint.config;
        let per_token = want.hidden || want.gene_logits || want.values || want.attention;
        let rows = pack(config, cells, per_token)?;
        if rows.n_rows() > self.max_rows() {
            return Err(Error::argument(
                "forward",
                "cells",
                format_args!("{} rows in one batch, this device takes {}", rows.n_rows(), self.max_rows()),
            ));
        }
        let (b, w) = (&self.backend, &self.weights);
        let batch = b.batch(&rows)?;
        let mut output = Output::default();
        let mut h = self.tokens(&rows, &batch)?;
        if want.attention {
            output.attention = cells
                .iter()
                .map(|c| vec![0.0; config.num_layers * config.num_heads * (c.gene_ids.len() + 1).pow(2)])
                .collect();
        }
        for (i, layer) in w.layers.iter().enumerate() {
            // Only row 0 of the last layer is asked for: queries, MLP and norm of the other rows would be thrown away.
            let latent_only = i + 1 == w.layers.len() && !per_token && !want.mean;
            let y = b.rms_norm(&h, &layer.norm1, config.norm_eps)?;
            if want.attention {
                self.attention_maps(i, layer, &y, &rows, &batch, &mut output).await?;
            }
            let context = self.attend(layer, &y, &batch, latent_only)?;
            if latent_only {
                h = b.latent_rows(&h, &batch)?;
            }
            b.linear_add(&context, &layer.o, &mut h)?;
            let y = b.rms_norm(&h, &layer.norm2, config.norm_eps)?;
            let y = b.linear(&y, &layer.gate_up, 0..2 * config.intermediate_size, Epilogue::SwiGlu)?;
            b.linear_add(&y, &layer.down, &mut h)?;
        }
        let h = b.rms_norm(&h, &w.final_norm, config.norm_eps)?;
        let latent = if h.n_rows() == rows.n_rows() {
            &b.latent_rows(&h, &batch)?
        } else {
            &h
        };
        output.latent = b.download(latent).await?;
        if want.mean {
            output.mean = b.download(&b.cell_mean(&h, &batch)?).await?;
        }
        self.heads(&h, &rows, want, &mut output).await?;
        self.check_finite(&output)?;
        Ok(output)
    }

    /// Steps 1 to 3 of the spec: embeddings, `[LAT]`, masks, projection.
    fn tokens(&self, rows: &PackedRows, batch: &B::Batch) -> Result<B::Tensor> {
        let (b, w, d) = (&self.backend, &self.weights, self.checkpoint.config.hidden_size);
        let value = b.encode_values(batch, &w.value_encoder_0.weight, &w.value_encoder_0.bias)?;
        let mut clean = b.linear(
            &value,
            &w.value_encoder_2.weight,
            0..d,
            Epilogue::Bias(&w.value_encoder_2.bias),
        )?;
        b.add_gene_embedding(&mut clean, batch, &w.gene_embedding)?;
        let x = b.cell_mean(&clean, batch)?;
        let x = b.linear(&x, &w.latent_0.weight, 0..d, Epilogue::Bias(&w.latent_0.bias))?;
        let x = b.layer_norm_relu(
            &x,
            &w.latent_norm.weight,
            &w.latent_norm.bias,
            self.checkpoint.config.norm_eps,
        )?;
        let latent = b.linear(&x, &w.latent_3.weight, 0..d, Epilogue::Bias(&w.latent_3.bias))?;
        // [LAT] has seen the clean tokens; only now are the masked ones replaced.
        if rows.masked.contains(&1) {
            b.mask_rows(&mut clean, batch, &w.gene_mask, &w.value_mask)?;
        }
        let mut h = b.linear(&clean, &w.input_proj, 0..d, Epilogue::None)?;
        b.set_latent_rows(&mut h, batch, &latent)?;
        Ok(h)
    }

    /// Attention of a block before its output projection: `[R, D]`, or `[B, D]` for the `[LAT]` rows only.
    fn attend(&self, layer: &Layer<B>, y: &B::Tensor, batch: &B::Batch, latent_only: bool) -> Result<B::Tensor> {
        let (b, config) = (&self.backend, &self.checkpoint.config);
        let (d, n_heads, head_size) = (config.hidden_size, config.num_heads, config.head_size());
        let from = |tensor, first| Columns { tensor, first };
        if latent_only {
            // [LAT] stands at position 0, where the rotation is the identity.
            let q = b.linear(&b.latent_rows(y, batch)?, &layer.qkv, 0..d, Epilogue::None)?;
            let kv = b.linear(y, &layer.qkv, d..3 * d, self.rope(batch, d))?;
            b.attention(
                from(&q, 0),
                from(&kv, 0),
                from(&kv, d),
                batch,
                Queries::LatentRows,
                n_heads,
                head_size,
            )
        } else {
            let qkv = b.linear(y, &layer.qkv, 0..3 * d, self.rope(batch, 2 * d))?;
            b.attention(
                from(&qkv, 0),
                from(&qkv, d),
                from(&qkv, 2 * d),
                batch,
                Queries::AllRows,
                n_heads,
                head_size,
            )
        }
    }

    const fn rope<'a>(&'a self, batch: &'a B::Batch, n_cols: usize) -> Epilogue<'a, B> {
        Epilogue::Rope {
            table: &self.weights.rope,
            batch,
            n_cols,
        }
    }

    /// Reads the attention probabilities of one layer back, cell by cell, in the order of the input tokens.
    async fn attention_maps(
        &self,
        i: usize,
        layer: &Layer<B>,
        y: &B::Tensor,
        rows: &PackedRows,
        batch: &B::Batch,
        output: &mut Output,
    ) -> Result<()> {
        let (b, config) = (&self.backend, &self.checkpoint.config);
        let (d, n_heads) = (config.hidden_size, config.num_heads);
        let qk = b.linear(y, &layer.qkv, 0..2 * d, self.rope(batch, 2 * d))?;
        let (q, k) = (|| Columns { tensor: &qk, first: 0 }, || Columns { tensor: &qk, first: d });
        for (c, cell) in rows.cells.iter().enumerate() {
            let n = cell.n_rows;
            let packed = b
                .download(&b.attention_weights(q(), k(), batch, c, n_heads, config.head_size())?)
                .await?;
            let positions = &rows.positions[cell.first_row..cell.first_row + n];
            let to = &mut output.attention[c][i * n_heads * n * n..(i + 1) * n_heads * n * n];
            for (line, from) in packed.chunks_exact(n).enumerate() {
                let (head, query) = (line / n, positions[line % n] as usize);
                for (&key, &weight) in positions.iter().zip(from) {
                    to[(head * n + query) * n + key as usize] = weight;
                }
            }
        }
        Ok(())
    }

    /// The per-token outputs that are wanted, from the final hidden states.
    async fn heads(&self, h: &B::Tensor, rows: &PackedRows, want: Want, output: &mut Output) -> Result<()> {
        let (b, w, config) = (&self.backend, &self.weights, &self.checkpoint.config);
        let (d, n_genes) = (config.hidden_size, config.vocab_size);
        if want.hidden {
            output.hidden = unpack(rows, 0..rows.n_rows(), &b.download(h).await?, d, None);
        }
        if want.values {
            let y = b.linear(h, &w.value_head_0.weight, 0..d, Epilogue::BiasRelu(&w.value_head_0.bias))?;
            let y = b.linear(&y, &w.value_head_2.weight, 0..1, Epilogue::Bias(&w.value_head_2.bias))?;
            output.values = unpack(rows, 0..rows.n_rows(), &b.download(&y).await?, 1, None);
        }
        if want.gene_logits {
            let gene_head = w.gene_head(b, &self.checkpoint)?;
            // Logits of all rows may be past what one buffer holds.
            let step = (b.max_tensor_len() / n_genes).clamp(1, 1024);
            for start in (0..rows.n_rows()).step_by(step) {
                let range = start..(start + step).min(rows.n_rows());
                let logits = b.linear(&b.rows(h, range.clone())?, gene_head, 0..n_genes, Epilogue::None)?;
                let logits = b.download(&logits).await?;
                let before = std::mem::take(&mut output.gene_logits);
                output.gene_logits = unpack(rows, range, &logits, n_genes, Some(before).filter(|b| !b.is_empty()));
            }
        }
        Ok(())
    }

    /// An overflow or a broken driver shows as a number that is not finite: never handed on.
    fn check_finite(&self, output: &Output) -> Result<()> {
        let parts = [&output.hidden, &output.gene_logits, &output.values, &output.attention];
        let all = parts.into_iter().flatten().chain([&output.latent, &output.mean]);
        if all.flatten().all(|x| x.is_finite()) {
            return Ok(());
        }
        Err(Error::Device {
            device: self.backend.name(),
            operation: "forward".to_owned(),
            problem: "the result holds numbers that are not finite".to_owned(),
        })
    }
}

/// Puts packed rows `range`, `width` numbers each, into per-cell matrices in the order of the input tokens; `[LAT]` rows are left out.
fn unpack(rows: &PackedRows, range: Range<usize>, packed: &[f32], width: usize, into: Option<Vec<Vec<f32>>>) -> Vec<Vec<f32>> {
    let mut cells = into.unwrap_or_else(|| rows.cells.iter().map(|cell| vec![0.0; (cell.n_rows - 1) * width]).collect());
    for (to, cell) in cells.iter_mut().zip(&rows.cells) {
        let start = cell.first_row.max(range.start);
        let end = (cell.first_row + cell.n_rows).min(range.end);
        for row in start..end {
            if let Some(token) = (rows.positions[row] as usize).checked_sub(1) {
                let from = (row - range.start) * width;
                to[token * width..(token + 1) * width].copy_from_slice(&packed[from..from + width]);
            }
        }
    }
    cells
}

//! The weights on a device, arranged for the forward pass.

use super::checkpoint::Checkpoint;
use crate::backend::Backend;
use crate::error::Result;
use std::cell::OnceCell;

/// A linear layer or a norm with both its parts.
pub(super) struct Affine<B: Backend> {
    pub(super) weight: B::Weight,
    pub(super) bias: B::Weight,
}

pub(super) struct Layer<B: Backend> {
    pub(super) norm1: B::Weight,
    /// `[3D, D]`, rotary pairs made neighbours.
    pub(super) qkv: B::Weight,
    pub(super) o: B::Weight,
    pub(super) norm2: B::Weight,
    /// `[2F, D]`, gate and up interleaved.
    pub(super) gate_up: B::Weight,
    pub(super) down: B::Weight,
}

pub(super) struct Weights<B: Backend> {
    pub(super) gene_embedding: B::Weight,
    pub(super) value_encoder_0: Affine<B>,
    pub(super) value_encoder_2: Affine<B>,
    pub(super) gene_mask: B::Weight,
    pub(super) value_mask: B::Weight,
    pub(super) input_proj: B::Weight,
    pub(super) latent_0: Affine<B>,
    pub(super) latent_norm: Affine<B>,
    pub(super) latent_3: Affine<B>,
    pub(super) layers: Vec<Layer<B>>,
    pub(super) final_norm: B::Weight,
    pub(super) value_head_0: Affine<B>,
    pub(super) value_head_2: Affine<B>,
    /// `[max_genes + 1, D / H]`: cos and sin of every position and pair.
    pub(super) rope: B::Weight,
    /// As large as the embedding and seldom asked for: brought over when it is.
    gene_head: OnceCell<B::Weight>,
}

impl<B: Backend> Weights<B> {
    pub(super) fn load(b: &B, checkpoint: &Checkpoint) -> Result<Self> {
        let config = &checkpoint.config;
        let (v, d, f) = (config.vocab_size, config.hidden_size, config.intermediate_size);
        let matrix =
            |tensor: &str, n_rows, n_cols| b.matrix(n_rows, n_cols, &mut |rows, out| checkpoint.read_rows(tensor, rows, out));
        let table =
            |tensor: &str, n_rows, n_cols| b.weight(n_rows, n_cols, &mut |rows, out| checkpoint.read_rows(tensor, rows, out));
        let vector = |tensor: &str, len| table(tensor, 1, len);
        let affine = |layer: &str, n_rows, n_cols| -> Result<Affine<B>> {
            Ok(Affine {
                weight: matrix(&format!("{layer}.weight"), n_rows, n_cols)?,
                bias: vector(&format!("{layer}.bias"), n_rows)?,
            })
        };
        let norm = |layer: &str| -> Result<Affine<B>> {
            Ok(Affine {
                weight: vector(&format!("{layer}.weight"), d)?,
                bias: vector(&format!("{layer}.bias"), d)?,
            })
        };
        let layers = (0..config.num_layers)
            .map(|i| {
                let part = |name: &str| format!("layers.{i}.{name}.weight");
                Ok(Layer {
                    norm1: vector(&part("norm1"), d)?,
                    qkv: b.matrix(3 * d, d, &mut |rows, out| checkpoint.read_qkv(i, rows, out))?,
                    o: matrix(&part("attn.o_proj"), d, d)?,
                    norm2: vector(&part("norm2"), d)?,
                    gate_up: b.matrix(2 * f, d, &mut |rows, out| checkpoint.read_gate_up(i, rows, out))?,
                    down: matrix(&part("mlp.down_proj"), d, f)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        checkpoint.check_finite("gene_head.weight")?;
        Ok(Self {
            gene_embedding: table("gene_embedding.weight", v, d)?,
            // [D, 1]: one number a row, so the same numbers as one row.
            value_encoder_0: norm("value_encoder.0")?,
            value_encoder_2: affine("value_encoder.2", d, d)?,
            gene_mask: vector("gene_mask_emb", d)?,
            value_mask: vector("value_mask_emb", d)?,
            input_proj: matrix("input_proj.weight", d, d)?,
            latent_0: affine("latent_encoder.mlp.0", d, d)?,
            latent_norm: norm("latent_encoder.mlp.1")?,
            latent_3: affine("latent_encoder.mlp.3", d, d)?,
            layers,
            final_norm: vector("final_norm.weight", d)?,
            value_head_0: affine("value_head.0", d, d)?,
            value_head_2: affine("value_head.2", 1, d)?,
            rope: b.weight(config.max_genes + 1, config.head_size(), &mut |rows, out| {
                rope_rows(rows.start, config.head_size(), config.rope_theta, out);
                Ok(())
            })?,
            gene_head: OnceCell::new(),
        })
    }

    /// The gene head `[V, D]`, brought to the device the first time.
    pub(super) fn gene_head(&self, b: &B, checkpoint: &Checkpoint) -> Result<&B::Weight> {
        if let Some(weight) = self.gene_head.get() {
            return Ok(weight);
        }
        let (v, d) = (checkpoint.config.vocab_size, checkpoint.config.hidden_size);
        let weight = b.matrix(v, d, &mut |rows, out| checkpoint.read_rows("gene_head.weight", rows, out))?;
        Ok(self.gene_head.get_or_init(|| weight))
    }

    /// Leaves the gene head to be brought again: where memory ran out, its buffers may not be real.
    pub(super) fn forget_gene_head(&mut self) {
        self.gene_head.take();
    }
}

/// cos and sin of `position · theta^(−2i/d)` at columns `2i` and `2i + 1`, in f64 because f32 angles of a thousand radians
/// have lost four digits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the table is f32; positions are far below 2^52"
)]
fn rope_rows(first_position: usize, head_size: usize, theta: f64, out: &mut [f32]) {
    for (i, row) in out.chunks_exact_mut(head_size).enumerate() {
        for (pair, cos_sin) in row.chunks_exact_mut(2).enumerate() {
            let angle = (first_position + i) as f64 * theta.powf(-((2 * pair) as f64) / head_size as f64);
            cos_sin[0] = angle.cos() as f32;
            cos_sin[1] = angle.sin() as f32;
        }
    }
}

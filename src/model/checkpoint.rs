//! A checkpoint on disk: which tensors there must be, and rows of them in the arrangement that the forward pass wants.

use super::config::Config;
use super::files::ModelFiles;
use super::tensors::TensorFile;
use crate::error::{Error, Result};
use std::ops::Range;

/// `config.json` and `model.safetensors`, checked by name and shape.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The sizes.
    pub config: Config,
    /// The tensors.
    pub tensors: TensorFile,
}

impl Checkpoint {
    /// Opens a checkpoint: every tensor must be there with its shape, and nothing else. Numbers are checked to be finite when
    /// they are read. Source: spec section 2.
    ///
    /// # Errors
    /// [`Error::File`] that names the file and the tensor; [`Error::Io`].
    pub fn open(files: &ModelFiles) -> Result<Self> {
        let tensors = TensorFile::open(&files.path("model.safetensors"), files.require("model.safetensors")?)?;
        let config = match files.get("config.json") {
            Some(_) => Config::parse(&files.path("config.json"), &files.read("config.json")?)?,
            None => {
                let config = Config::released();
                check_tensors(&config, &tensors).map_err(|e| {
                    Error::file(
                        files.path("config.json"),
                        "missing",
                        format_args!(
                            "hidden_size, num_layers, num_heads, intermediate_size, max_genes and vocab_size are needed, \
                             because the tensors are not those of the released model ({e})"
                        ),
                    )
                })?;
                config
            }
        };
        check_tensors(&config, &tensors)?;
        Ok(Self { config, tensors })
    }

    /// Number of parameters.
    #[must_use]
    pub fn n_parameters(&self) -> usize {
        tensor_shapes(&self.config)
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    }

    /// Fills `out` with `rows` of a matrix, or of a vector seen as one row.
    pub(super) fn read_rows(&self, tensor: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let n_cols = out.len() / rows.len().max(1);
        self.tensors.read_f32(tensor, rows.start * n_cols..rows.end * n_cols, out)
    }

    /// `[3D, D]`: q, k and v one under the other, q and k with the halves of every rotary pair made neighbours.
    pub(super) fn read_qkv(&self, layer: usize, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let d = self.config.hidden_size;
        let mut done = 0;
        while done < rows.len() {
            let row = rows.start + done;
            let (part, first) = (row / d, row % d);
            let n_rows = (rows.len() - done).min(d - first);
            let to = &mut out[done * d..(done + n_rows) * d];
            let tensor = format!("layers.{layer}.attn.{}_proj.weight", ["q", "k", "v"][part]);
            if part == 2 {
                self.read_rows(&tensor, first..first + n_rows, to)?;
            } else {
                // Rows change places inside their head only. In one piece, because a browser takes long over many small reads.
                let size = self.config.head_size();
                let heads = first / size * size..(first + n_rows).next_multiple_of(size);
                let mut from = vec![0.0; heads.len() * d];
                self.read_rows(&tensor, heads.clone(), &mut from)?;
                for (i, to) in to.chunks_exact_mut(d).enumerate() {
                    let row = unpaired_row(first + i, size) - heads.start;
                    to.copy_from_slice(&from[row * d..(row + 1) * d]);
                }
            }
            done += n_rows;
        }
        Ok(())
    }

    /// `[2F, D]`: rows `2j` are gate `j`, rows `2j + 1` are up `j`.
    pub(super) fn read_gate_up(&self, layer: usize, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let d = self.config.hidden_size;
        let pairs = rows.start / 2..rows.end.div_ceil(2);
        let mut from = vec![0.0; pairs.len() * d];
        for (parity, name) in ["gate", "up"].into_iter().enumerate() {
            self.read_rows(&format!("layers.{layer}.mlp.{name}_proj.weight"), pairs.clone(), &mut from)?;
            for (row, to) in rows.clone().zip(out.chunks_exact_mut(d)) {
                if row % 2 == parity {
                    let i = row / 2 - pairs.start;
                    to.copy_from_slice(&from[i * d..(i + 1) * d]);
                }
            }
        }
        Ok(())
    }

    /// Reads a tensor for its numbers' sake only: they must be finite.
    pub(super) fn check_finite(&self, tensor: &str) -> Result<()> {
        const CHUNK: usize = 1 << 20;
        let len = self.tensors.info(tensor)?.shape.iter().product::<usize>();
        let mut chunk = vec![0.0; CHUNK.min(len)];
        for start in (0..len).step_by(CHUNK) {
            let end = (start + CHUNK).min(len);
            self.tensors.read_f32(tensor, start..end, &mut chunk[..end - start])?;
        }
        Ok(())
    }
}

/// The row of a released q or k matrix that stands at `row` after pairing: `2i` comes from `i`, `2i + 1` from `i + d/2`.
fn unpaired_row(row: usize, head_size: usize) -> usize {
    let (head, column) = (row / head_size, row % head_size);
    head * head_size + column / 2 + (column % 2) * (head_size / 2)
}

/// Every tensor of a model with its shape. Source: spec section 2.
#[must_use]
pub fn tensor_shapes(config: &Config) -> Vec<(String, Vec<usize>)> {
    let (v, d, f) = (config.vocab_size, config.hidden_size, config.intermediate_size);
    let mut shapes: Vec<(String, Vec<usize>)> = [
        ("gene_embedding.weight", vec![v, d]),
        ("value_encoder.0.weight", vec![d, 1]),
        ("value_encoder.0.bias", vec![d]),
        ("value_encoder.2.weight", vec![d, d]),
        ("value_encoder.2.bias", vec![d]),
        ("gene_mask_emb", vec![d]),
        ("value_mask_emb", vec![d]),
        ("input_proj.weight", vec![d, d]),
        ("latent_encoder.mlp.0.weight", vec![d, d]),
        ("latent_encoder.mlp.0.bias", vec![d]),
        ("latent_encoder.mlp.1.weight", vec![d]),
        ("latent_encoder.mlp.1.bias", vec![d]),
        ("latent_encoder.mlp.3.weight", vec![d, d]),
        ("latent_encoder.mlp.3.bias", vec![d]),
        ("final_norm.weight", vec![d]),
        ("gene_head.weight", vec![v, d]),
        ("value_head.0.weight", vec![d, d]),
        ("value_head.0.bias", vec![d]),
        ("value_head.2.weight", vec![1, d]),
        ("value_head.2.bias", vec![1]),
    ]
    .map(|(name, shape)| (name.to_owned(), shape))
    .into();
    for layer in 0..config.num_layers {
        for (name, shape) in [
            ("norm1.weight", vec![d]),
            ("norm2.weight", vec![d]),
            ("attn.q_proj.weight", vec![d, d]),
            ("attn.k_proj.weight", vec![d, d]),
            ("attn.v_proj.weight", vec![d, d]),
            ("attn.o_proj.weight", vec![d, d]),
            ("mlp.gate_proj.weight", vec![f, d]),
            ("mlp.up_proj.weight", vec![f, d]),
            ("mlp.down_proj.weight", vec![d, f]),
        ] {
            shapes.push((format!("layers.{layer}.{name}"), shape));
        }
    }
    shapes
}

fn check_tensors(config: &Config, tensors: &TensorFile) -> Result<()> {
    let shapes = tensor_shapes(config);
    for (name, shape) in &shapes {
        tensors.expect_shape(name, shape)?;
    }
    let is_wanted = |name: &String| shapes.iter().any(|(wanted, _)| wanted == name);
    match tensors.tensor_names().iter().find(|name| !is_wanted(name)) {
        None => Ok(()),
        Some(extra) => Err(Error::file(tensors.name(), extra, "a tensor that this model does not have")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairing_makes_the_halves_neighbours() {
        let rows: Vec<usize> = (0..8).map(|row| unpaired_row(row, 4)).collect();
        assert_eq!(rows, [0, 2, 1, 3, 4, 6, 5, 7]);
    }

    #[test]
    fn the_released_model_has_its_published_size() {
        let n: usize = tensor_shapes(&Config::released())
            .iter()
            .map(|(_, s)| s.iter().product::<usize>())
            .sum();
        assert_eq!(n, 94_482_433);
    }
}

//! Cell embeddings. Source: spec section 3.5.

use super::{OnProgress, Runner, run_batches};
use crate::cells::{InputReport, Tokenizer};
use crate::error::Result;
use crate::model::Want;

/// The cell embeddings of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// D.
    pub n_cols: usize,
    /// `[n_cells, D]`, row-major.
    pub values: Vec<f32>,
    /// Cells without a gene that the model knows: their row says nothing about them.
    pub empty_cells: Vec<usize>,
    /// What was found in the file.
    pub report: InputReport,
}

/// Embeds all cells.
pub(crate) async fn embed(
    runner: &mut impl Runner,
    n_cols: usize,
    tokenizer: &Tokenizer<'_>,
    on_progress: &mut OnProgress<'_>,
) -> Result<Embedding> {
    let mut values = Vec::with_capacity(tokenizer.report().n_cells * n_cols);
    let mut empty_cells = Vec::new();
    run_batches(runner, tokenizer, Want::default(), on_progress, |cells, tokens, output| {
        values.extend_from_slice(&output.latent);
        empty_cells.extend(
            cells
                .zip(tokens)
                .filter(|(_, tokens)| tokens.is_empty())
                .map(|(cell, _)| cell),
        );
        Ok(())
    })
    .await?;
    Ok(Embedding {
        n_cols,
        values,
        empty_cells,
        report: tokenizer.report().clone(),
    })
}

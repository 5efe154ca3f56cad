//! Cell embeddings. Source: spec section 3.5.

use super::{OnProgress, Runner, answer_blocks};
use crate::cells::{InputReport, Tokenizer};
use crate::error::Result;

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
    let n_cells = tokenizer.report().n_cells;
    let mut values = Vec::with_capacity(n_cells * n_cols);
    let mut empty_cells = Vec::new();
    answer_blocks(runner, tokenizer, None, 0..n_cells, on_progress, &mut |block| {
        values.extend(block.embedding);
        let unknown = block.cells.zip(block.known).filter(|(_, known)| !known);
        empty_cells.extend(unknown.map(|(cell, _)| cell));
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

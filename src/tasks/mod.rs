//! What the model is used for: a matrix in, an answer out. A task knows no device; it runs on whatever runs batches.

mod annotate;
mod cluster;
mod embed;
mod graph;
mod markers;
mod neighbours;
mod random;
mod umap;
mod vote;

pub use annotate::{AnnotateOptions, Annotation, UNASSIGNED, check_min_probability};
pub use cluster::{ClusterOptions, Clusters, cluster, over_clustering};
pub use embed::Embedding;
pub use markers::{GroupSums, Marker};
pub use neighbours::{NeighbourOptions, Neighbours, neighbours};
pub use umap::{UmapOptions, umap};
pub use vote::{GroupVote, VoteOptions, Votes, vote};

pub(crate) use annotate::annotate;
pub(crate) use embed::embed;

use crate::cells::{Tokenizer, Tokens};
use crate::error::{Error, Result};
use crate::model::{CellInput, Head, Output, Pooling, Prediction, Want};
use std::ops::{ControlFlow, Range};

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    /// Cells whose answer is there.
    pub n_done: usize,
    /// All cells.
    pub n_cells: usize,
}

/// Told after every batch; [`ControlFlow::Break`] ends the task with [`Error::Cancelled`].
pub type OnProgress<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

fn tell(on_progress: &mut OnProgress<'_>, n_done: usize, n_cells: usize) -> Result<()> {
    match on_progress(Progress { n_done, n_cells }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}

/// `n · part / whole`, also where the product has more bits than memory has addresses.
fn share(n: usize, part: usize, whole: usize) -> usize {
    usize::try_from(n as u128 * part as u128 / whole.max(1) as u128).unwrap_or(n)
}

/// Runs batches on whatever device there is.
pub(crate) trait Runner {
    /// The most rows (genes and one `[LAT]` a cell) of one batch.
    fn max_rows(&self) -> usize;
    /// The forward pass.
    async fn forward(&mut self, cells: &[CellInput<'_>], want: Want) -> Result<Output>;
}

/// Cells that are computed and handed on together. Which cells share a batch depends on the block alone, so that a run that starts at a
/// multiple of this gives the same numbers as one from the first cell on.
pub const BLOCK: usize = 256;

/// Cells that are read at a time: in small steps the same chunks of a file would be read again and again (a matrix of a million cells
/// took six times as long by blocks), in large ones memory would grow.
const READ: usize = 8 * BLOCK;

/// What the model says of some consecutive cells.
#[derive(Debug, Clone, PartialEq)]
pub struct CellBlock {
    /// Which cells of the matrix.
    pub cells: Range<usize>,
    /// `[n_cells]`: whether the cell has a gene that the model knows; what is said of others says nothing about them.
    pub known: Vec<bool>,
    /// `[n_cells]`, with a head: `None` where the cell is not known; empty without one.
    pub predictions: Vec<Option<Prediction>>,
    /// `[n_cells, D]`, row-major.
    pub embedding: Vec<f32>,
}

/// Runs `cells` block by block, in order; `sink` takes each block's answers. Progress counts the cells of this range.
pub(crate) async fn answer_blocks(
    runner: &mut impl Runner,
    tokenizer: &Tokenizer<'_>,
    head: Option<&Head>,
    cells: Range<usize>,
    on_progress: &mut OnProgress<'_>,
    sink: &mut dyn FnMut(CellBlock) -> Result<()>,
) -> Result<()> {
    let want = Want {
        mean: head.is_some_and(|head| head.pooling != Pooling::Latent),
        ..Want::default()
    };
    let (first_cell, n_cells) = (cells.start, cells.len());
    tell(on_progress, 0, n_cells)?;
    for start in cells.clone().step_by(READ) {
        let all = tokenizer.tokens(start..(start + READ).min(cells.end))?;
        for (start, tokens) in (start..).step_by(BLOCK).zip(all.chunks(BLOCK)) {
            let mut answers = CellBlock {
                cells: start..start + tokens.len(),
                known: tokens.iter().map(|tokens| !tokens.is_empty()).collect(),
                predictions: Vec::new(),
                embedding: Vec::new(),
            };
            let mut first = 0;
            while first < tokens.len() {
                let end = first + batch_len(&tokens[first..], runner.max_rows());
                let batch = &tokens[first..end];
                let inputs: Vec<CellInput<'_>> = batch.iter().map(input).collect();
                let output = runner.forward(&inputs, want).await?;
                if let Some(head) = head {
                    let predictions = head.predict(&output, batch.len());
                    let known = batch.iter().map(|tokens| !tokens.is_empty());
                    answers
                        .predictions
                        .extend(known.zip(predictions).map(|(known, p)| known.then_some(p)));
                }
                answers.embedding.extend(output.latent);
                tell(on_progress, start + end - first_cell, n_cells)?;
                first = end;
            }
            sink(answers)?;
        }
    }
    Ok(())
}

fn input(tokens: &Tokens) -> CellInput<'_> {
    CellInput {
        gene_ids: &tokens.gene_ids,
        values: &tokens.values,
        ..CellInput::default()
    }
}

/// How many of the next cells fit one batch; at least one.
fn batch_len(tokens: &[Tokens], max_rows: usize) -> usize {
    let mut n_rows = 0;
    let fitting = tokens.iter().take_while(|tokens| {
        n_rows += tokens.len() + 1;
        n_rows <= max_rows
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fill_up_to_the_limit_and_take_one_cell_at_least() {
        let of = |len| Tokens {
            gene_ids: vec![2; len],
            values: vec![1.0; len],
        };
        let tokens = [of(3), of(3), of(0), of(9)];
        assert_eq!(batch_len(&tokens, 9), 3);
        assert_eq!(batch_len(&tokens, 7), 1);
        assert_eq!(batch_len(&tokens[3..], 5), 1);
    }
}

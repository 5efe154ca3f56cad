//! What the model is used for: a matrix in, an answer out. A task knows no device; it runs on whatever runs batches.

mod annotate;
mod cluster;
mod embed;
mod graph;
mod neighbours;
mod random;
mod umap;
mod vote;

pub use annotate::{AnnotateOptions, Annotation, UNASSIGNED};
pub use cluster::{ClusterOptions, Clusters, cluster, over_clustering};
pub use embed::Embedding;
pub use neighbours::{NeighbourOptions, Neighbours, neighbours};
pub use umap::{UmapOptions, umap};
pub use vote::{GroupVote, VoteOptions, Votes, vote};

pub(crate) use annotate::annotate;
pub(crate) use embed::embed;

use crate::cells::{Tokenizer, Tokens};
use crate::error::{Error, Result};
use crate::model::{CellInput, Output, Want};
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

/// Cells that are read at a time: enough to read files in long runs, little enough to hold in any memory.
const BLOCK: usize = 256;

/// Runs all cells batch by batch, in order; `sink` takes each batch's cells, tokens and output.
async fn run_batches(
    runner: &mut impl Runner,
    tokenizer: &Tokenizer<'_>,
    want: Want,
    on_progress: &mut OnProgress<'_>,
    mut sink: impl FnMut(Range<usize>, &[Tokens], &Output) -> Result<()>,
) -> Result<()> {
    let n_cells = tokenizer.report().n_cells;
    tell(on_progress, 0, n_cells)?;
    for start in (0..n_cells).step_by(BLOCK) {
        let block = start..(start + BLOCK).min(n_cells);
        let tokens = tokenizer.tokens(block.clone())?;
        let mut first = 0;
        while first < tokens.len() {
            let end = first + batch_len(&tokens[first..], runner.max_rows());
            let inputs: Vec<CellInput<'_>> = tokens[first..end].iter().map(input).collect();
            let output = runner.forward(&inputs, want).await?;
            sink(start + first..start + end, &tokens[first..end], &output)?;
            tell(on_progress, start + end, n_cells)?;
            first = end;
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

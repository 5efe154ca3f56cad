//! What the model is used for: a matrix in, an answer out. A task knows no device; it runs on whatever runs batches.

mod annotate;
mod batches;
mod cluster;
mod embed;
mod fit_head;
mod graph;
mod markers;
mod neighbours;
mod random;
mod tissue;
mod umap;
mod vote;

pub use annotate::{AnnotateOptions, Annotation, UNASSIGNED, check_min_probability};
pub use cluster::{ClusterOptions, Clusters, cluster, over_clustering};
pub use embed::Embedding;
pub use fit_head::{CellLabels, FitOptions, FitReport, FittedHead, LEAST_CELLS, TypeReport};
pub use markers::{GroupSums, Marker};
pub use neighbours::{FindNeighbours, NeighbourOptions, Neighbours, OnCpu, neighbours, neighbours_on};
pub use tissue::{MOST_OUTSIDE, TissueChoice, TissueDecision};
pub use umap::{UmapOptions, umap};
pub use vote::{GroupVote, VoteOptions, Votes, vote};

pub(crate) use annotate::annotate;
pub(crate) use batches::{Runner, run_batches};
pub(crate) use embed::embed;
pub(crate) use fit_head::{Fit, fit_head};
pub(crate) use tissue::decide_tissue;

use crate::cells::{Tokenizer, Tokens};
use crate::error::{Error, Result};
use crate::model::{Head, Prediction, Want};
use crate::parallel::meanwhile;
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

/// Cells that are computed and handed on together. Which cells share a batch depends on the block alone, so that a run that starts at a
/// multiple of this gives the same numbers as one from the first cell on; but where memory runs short batches get smaller.
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

/// Runs `cells` block by block, in order; `sink` takes each block's answers. Progress counts the cells of this range. While cells are computed, the
/// next ones are read.
pub(crate) async fn answer_blocks(
    runner: &mut impl Runner,
    tokenizer: &Tokenizer<'_>,
    head: Option<&Head>,
    cells: Range<usize>,
    on_progress: &mut OnProgress<'_>,
    sink: &mut dyn FnMut(CellBlock) -> Result<()>,
) -> Result<()> {
    tell(on_progress, 0, cells.len())?;
    let read = |start: usize| tokenizer.tokens(start.min(cells.end)..(start + READ).min(cells.end));
    let mut tokens = read(cells.start)?;
    for start in cells.clone().step_by(READ) {
        let answers = answer(runner, &tokens, head, start, &cells, on_progress, sink);
        let (next, answered) = meanwhile(|| read(start + READ), answers).await;
        answered?;
        tokens = next?;
    }
    Ok(())
}

/// The blocks of some cells of `cells`, which were read; `start` is the first.
async fn answer(
    runner: &mut impl Runner,
    tokens: &[Tokens],
    head: Option<&Head>,
    start: usize,
    cells: &Range<usize>,
    on_progress: &mut OnProgress<'_>,
    sink: &mut dyn FnMut(CellBlock) -> Result<()>,
) -> Result<()> {
    let want = Want {
        mean: head.is_some_and(|head| head.pooling.reads_mean()),
        ..Want::default()
    };
    let block = |first: usize| {
        let known = tokens[first..].iter().take(BLOCK).map(|tokens| !tokens.is_empty());
        CellBlock {
            cells: start + first..start + (first + BLOCK).min(tokens.len()),
            known: known.collect(),
            predictions: Vec::new(),
            embedding: Vec::new(),
        }
    };
    let mut answers = block(0);
    run_batches(runner, tokens, want, &mut |batch, output| {
        let done = start + batch.end;
        if let Some(head) = head {
            let predictions = head.predict(&output, batch.len());
            let known = answers.known.iter().skip(answers.predictions.len());
            let predictions = known.zip(predictions).map(|(known, p)| known.then_some(p));
            answers.predictions.extend(predictions.collect::<Vec<_>>());
        }
        answers.embedding.extend(output.latent);
        tell(on_progress, done - cells.start, cells.len())?;
        if done == answers.cells.end {
            sink(std::mem::replace(&mut answers, block(batch.end)))?;
        }
        Ok(())
    })
    .await
}

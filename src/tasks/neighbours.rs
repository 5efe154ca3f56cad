//! The nearest cells of every cell, by the Euclidean distance of their embeddings.
//!
//! Euclidean, not cosine: the final norm of the model makes all embeddings of a matrix equally long within 1 %, so that the two agree
//! (the label of most neighbours is the right one for 0.814 of the cells of six labelled sets with either, by an earlier embedded model).

mod inverted_lists;
mod on_device;

use super::{OnProgress, share, tell};
use crate::cpu::nearest::{Candidate, Candidates, Points};
use crate::error::{Error, Result};
use crate::parallel::prelude::*;
use inverted_lists::InvertedLists;

pub use on_device::neighbours_on;

/// How neighbours are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourOptions {
    /// Neighbours of a cell, without the cell itself.
    pub k: usize,
    /// Up to so many cells every pair is compared. Of more, cells are compared with those in nearby parts of space only.
    pub exact_up_to: usize,
}

impl Default for NeighbourOptions {
    fn default() -> Self {
        Self {
            k: 15,
            exact_up_to: 20_000,
        }
    }
}

/// The nearest cells of every cell, the nearest first, of equally near ones the one with the lower index.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// The most neighbours of a cell: what was asked for, or one less than there are cells, at least 1.
    pub k: usize,
    /// `[n_cells, k]`: a cell with fewer neighbours has [`Neighbours::NONE`] in the places that are left.
    pub cells: Vec<u32>,
    /// `[n_cells, k]`: Euclidean distances, infinite in the places that are left.
    pub distances: Vec<f32>,
}

impl Neighbours {
    /// No neighbour.
    pub const NONE: u32 = u32::MAX;

    /// Number of cells.
    #[must_use]
    pub fn n_cells(&self) -> usize {
        self.cells.len().checked_div(self.k).unwrap_or(0)
    }

    /// Neighbours of a cell and their distances; none of a cell without an embedding, or of one that does not exist.
    #[must_use]
    pub fn of(&self, cell: usize) -> (&[u32], &[f32]) {
        let row = cell.saturating_mul(self.k)..cell.saturating_add(1).saturating_mul(self.k);
        match (self.cells.get(row.clone()), self.distances.get(row)) {
            (Some(cells), Some(distances)) => {
                let n = cells.partition_point(|&cell| cell != Self::NONE);
                (&cells[..n], &distances[..n])
            }
            _ => (&[], &[]),
        }
    }
}

impl Neighbours {
    fn none(n_cells: usize, k: usize) -> Self {
        Self {
            k,
            cells: vec![Self::NONE; n_cells * k],
            distances: vec![f32::INFINITY; n_cells * k],
        }
    }

    /// Refuses neighbours that somebody made and that cannot be.
    pub(super) fn check(&self, operation: &'static str) -> Result<()> {
        let n_cells = self.n_cells();
        let problem = if self.cells.len() != n_cells * self.k || self.distances.len() != self.cells.len() {
            format!(
                "{} cells and {} distances are no rows of {}",
                self.cells.len(),
                self.distances.len(),
                self.k
            )
        } else if let Some(cell) = self
            .cells
            .iter()
            .find(|&&cell| cell != Self::NONE && cell as usize >= n_cells)
        {
            format!("cell {cell}, but there are {n_cells}")
        } else {
            return Ok(());
        };
        Err(Error::argument(operation, "neighbours", problem))
    }
}

/// Who finds neighbours: [`OnCpu`], or a [`crate::ScDiVa`], which may have a faster device.
#[expect(async_fn_in_trait, reason = "used with static dispatch only")]
pub trait FindNeighbours {
    /// As [`neighbours`] does with the default options.
    ///
    /// # Errors
    /// What [`neighbours`] says.
    async fn find_neighbours(
        &mut self,
        values: &[f32],
        n_cols: usize,
        empty_cells: &[usize],
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Neighbours>;
}

/// [`neighbours`].
#[derive(Debug, Clone, Copy)]
pub struct OnCpu;

impl FindNeighbours for OnCpu {
    async fn find_neighbours(
        &mut self,
        values: &[f32],
        n_cols: usize,
        empty_cells: &[usize],
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Neighbours> {
        neighbours(values, n_cols, empty_cells, &NeighbourOptions::default(), on_progress)
    }
}

/// The most neighbours of each of these cells. A place for one stands empty where there is only one cell, so that there still is a row for each.
fn most_neighbours(wanted: usize, ids: &[u32]) -> usize {
    wanted.min(ids.len().saturating_sub(1)).max(1)
}

/// Candidates beyond k: scores are f32, and what they confuse is put in order by exact distances.
const SPARE: usize = 8;

/// Cells whose neighbours are looked for at a time. Bounds the memory beside the answer.
const QUERIES: usize = 12_288;

/// Cells that they are compared with at a time: packed they stay in the last cache.
const CANDIDATES: usize = 2048;

/// Searches for approximate neighbours between two calls of the caller.
const SEARCHES: usize = 64;

/// Cells of one parallel task.
const TASK: usize = 96;

/// The `k` nearest cells of every cell of an embedding, `values` `[n_cells, n_cols]`. `empty_cells` have none and are nobody's.
///
/// The same embedding gives the same answer on any number of threads. Beside the answer it takes a few MB.
///
/// ```
/// use scdiva::tasks::{NeighbourOptions, neighbours};
/// # use std::ops::ControlFlow::Continue;
/// let values = [0.0, 0.0, 3.0, 4.0, 0.0, 1.0];
/// let options = NeighbourOptions { k: 1, ..Default::default() };
/// let found = neighbours(&values, 2, &[], &options, &mut |_| Continue(()))?;
/// assert_eq!(found.of(1), (&[2][..], &[18f32.sqrt()][..]));
/// # Ok::<(), scdiva::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] for a ragged embedding, numbers that are not finite or beyond 1e15, `k` of 0; [`Error::Cancelled`].
pub fn neighbours(
    values: &[f32],
    n_cols: usize,
    empty_cells: &[usize],
    options: &NeighbourOptions,
    on_progress: &mut OnProgress<'_>,
) -> Result<Neighbours> {
    let ids = embedded_cells(values, n_cols, empty_cells)?;
    if options.k == 0 {
        return Err(Error::argument("neighbours", "k", "0, wanted at least 1"));
    }
    let n_cells = values.len() / n_cols;
    let k = most_neighbours(options.k, &ids);
    let mut found = Neighbours::none(n_cells, k);
    tell(on_progress, 0, n_cells)?;
    if ids.len() < 2 {
        return Ok(found);
    }
    let centre = mean(values, n_cols, &ids);
    let points = Points {
        values,
        n_cols,
        centre: &centre,
    };
    // The cell itself is among the candidates.
    let keep = k + 1 + SPARE;
    if ids.len() <= options.exact_up_to {
        let mut n_done = 0;
        for queries in ids.chunks(QUERIES) {
            let best = among_all(points, queries, &ids, keep, &mut |part| {
                tell(on_progress, n_done + share(queries.len(), part, ids.len()), n_cells)
            })?;
            found.write(points, queries, &best);
            n_done += queries.len();
        }
    } else {
        let lists = InvertedLists::new(points, &ids, on_progress)?;
        let mut n_done = 0;
        for tasks in lists.tasks().chunks(SEARCHES) {
            let best: Vec<Vec<Candidate>> = tasks.par_iter().map(|queries| lists.search(points, queries, keep)).collect();
            for (queries, best) in tasks.iter().zip(&best) {
                found.write(points, queries, best);
                n_done += queries.len();
            }
            tell(on_progress, n_done, n_cells)?;
        }
    }
    tell(on_progress, n_cells, n_cells)?;
    Ok(found)
}

/// The best candidates of each query among all cells, `[queries, keep]`. Cells compared with so far are told.
fn among_all(
    points: Points<'_>,
    queries: &[u32],
    ids: &[u32],
    keep: usize,
    tell: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Vec<Candidate>> {
    let mut best = vec![Candidate::NONE; queries.len() * keep];
    let mut candidates = Candidates::default();
    let mut n_compared = 0;
    for chunk in ids.chunks(CANDIDATES) {
        candidates.pack(points, chunk);
        best.par_chunks_mut(TASK * keep)
            .zip(queries.par_chunks(TASK))
            .for_each(|(best, queries)| candidates.offer(points, queries, keep, best, |row| row));
        n_compared += chunk.len();
        tell(n_compared)?;
    }
    Ok(best)
}

impl Neighbours {
    /// Writes the nearest of the candidates of `queries`, `[queries, keep]`, by distances in f64.
    fn write(&mut self, points: Points<'_>, queries: &[u32], best: &[Candidate]) {
        let keep = best.len() / queries.len().max(1);
        let rows: Vec<Vec<(f64, u32)>> = queries
            .par_iter()
            .zip(best.par_chunks(keep.max(1)))
            .map(|(&query, best)| {
                let others = best.iter().filter(|other| other.id != Self::NONE && other.id != query);
                let mut row: Vec<(f64, u32)> = others
                    .map(|other| (squared_distance(points, query, other.id), other.id))
                    .collect();
                row.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                row
            })
            .collect();
        for (&query, row) in queries.iter().zip(&rows) {
            let start = query as usize * self.k;
            for (place, &(squared, id)) in (start..start + self.k).zip(row) {
                self.cells[place] = id;
                #[expect(clippy::cast_possible_truncation, reason = "distances are handed on as f32")]
                let distance = squared.sqrt() as f32;
                self.distances[place] = distance;
            }
        }
    }
}

fn squared_distance(points: Points<'_>, a: u32, b: u32) -> f64 {
    let row = |id: u32| &points.values[id as usize * points.n_cols..][..points.n_cols];
    let differences = row(a).iter().zip(row(b)).map(|(&a, &b)| f64::from(a) - f64::from(b));
    differences.map(|d| d * d).sum()
}

/// The mean of the rows `ids`.
#[expect(clippy::cast_possible_truncation, reason = "any centre near the mean will do")]
fn mean(values: &[f32], n_cols: usize, ids: &[u32]) -> Vec<f32> {
    let mut sums = vec![0.0_f64; n_cols];
    for &id in ids {
        for (sum, &x) in sums.iter_mut().zip(&values[id as usize * n_cols..]) {
            *sum += f64::from(x);
        }
    }
    sums.into_iter().map(|sum| (sum / ids.len() as f64) as f32).collect()
}

/// The cells that are not empty, in order; refuses an embedding that is none.
pub(super) fn embedded_cells(values: &[f32], n_cols: usize, empty_cells: &[usize]) -> Result<Vec<u32>> {
    let error = |argument, problem: String| Err(Error::argument("neighbours", argument, problem));
    if n_cols == 0 || !values.len().is_multiple_of(n_cols) {
        return error("values", format!("{} numbers are no rows of {n_cols}", values.len()));
    }
    let n_cells = values.len() / n_cols;
    let Some(end) = u32::try_from(n_cells).ok().filter(|&n| n < Neighbours::NONE) else {
        return error("values", format!("{n_cells} cells, wanted fewer than 2^32 - 1"));
    };
    if let Some(cell) = empty_cells.iter().find(|&&cell| cell >= n_cells) {
        return error("empty_cells", format!("cell {cell}, but there are {n_cells}"));
    }
    let mut is_empty = vec![false; n_cells];
    for &cell in empty_cells {
        is_empty[cell] = true;
    }
    let ids: Vec<u32> = (0..end).filter(|&id| !is_empty[id as usize]).collect();
    for &id in &ids {
        let row = &values[id as usize * n_cols..][..n_cols];
        // Beyond this their squares leave f32.
        if let Some(x) = row.iter().find(|x| x.is_nan() || x.abs() > 1e15) {
            return error("values", format!("cell {id} has {x:e}, wanted numbers within ±1e15"));
        }
    }
    Ok(ids)
}

//! Two dimensions in which cells that are neighbours lie near each other: UMAP (`McInnes` 2018, arXiv 1802.03426).
//!
//! The attraction and repulsion are those of umap-learn; the order of its steps is not. There every step moves two cells at once, so that
//! threads either wait or race. Here the cells of an epoch are moved in rounds: those of one round side by side, each step by step along
//! its own edges, all looking at where the others stood when the round began. Random numbers come from a hash of cell and epoch. So the
//! answer does not depend on the threads, and all of them work.
//!
//! Ours rather than the crate `umap-rs` 0.4, whose threads race.

mod curve;
mod principal;

use super::graph::Graph;
use super::neighbours::embedded_cells;
use super::random::{Random, mix};
use super::{Neighbours, OnProgress, share, tell};
use crate::error::{Error, Result};
use crate::parallel::prelude::*;
use curve::Curve;

/// How cells are laid out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UmapOptions {
    /// How near to each other points may lie, of a spread of 1. Lower shows clumps, higher shows what is between them.
    pub min_dist: f32,
    /// Times that every edge pulls; without it 500 for up to 10,000 cells and 200 for more.
    pub n_epochs: Option<usize>,
    /// Another seed gives another layout.
    pub seed: u64,
}

impl Default for UmapOptions {
    fn default() -> Self {
        Self {
            min_dist: 0.3,
            n_epochs: None,
            seed: 0,
        }
    }
}

/// Rounds of an epoch. With one, cells that pull each other jump over each other.
const ROUNDS: usize = 8;

/// Cells that push a cell away for each one that pulls it.
const PUSHES: usize = 5;

/// The most that one step moves a cell, along one axis and before the learning rate.
const LONGEST_STEP: f32 = 4.0;

/// Half the side of the square in which the cells start.
const START: f32 = 10.0;

/// Lays out cells in two dimensions, `[n_cells]`: by their neighbours, starting from the first two principal components of the embedding,
/// `values` `[n_cells, n_cols]`. A cell without neighbours has no place: two NaN.
///
/// The same input gives the same layout on any number of threads.
///
/// # Errors
/// [`Error::Argument`] when embedding and neighbours are not of the same cells, for a `min_dist` that is not from 0 to 1;
/// [`Error::Cancelled`].
pub fn umap(
    values: &[f32],
    n_cols: usize,
    neighbours: &Neighbours,
    options: &UmapOptions,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<[f32; 2]>> {
    neighbours.check("umap")?;
    let n_cells = neighbours.n_cells();
    let placeless: Vec<usize> = (0..values.len().checked_div(n_cols).unwrap_or(0))
        .filter(|&cell| neighbours.of(cell).0.is_empty())
        .collect();
    let cells = embedded_cells(values, n_cols, &placeless)?;
    if n_cells > 0 && values.len() != n_cells * n_cols {
        let problem = format!("of {n_cells} cells, but the embedding is of {}", values.len() / n_cols);
        return Err(Error::argument("umap", "neighbours", problem));
    }
    if !(0.0..=1.0).contains(&options.min_dist) {
        let problem = format!("{}, wanted 0 to 1", options.min_dist);
        return Err(Error::argument("umap", "min_dist", problem));
    }
    let n_epochs = options.n_epochs.unwrap_or(if cells.len() <= 10_000 { 500 } else { 200 });
    let mut all = vec![[f32::NAN; 2]; values.len() / n_cols];
    tell(on_progress, 0, n_cells)?;
    if cells.is_empty() {
        return Ok(all);
    }
    let graph = among(Graph::fuzzy(neighbours), &cells);
    let mut positions = principal::plane(values, n_cols, &cells);
    spread_out(&mut positions, options.seed);
    let layout = Layout {
        pulls: pulls(&graph, n_epochs),
        graph,
        curve: Curve::fit(f64::from(options.min_dist)),
        n_epochs,
        seed: options.seed,
    };
    for epoch in 0..n_epochs {
        layout.epoch(epoch, &mut positions);
        tell(on_progress, share(n_cells, epoch, n_epochs), n_cells)?;
    }
    for (&cell, position) in cells.iter().zip(&positions) {
        all[cell as usize] = *position;
    }
    tell(on_progress, n_cells, n_cells)?;
    Ok(all)
}

/// The graph of `cells` alone, which are sorted and hold every cell with an edge.
fn among(mut graph: Graph, cells: &[u32]) -> Graph {
    if cells.len() == graph.n_nodes() {
        return graph;
    }
    let mut place = vec![0; graph.n_nodes()];
    for (new, &cell) in (0..).zip(cells) {
        place[cell as usize] = new;
    }
    for target in &mut graph.targets {
        *target = place[*target as usize];
    }
    let ends = cells.iter().map(|&cell| graph.offsets[cell as usize + 1]);
    graph.offsets = std::iter::once(0).chain(ends).collect();
    graph
}

/// Scales positions to the square of the start, and shakes them a little, so that no two are the same.
#[expect(clippy::cast_precision_loss, reason = "24 random bits")]
fn spread_out(positions: &mut [[f32; 2]], seed: u64) {
    let largest = positions.as_flattened().iter().fold(0.0_f32, |max, x| max.max(x.abs()));
    let scale = if largest > 0.0 { START / largest } else { 0.0 };
    for (i, x) in (0_u64..).zip(positions.as_flattened_mut()) {
        let noise = (mix(seed ^ mix(i)) >> 40) as f32 / (1 << 24) as f32 - 0.5;
        *x = *x * scale + 0.001 * noise;
    }
}

/// Fractions of an epoch in whole numbers: additions wrap, comparisons are exact.
const EPOCH: u32 = 1 << 24;

/// How often each edge pulls in an epoch: the strongest once; never, where it would be less than once in all.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "some hundred epochs; a share of EPOCH"
)]
fn pulls(graph: &Graph, n_epochs: usize) -> Vec<u32> {
    let strongest = graph.weights.iter().fold(0.0_f32, |max, &w| max.max(w));
    let least = strongest / n_epochs as f32;
    let pulls = |&weight: &f32| {
        if weight >= least {
            weight / strongest * EPOCH as f32
        } else {
            0.0
        }
    };
    graph.weights.iter().map(|weight| pulls(weight) as u32).collect()
}

struct Layout {
    graph: Graph,
    /// `[n_edges]`: of [`EPOCH`]
    pulls: Vec<u32>,
    curve: Curve,
    n_epochs: usize,
    seed: u64,
}

impl Layout {
    #[expect(clippy::cast_precision_loss, reason = "some hundred epochs")]
    fn epoch(&self, epoch: usize, positions: &mut [[f32; 2]]) {
        let rate = 1.0 - epoch as f32 / self.n_epochs as f32;
        for round in 0..ROUNDS.min(positions.len()) {
            let cells = (round..positions.len()).into_par_iter().step_by(ROUNDS);
            let others = &*positions;
            let moved: Vec<[f32; 2]> = cells
                .with_min_len(64)
                .map(|cell| self.moved(cell, others, epoch, rate))
                .collect();
            for (position, moved) in positions[round..].iter_mut().step_by(ROUNDS).zip(moved) {
                *position = moved;
            }
        }
    }

    /// Where `cell` goes in an epoch.
    fn moved(&self, cell: usize, positions: &[[f32; 2]], epoch: usize, rate: f32) -> [f32; 2] {
        let key = mix(self.seed ^ mix((cell as u64) << 20 ^ epoch as u64));
        let mut random = Random::new(key);
        let mut position = positions[cell];
        for edge in self.graph.offsets[cell]..self.graph.offsets[cell + 1] {
            let other = self.graph.targets[edge] as usize;
            // In umap-learn the two directions of an edge take turns, and each moves both ends: either end is pulled twice.
            if self.is_due(edge, other, cell, epoch) {
                let d = difference(position, positions[other]);
                step(&mut position, d, self.curve.pull(d), rate);
            }
            if self.is_due(edge, cell, other, epoch) {
                let pulled = difference(position, positions[other]);
                let pushed: [[f32; 2]; PUSHES] = std::array::from_fn(|_| match random.below(positions.len()) {
                    // Nothing pushes itself.
                    other if other == cell => [0.0; 2],
                    other => difference(position, positions[other]),
                });
                let pushes = self.curve.pushes(pushed);
                step(&mut position, pulled, self.curve.pull(pulled), rate);
                for (d, force) in pushed.into_iter().zip(pushes) {
                    step(&mut position, d, force, rate);
                }
            }
        }
        position
    }

    /// Whether an edge, in the direction from one end to the other, pulls in an epoch. Each starts at a time of its own.
    #[expect(clippy::cast_possible_truncation, reason = "what a hash is made of may wrap")]
    fn is_due(&self, edge: usize, from: usize, to: usize, epoch: usize) -> bool {
        let ends = (from as u32).wrapping_mul(0x9e37_79b9) ^ (to as u32).wrapping_mul(0x85eb_ca6b);
        let start = ends.wrapping_mul(0xc2b2_ae35) >> 8;
        let now = start.wrapping_add((epoch as u32).wrapping_mul(self.pulls[edge])) % EPOCH;
        now + self.pulls[edge] >= EPOCH
    }
}

fn difference(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    [a[0] - b[0], a[1] - b[1]]
}

fn step(position: &mut [f32; 2], d: [f32; 2], force: f32, rate: f32) {
    for (x, d) in position.iter_mut().zip(d) {
        *x += rate * (force * d).clamp(-LONGEST_STEP, LONGEST_STEP);
    }
}

//! Neighbours of many cells: space is cut into parts, and a cell is compared with the cells of the parts nearest to it.

use super::{CANDIDATES, TASK, mean};
use crate::cpu::nearest::{Candidate, Candidates, Points};
use crate::error::Result;
use crate::parallel::prelude::*;
use crate::tasks::{OnProgress, tell};

/// Rounds of k-means, and cells a part that it sees: the parts need not be the best ones.
const ROUNDS: usize = 8;
const SAMPLE: usize = 64;

/// Parts that a cell is compared with.
const PROBES: usize = 12;

/// Cells of one search: of many that lie together several look into the same list, which is packed once for them.
const SEARCH: usize = 512;

/// Cells by the centroid (of k-means) that is nearest to them.
pub(super) struct InvertedLists {
    /// `[n_lists]` candidates
    centroids: Candidates,
    /// Cells, list after list.
    cells: Vec<u32>,
    /// `[n_lists + 1]`
    offsets: Vec<usize>,
}

impl InvertedLists {
    pub(super) fn new(points: Points<'_>, ids: &[u32], on_progress: &mut OnProgress<'_>) -> Result<Self> {
        let n_cells = points.values.len() / points.n_cols;
        // Lists as long as there are lists: then finding the lists and reading them cost the same order.
        let n_lists = ids.len().isqrt().max(1);
        let sample: Vec<u32> = ids.iter().copied().step_by((ids.len() / (SAMPLE * n_lists)).max(1)).collect();
        let start: Vec<u32> = (0..n_lists).map(|list| sample[list * sample.len() / n_lists]).collect();
        let row = |id: u32| &points.values[id as usize * points.n_cols..][..points.n_cols];
        let mut values: Vec<f32> = start.iter().flat_map(|&id| row(id)).copied().collect();
        let list_ids: Vec<u32> = (0..).take(n_lists).collect();
        let mut centroids = Candidates::default();
        let pack = |values: &[f32], centroids: &mut Candidates| centroids.pack(Points { values, ..points }, &list_ids);
        pack(&values, &mut centroids);
        for _ in 0..ROUNDS {
            let (cells, offsets) = by_list(&sample, &nearest(points, &sample, &centroids), n_lists);
            for (list, centroid) in values.chunks_exact_mut(points.n_cols).enumerate() {
                let members = &cells[offsets[list]..offsets[list + 1]];
                if !members.is_empty() {
                    centroid.copy_from_slice(&mean(points.values, points.n_cols, members));
                }
            }
            pack(&values, &mut centroids);
            tell(on_progress, 0, n_cells)?;
        }
        let (cells, offsets) = by_list(ids, &nearest(points, ids, &centroids), n_lists);
        tell(on_progress, 0, n_cells)?;
        Ok(Self {
            centroids,
            cells,
            offsets,
        })
    }

    fn list(&self, list: usize) -> &[u32] {
        &self.cells[self.offsets[list]..self.offsets[list + 1]]
    }

    /// All cells in groups that lie together.
    pub(super) fn tasks(&self) -> Vec<&[u32]> {
        (0..self.offsets.len() - 1)
            .flat_map(|list| self.list(list).chunks(SEARCH))
            .collect()
    }

    /// The best candidates of each query, `[queries, keep]`.
    pub(super) fn search(&self, points: Points<'_>, queries: &[u32], keep: usize) -> Vec<Candidate> {
        let n_probes = PROBES.min(self.offsets.len() - 1);
        let mut probes = vec![Candidate::NONE; queries.len() * n_probes];
        self.centroids.offer(points, queries, n_probes, &mut probes, |row| row);
        // Which query looks into which list; list by list, so that a list is packed once.
        let mut visits: Vec<(u32, usize)> = probes.iter().enumerate().map(|(i, probe)| (probe.id, i / n_probes)).collect();
        visits.sort_unstable();
        let mut best = vec![Candidate::NONE; queries.len() * keep];
        let mut candidates = Candidates::default();
        for visits in visits.chunk_by(|a, b| a.0 == b.0) {
            let visitors: Vec<u32> = visits.iter().map(|&(_, row)| queries[row]).collect();
            for cells in self.list(visits[0].0 as usize).chunks(CANDIDATES) {
                candidates.pack(points, cells);
                candidates.offer(points, &visitors, keep, &mut best, |i| visits[i].1);
            }
        }
        best
    }
}

/// Of each cell the list of the nearest centroid.
fn nearest(points: Points<'_>, ids: &[u32], centroids: &Candidates) -> Vec<usize> {
    let mut best = vec![Candidate::NONE; ids.len()];
    best.par_chunks_mut(TASK)
        .zip(ids.par_chunks(TASK))
        .for_each(|(best, queries)| centroids.offer(points, queries, 1, best, |row| row));
    best.into_iter().map(|candidate| candidate.id as usize).collect()
}

/// Cells sorted by list, in a list by id; and where each list starts.
fn by_list(ids: &[u32], lists: &[usize], n_lists: usize) -> (Vec<u32>, Vec<usize>) {
    let mut offsets = vec![0; n_lists + 1];
    for &list in lists {
        offsets[list + 1] += 1;
    }
    for list in 0..n_lists {
        offsets[list + 1] += offsets[list];
    }
    let mut next = offsets.clone();
    let mut cells = vec![0; ids.len()];
    for (&id, &list) in ids.iter().zip(lists) {
        cells[next[list]] = id;
        next[list] += 1;
    }
    (cells, offsets)
}

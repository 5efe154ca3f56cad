//! The same neighbours by a device's products: every pair of cells, in tiles that fit one buffer.

use super::{Neighbours, SPARE, embedded_cells, mean, most_neighbours};
use crate::backend::{Backend, Epilogue, ReadRows};
use crate::cpu::nearest::{Candidate, Points};
use crate::error::{Error, Result};
use crate::tasks::{OnProgress, tell};
use std::ops::Range;

/// Cells whose neighbours are looked for at a time, and cells that they are compared with: their scores are 64 MiB at the most.
const QUERIES: usize = 8192;
const CANDIDATES: usize = 2048;

/// As [`super::neighbours`], exact for any number of cells below 2^24, on a device. What it gives differs from the CPU's at most where distances
/// differ by less than f32 tells apart.
///
/// # Errors
/// What [`super::neighbours`] says; [`Error::Argument`] for 2^24 cells or more; what the device says.
pub async fn neighbours_on<B: Backend>(
    backend: &B,
    values: &[f32],
    n_cols: usize,
    empty_cells: &[usize],
    k: usize,
    on_progress: &mut OnProgress<'_>,
) -> Result<Neighbours> {
    let ids = embedded_cells(values, n_cols, empty_cells)?;
    if k == 0 {
        return Err(Error::argument("neighbours", "k", "0, wanted at least 1"));
    }
    let n_cells = values.len() / n_cols;
    let mut found = Neighbours::none(n_cells, most_neighbours(k, &ids));
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
    let (keep, n_queries) = (found.k + 1 + SPARE, QUERIES.min(backend.max_tensor_len() / CANDIDATES).max(1));
    let candidates = ids.chunks(CANDIDATES).map(|ids| Candidates::bring(backend, points, ids));
    let candidates: Vec<Candidates<B>> = candidates.collect::<Result<_>>()?;
    let mut rows = Vec::new();
    for (done, queries) in (0..).step_by(n_queries).zip(ids.chunks(n_queries)) {
        points.gather(queries, &mut rows);
        let x = backend.upload(queries.len(), n_cols, &rows)?;
        let mut best = backend.upload(queries.len(), 2 * keep, &vec![0.0; queries.len() * 2 * keep])?;
        for (first, block) in (0..).step_by(CANDIDATES).zip(&candidates) {
            let scores = backend.linear(&x, &block.negated, 0..block.len, Epilogue::Bias(&block.half_norms))?;
            backend.nearest(&scores, first, &mut best)?;
        }
        let best = backend.download(&best).await?;
        let best: Vec<Candidate> = best
            .chunks_exact(2 * keep)
            .flat_map(|row| row[..keep].iter().zip(&row[keep..]))
            .map(|(&score, &place)| candidate(score, place, &ids))
            .collect();
        if ids.len() >= keep && best.iter().any(|candidate| candidate.id == Neighbours::NONE) {
            return Err(Error::Device {
                device: backend.name(),
                operation: "nearest".to_owned(),
                problem: "found too few neighbours: some distances were no numbers".to_owned(),
            });
        }
        found.write(points, queries, &best);
        tell(on_progress, done + queries.len(), n_cells)?;
    }
    tell(on_progress, n_cells, n_cells)?;
    Ok(found)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places are whole and below 2^24; -1 is none"
)]
fn candidate(score: f32, place: f32, ids: &[u32]) -> Candidate {
    let id = if place < 0.0 { None } else { ids.get(place as usize) };
    id.map_or(Candidate::NONE, |&id| Candidate { score, id })
}

/// Cells on the device such that a product with them and a bias is a score: `|b|² / 2 − a·b`.
struct Candidates<B: Backend> {
    len: usize,
    /// `[len, n_cols]`
    negated: B::Weight,
    /// `[1, len]`
    half_norms: B::Weight,
}

impl<B: Backend> Candidates<B> {
    fn bring(backend: &B, points: Points<'_>, ids: &[u32]) -> Result<Self> {
        let mut rows = Vec::new();
        points.gather(ids, &mut rows);
        let half_norms: Vec<f32> = rows.chunks_exact(points.n_cols).map(half_norm).collect();
        for x in &mut rows {
            *x = -*x;
        }
        let load = |n_rows: usize, numbers: &[f32]| {
            let n_cols = numbers.len() / n_rows;
            let read: &mut ReadRows<'_> = &mut |range: Range<usize>, out: &mut [f32]| {
                out.copy_from_slice(&numbers[range.start * n_cols..range.end * n_cols]);
                Ok(())
            };
            backend.weight(n_rows, n_cols, read)
        };
        Ok(Self {
            len: ids.len(),
            negated: load(ids.len(), &rows)?,
            half_norms: load(1, &half_norms)?,
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
fn half_norm(row: &[f32]) -> f32 {
    (row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 2.0) as f32
}

//! The nearest of many rows: products in tiles, and of every row the best few candidates.
//!
//! Half the squared distance of a and b, less `|a|² / 2`, which is the same for all candidates of a row, is `|b|² / 2 − a·b`: the *score*.
//! It depends on the two rows alone, not on where in a tile they lie, so that the answer is the same however the work is cut.

use super::simd::{sum, vectorised};
use super::tile::{PANEL, PanelRow, Product, Tile, pack_panels, pack_strips, padded_rows};
use std::cell::RefCell;

/// Queries at once: a multiple of every strip, and with their packed rows still in the second cache.
const BLOCK: usize = 96;

/// Rows of numbers.
#[derive(Clone, Copy)]
pub(crate) struct Points<'a> {
    /// `[n, n_cols]`
    pub(crate) values: &'a [f32],
    /// At least 1.
    pub(crate) n_cols: usize,
    /// `[n_cols]`: taken from every row first. Products of rows far from zero lose the digits that tell the rows apart.
    pub(crate) centre: &'a [f32],
}

impl Points<'_> {
    /// The rows `ids`, less the centre, one after another.
    pub(crate) fn gather(self, ids: &[u32], rows: &mut Vec<f32>) {
        rows.clear();
        for &id in ids {
            let row = &self.values[id as usize * self.n_cols..][..self.n_cols];
            rows.extend(row.iter().zip(self.centre).map(|(x, c)| x - c));
        }
    }
}

/// A row that is near another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) score: f32,
    pub(crate) id: u32,
}

impl Candidate {
    pub(crate) const NONE: Self = Self {
        score: f32::INFINITY,
        id: u32::MAX,
    };

    fn is_before(self, other: Self) -> bool {
        self.score < other.score || (self.score == other.score && self.id < other.id)
    }
}

/// Candidates, ready to be multiplied.
#[derive(Default)]
pub(crate) struct Candidates {
    ids: Vec<u32>,
    /// `[panels][n_cols][32]`
    panels: Vec<PanelRow>,
    /// `[panels][32]`: `|b|² / 2`; infinite past the last candidate.
    half_norms: Vec<PanelRow>,
    n_cols: usize,
    rows: Vec<f32>,
}

impl Candidates {
    /// Makes the rows `ids` the candidates, instead of those before.
    pub(crate) fn pack(&mut self, points: Points<'_>, ids: &[u32]) {
        let n_panels = ids.len().div_ceil(PANEL);
        self.ids.clear();
        self.ids.extend_from_slice(ids);
        self.n_cols = points.n_cols;
        points.gather(ids, &mut self.rows);
        self.panels.resize(n_panels * points.n_cols, PanelRow::ZERO);
        self.half_norms.clear();
        self.half_norms.resize(n_panels, PanelRow([f32::INFINITY; PANEL]));
        vectorised(
            #[inline(always)]
            || {
                for (i, row) in self.rows.chunks_exact(points.n_cols).enumerate() {
                    self.half_norms[i / PANEL][i % PANEL] = sum(row, |x| x * x) / 2.0;
                }
                pack_panels(&self.rows, points.n_cols, ids.len(), points.n_cols, 1.0, &mut self.panels);
            },
        );
    }

    /// Offers every candidate to every query. The best of query `i` so far are row `slot(i)` of `best` `[_, keep]`, the nearest first, of
    /// equally near ones that with the lower id.
    pub(crate) fn offer(
        &self,
        points: Points<'_>,
        queries: &[u32],
        keep: usize,
        best: &mut [Candidate],
        slot: impl Fn(usize) -> usize,
    ) {
        SCRATCH.with_borrow_mut(|Scratch { rows, strips }| {
            let mut tile = [PanelRow::ZERO; BLOCK];
            for (block, ids) in queries.chunks(BLOCK).enumerate() {
                points.gather(ids, rows);
                strips.resize(padded_rows(BLOCK) * self.n_cols, 0.0);
                let strips = &mut strips[..padded_rows(ids.len()) * self.n_cols];
                vectorised(
                    #[inline(always)]
                    || pack_strips(rows, self.n_cols, ids.len(), self.n_cols, 1.0, strips),
                );
                let tile = &mut tile[..ids.len()];
                for panel in 0..self.half_norms.len() {
                    let product = Product {
                        a: strips,
                        b: self.panel(panel),
                        n_rows: tile.len(),
                        n_cols: PANEL,
                        next: self.panel(panel + 1),
                    };
                    product.give_to(Tile { out: tile, add: false });
                    let place = |row| slot(block * BLOCK + row) * keep;
                    self.insert(panel, tile, keep, best, place);
                }
            }
        });
    }

    /// Empty past the last.
    fn panel(&self, panel: usize) -> &[PanelRow] {
        let start = (panel * self.n_cols).min(self.panels.len());
        &self.panels[start..(start + self.n_cols).min(self.panels.len())]
    }

    /// Takes what is good enough of a tile of products.
    fn insert(&self, panel: usize, tile: &[PanelRow], keep: usize, best: &mut [Candidate], place: impl Fn(usize) -> usize) {
        let ids = &self.ids[panel * PANEL..self.ids.len().min((panel + 1) * PANEL)];
        let half_norms = &self.half_norms[panel];
        vectorised(
            #[inline(always)]
            || {
                for (row, products) in tile.iter().enumerate() {
                    let best = &mut best[place(row)..][..keep];
                    let worst = best[keep - 1].score;
                    let mut scores = [0.0_f32; PANEL];
                    // Counted, because that is done in vectors; nearly always nothing passes.
                    let mut n_passing = 0;
                    for i in 0..PANEL {
                        scores[i] = half_norms[i] - products[i];
                        n_passing += u32::from(scores[i] <= worst);
                    }
                    if n_passing > 0 {
                        insert_row(&scores, ids, best);
                    }
                }
            },
        );
    }
}

fn insert_row(scores: &[f32; PANEL], ids: &[u32], best: &mut [Candidate]) {
    let last = best.len() - 1;
    for (&score, &id) in scores.iter().zip(ids) {
        let candidate = Candidate { score, id };
        if candidate.is_before(best[last]) {
            let at = best.partition_point(|other| other.is_before(candidate));
            best.copy_within(at..last, at + 1);
            best[at] = candidate;
        }
    }
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    rows: Vec<f32>,
    strips: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// No candidate, where an operation says so in f32.
pub(super) const NO_SCORE: f32 = 3.0e38;

/// Merges the scores of candidates from `first` on into the best so far: `best` has their scores, then they themselves as f32.
#[expect(clippy::cast_precision_loss, reason = "candidates are below 2^24")]
pub(super) fn merge(scores: &[f32], first: usize, best: &mut [f32]) {
    let (values, ids) = best.split_at_mut(best.len() / 2);
    if first == 0 {
        values.fill(NO_SCORE);
        ids.fill(-1.0);
    }
    let last = values.len() - 1;
    for (candidate, &score) in (first..).zip(scores) {
        if score < values[last] {
            let at = values.partition_point(|&other| other <= score);
            values.copy_within(at..last, at + 1);
            ids.copy_within(at..last, at + 1);
            (values[at], ids[at]) = (score, candidate as f32);
        }
    }
}

//! `x Wᵀ` with its epilogue, a block of rows at a time.

use super::simd::{silu, vectorised};
use super::tile::{PANEL, PanelRow, Product, pack_strips, padded_rows};
use super::weight::Panels;
use rayon::prelude::*;
use rten_simd::SimdOp;
use std::cell::RefCell;
use std::ops::Range;

/// Rows of `x` that one task multiplies. They stay in the second cache, [`MAX_INNER`] columns at a time, while the panels
/// of the weight pass by: 96 kB.
const MAX_ROWS: usize = 48;
const MAX_INNER: usize = 512;

/// What happens to the numbers of a block before they are written.
#[derive(Clone, Copy)]
pub(super) enum Finish<'a> {
    Write,
    /// Added to what the output holds.
    Add,
    Bias(&'a [f32]),
    BiasRelu(&'a [f32]),
    SwiGlu,
    Rope {
        /// `[n_positions, head_size]`.
        table: &'a [f32],
        head_size: usize,
        /// Of all rows.
        positions: &'a [u32],
        n_cols: usize,
    },
}

/// A product of all rows of `x`.
pub(super) struct Linear<'a> {
    /// `[n, n_inner]`.
    pub(super) x: &'a [f32],
    pub(super) n_inner: usize,
    pub(super) weight: &'a Panels,
    /// Rows of the weight. Where columns come in pairs, it starts at an even one.
    pub(super) weight_rows: Range<usize>,
    pub(super) finish: Finish<'a>,
}

impl Linear<'_> {
    /// `out` is `[n, n_out]`; `n_out` is at least 1.
    pub(super) fn run(&self, out: &mut [f32], n_out: usize) {
        let n_rows = out.len() / n_out;
        // Four blocks a thread even out the load; below 12 rows a block reads the weight for too little work.
        let fair = n_rows.div_ceil(4 * rayon::current_num_threads());
        let block = padded_rows(fair.clamp(12, MAX_ROWS)).min(MAX_ROWS);
        out.par_chunks_mut(block * n_out)
            .enumerate()
            .for_each(|(i, out)| SCRATCH.with_borrow_mut(|scratch| self.block(i * block, out, n_out, scratch)));
    }

    /// Rows from `first_row` on, as many as `out` has.
    fn block(&self, first_row: usize, out: &mut [f32], n_out: usize, scratch: &mut Scratch) {
        let n_rows = out.len() / n_out;
        let x = &self.x[first_row * self.n_inner..(first_row + n_rows) * self.n_inner];
        let panels = self.weight_rows.start / PANEL..self.weight_rows.end.div_ceil(PANEL);
        let n_parts = self.n_inner.div_ceil(MAX_INNER);
        // Sums of a long inner dimension, part by part; a single part needs none.
        let n_sums = if n_parts > 1 { panels.len() * n_rows } else { 0 };
        scratch.sums.resize(n_sums.max(scratch.sums.len()), [0.0; PANEL]);
        let mut tile = [[0.0; PANEL]; MAX_ROWS];
        let tile = &mut tile[..n_rows];
        for part in 0..n_parts {
            let inner = part * MAX_INNER..((part + 1) * MAX_INNER).min(self.n_inner);
            let len = padded_rows(n_rows) * inner.len();
            scratch.strips.resize(len.max(scratch.strips.len()), 0.0);
            let strips = &mut scratch.strips[..len];
            vectorised(|| pack_strips(&x[inner.start..], self.n_inner, n_rows, inner.len(), 1.0, strips));
            for panel in panels.clone() {
                let b = self.weight.panel(panel, inner.clone());
                if n_parts == 1 {
                    Product {
                        a: strips,
                        b,
                        out: tile,
                        add: false,
                    }
                    .dispatch();
                    self.finish(first_row, panel, tile, out, n_out);
                } else {
                    let at = (panel - panels.start) * n_rows;
                    let sums = &mut scratch.sums[at..at + n_rows];
                    Product {
                        a: strips,
                        b,
                        out: sums,
                        add: part > 0,
                    }
                    .dispatch();
                    if part + 1 == n_parts {
                        self.finish(first_row, panel, sums, out, n_out);
                    }
                }
            }
        }
    }

    /// Writes the columns of one panel to the rows of `out`.
    fn finish(&self, first_row: usize, panel: usize, tile: &[PanelRow], out: &mut [f32], n_out: usize) {
        let wanted = &self.weight_rows;
        let columns = wanted.start.max(panel * PANEL)..wanted.end.min((panel + 1) * PANEL);
        let from = columns.start - panel * PANEL..columns.end - panel * PANEL;
        let to = columns.start - wanted.start..columns.end - wanted.start;
        let rows = tile.iter().map(|row| &row[from.clone()]).zip(out.chunks_exact_mut(n_out));
        vectorised(|| match self.finish {
            Finish::Write => rows.for_each(|(x, out)| out[to.clone()].copy_from_slice(x)),
            Finish::Add => rows.for_each(|(x, out)| out[to.clone()].iter_mut().zip(x).for_each(|(out, x)| *out += x)),
            Finish::Bias(bias) => rows.for_each(|(x, out)| {
                let sums = x.iter().zip(&bias[to.clone()]).map(|(x, b)| x + b);
                out[to.clone()].iter_mut().zip(sums).for_each(|(out, y)| *out = y);
            }),
            Finish::BiasRelu(bias) => rows.for_each(|(x, out)| {
                let sums = x.iter().zip(&bias[to.clone()]).map(|(x, b)| (x + b).max(0.0));
                out[to.clone()].iter_mut().zip(sums).for_each(|(out, y)| *out = y);
            }),
            Finish::SwiGlu => rows.for_each(|(x, out)| {
                let out = &mut out[to.start / 2..to.end / 2];
                for (out, [gate, up]) in out.iter_mut().zip(x.as_chunks().0) {
                    *out = silu(*gate) * up;
                }
            }),
            Finish::Rope {
                table,
                head_size,
                positions,
                n_cols,
            } => {
                let n_rotated = n_cols.clamp(to.start, to.end) - to.start;
                for ((x, out), position) in rows.zip(&positions[first_row..]) {
                    let angles = &table[*position as usize * head_size..][..head_size];
                    let out = &mut out[to.clone()];
                    rotate(&x[..n_rotated], angles, to.start % head_size, &mut out[..n_rotated]);
                    out[n_rotated..].copy_from_slice(&x[n_rotated..]);
                }
            }
        });
    }
}

/// Rotates pairs of columns that start at column `first` of a head; heads follow one another.
#[inline(always)]
fn rotate(mut x: &[f32], angles: &[f32], mut first: usize, mut out: &mut [f32]) {
    while !x.is_empty() {
        let n = (angles.len() - first).min(x.len());
        let (head, rest) = x.split_at(n);
        let (head_out, rest_out) = out.split_at_mut(n);
        let angles = &angles[first..first + n];
        let pairs = head.as_chunks::<2>().0.iter().zip(angles.as_chunks::<2>().0);
        for ([to_a, to_b], ([a, b], [cos, sin])) in head_out.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
            (*to_a, *to_b) = (a * cos - b * sin, a * sin + b * cos);
        }
        (x, out, first) = (rest, rest_out, 0);
    }
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    strips: Vec<f32>,
    sums: Vec<PanelRow>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

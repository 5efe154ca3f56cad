//! `x Wᵀ` with its epilogue, a block of rows at a time.

use super::simd::{Silu, vectorised};
use super::tile::{PANEL, PanelRow, Product, pack_strips, padded_rows};
use super::weight::Panels;
use crate::parallel::prelude::*;
use rten_simd::{SimdOp, SimdUnaryOp};
use std::cell::RefCell;
use std::ops::Range;

/// Rows of `x` that one task multiplies. They stay in the second cache, [`MAX_INNER`] columns at a time, while the panels
/// of the weight pass by: 216 kB. With half as many rows the third cache limited the whole.
const MAX_ROWS: usize = 108;
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
        // As few blocks as can be, because each reads the whole weight; equally many for every thread.
        let n_blocks = n_rows
            .div_ceil(MAX_ROWS)
            .next_multiple_of(crate::parallel::current_num_threads());
        let block = padded_rows(n_rows.div_ceil(n_blocks)).min(MAX_ROWS);
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
        scratch.sums.resize(n_sums.max(scratch.sums.len()), PanelRow::ZERO);
        let mut tile = [PanelRow::ZERO; MAX_ROWS];
        let tile = &mut tile[..n_rows];
        for part in 0..n_parts {
            let inner = part * MAX_INNER..((part + 1) * MAX_INNER).min(self.n_inner);
            let len = padded_rows(n_rows) * inner.len();
            scratch.strips.resize(len.max(scratch.strips.len()), 0.0);
            let strips = &mut scratch.strips[..len];
            vectorised(
                #[inline(always)]
                || pack_strips(&x[inner.start..], self.n_inner, n_rows, inner.len(), 1.0, strips),
            );
            for panel in panels.clone() {
                let next = if panel + 1 < panels.end {
                    self.weight.panel(panel + 1, inner.clone())
                } else {
                    &[]
                };
                // Sums of this panel so far, or a place for all of them.
                let at = (panel - panels.start) * n_rows;
                let sums = if n_parts == 1 {
                    &mut *tile
                } else {
                    &mut scratch.sums[at..at + n_rows]
                };
                let product = Product {
                    a: strips,
                    b: self.weight.panel(panel, inner.clone()),
                    out: sums,
                    add: part > 0,
                    n_cols: PANEL.min(self.weight_rows.end - panel * PANEL),
                    next,
                };
                product.dispatch();
                if part + 1 == n_parts {
                    self.finish(first_row, panel, sums, out, n_out);
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
        let rows = tile
            .iter()
            .zip(out.chunks_exact_mut(n_out))
            .map(|(x, out)| (&x[from.clone()], out));
        // Loops, not `for_each`: those are compiled apart, without this processor's vectors.
        vectorised(
            #[inline(always)]
            || match self.finish {
                Finish::Write => {
                    for (x, out) in rows {
                        out[to.clone()].copy_from_slice(x);
                    }
                }
                Finish::Add => {
                    for (x, out) in rows {
                        for (out, x) in out[to.clone()].iter_mut().zip(x) {
                            *out += x;
                        }
                    }
                }
                Finish::Bias(bias) => {
                    for (x, out) in rows {
                        for ((out, x), b) in out[to.clone()].iter_mut().zip(x).zip(&bias[to.clone()]) {
                            *out = x + b;
                        }
                    }
                }
                Finish::BiasRelu(bias) => {
                    for (x, out) in rows {
                        for ((out, x), b) in out[to.clone()].iter_mut().zip(x).zip(&bias[to.clone()]) {
                            *out = (x + b).max(0.0);
                        }
                    }
                }
                Finish::SwiGlu => {
                    // Of all rows at once, so that the vectors of silu are called for once.
                    let mut gates = [[0.0; PANEL / 2]; MAX_ROWS];
                    let gates = &mut gates[..tile.len()];
                    for (gates, x) in gates.iter_mut().zip(tile) {
                        for (gate, pair) in gates.iter_mut().zip(x[from.clone()].as_chunks::<2>().0) {
                            *gate = pair[0];
                        }
                    }
                    Silu.map_mut(gates.as_flattened_mut());
                    for ((x, out), gates) in rows.zip(gates) {
                        let out = &mut out[to.start / 2..to.end / 2];
                        for ((out, gate), pair) in out.iter_mut().zip(gates).zip(x.as_chunks::<2>().0) {
                            *out = *gate * pair[1];
                        }
                    }
                }
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
            },
        );
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

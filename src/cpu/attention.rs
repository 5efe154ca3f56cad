//! Attention with the scores of one block of queries at a time.
//!
//! Everything is transposed: scores are `[keys][32 queries]`, a panel. So the softmax of 32 queries runs down a panel in whole
//! vectors, and the probabilities are at once the panel that the product with the values wants.

use super::simd::{exp, vectorised};
use super::tile::{PANEL, PanelRow, Product, pack_column_strips, pack_panels, pack_strips, padded_rows};
use crate::backend::CellRows;
use crate::parallel::prelude::*;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};
use std::cell::RefCell;

/// Keys at once: their scores stay in the first cache (240 rows of 128 bytes); a multiple of every strip.
const KEY_BLOCK: usize = 240;

/// Queries of one task, in panels: the keys and values of a head are read once for all of them.
const QUERY_BLOCK: usize = 2 * PANEL;

/// Heads side by side in the columns of a matrix, from column `first` on.
#[derive(Clone, Copy)]
pub(super) struct Heads<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) n_cols: usize,
    pub(super) first: usize,
}

impl<'a> Heads<'a> {
    /// From the first number of `head` in `row` on; the next row is `n_cols` further.
    fn at(self, row: usize, head: usize, head_size: usize) -> &'a [f32] {
        &self.numbers[row * self.n_cols + self.first + head * head_size..]
    }
}

/// Keys or values of all cells and heads, packed.
pub(super) struct Packed<'a> {
    /// Of every cell, `[n_heads]` of equal length.
    cells: Vec<&'a [f32]>,
}

/// The heads that an attention has.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) n_heads: usize,
    pub(super) head_size: usize,
}

impl Shape {
    /// Numbers of all packed keys.
    pub(super) fn keys_len(self, cells: &[CellRows]) -> usize {
        cells.iter().map(|cell| self.n_heads * self.cell_keys_len(*cell)).sum()
    }

    /// Numbers of all packed values.
    pub(super) fn values_len(self, cells: &[CellRows]) -> usize {
        cells.iter().map(|cell| self.n_heads * self.cell_values_len(*cell)).sum()
    }

    fn cell_keys_len(self, cell: CellRows) -> usize {
        padded_rows(cell.n_keys) * self.head_size
    }

    fn cell_values_len(self, cell: CellRows) -> usize {
        cell.n_keys * padded_rows(self.head_size)
    }

    /// Keys as strips: `[strips of keys][head_size][strip rows]`, times `1 / sqrt(head_size)`.
    pub(super) fn pack_keys<'a>(self, k: Heads<'_>, cells: &[CellRows], out: &'a mut [f32]) -> Packed<'a> {
        #[expect(clippy::cast_precision_loss, reason = "head sizes are far below 2^24")]
        let scale = 1.0 / (self.head_size as f32).sqrt();
        pack_heads(
            cells,
            self.n_heads,
            out,
            |cell| self.cell_keys_len(cell),
            #[inline(always)]
            |cell, head, out| {
                let from = k.at(cell.first_row, head, self.head_size);
                pack_strips(from, k.n_cols, cell.n_keys, self.head_size, scale, out);
            },
        )
    }

    /// Values as strips of their columns, block of keys by block of keys: `[key blocks][strips of columns][keys][strip rows]`.
    pub(super) fn pack_values<'a>(self, v: Heads<'_>, cells: &[CellRows], out: &'a mut [f32]) -> Packed<'a> {
        pack_heads(
            cells,
            self.n_heads,
            out,
            |cell| self.cell_values_len(cell),
            #[inline(always)]
            |cell, head, out| {
                let rows = v.at(cell.first_row, head, self.head_size);
                let blocks = out.chunks_mut(KEY_BLOCK * padded_rows(self.head_size));
                for (out, start) in blocks.zip((0..cell.n_keys).step_by(KEY_BLOCK)) {
                    let n_keys = KEY_BLOCK.min(cell.n_keys - start);
                    pack_column_strips(&rows[start * v.n_cols..], v.n_cols, n_keys, self.head_size, out);
                }
            },
        )
    }
}

/// Calls `pack(cell, head, out)` for every head of every cell, in parallel.
fn pack_heads<'a>(
    cells: &[CellRows],
    n_heads: usize,
    mut out: &'a mut [f32],
    head_len: impl Fn(CellRows) -> usize + Sync,
    pack: impl Fn(CellRows, usize, &mut [f32]) + Sync,
) -> Packed<'a> {
    let mut tasks = vec![];
    for &cell in cells {
        let (part, rest) = out.split_at_mut(n_heads * head_len(cell));
        tasks.push((cell, part));
        out = rest;
    }
    tasks.par_iter_mut().for_each(|(cell, part)| {
        let len = head_len(*cell);
        part.par_chunks_exact_mut(len).enumerate().for_each(|(head, out)| {
            vectorised(
                #[inline(always)]
                || pack(*cell, head, out),
            )
        });
    });
    Packed {
        cells: tasks.into_iter().map(|(_, part)| -> &'a [f32] { part }).collect(),
    }
}

impl Packed<'_> {
    fn head(&self, cell: usize, head: usize, shape: Shape) -> &[f32] {
        let numbers = self.cells[cell];
        let len = numbers.len() / shape.n_heads;
        &numbers[head * len..(head + 1) * len]
    }
}

/// Some consecutive queries of one cell.
struct Task<'a> {
    cell: usize,
    n_keys: usize,
    /// The first row of q.
    first: usize,
    /// `[queries, n_heads · head_size]`.
    out: &'a mut [f32],
}

/// Attention of all queries. `queries`: of every cell its first row in q and how many; `out` has as many rows as there are queries.
pub(super) fn attend(
    q: Heads<'_>,
    keys: &Packed<'_>,
    values: &Packed<'_>,
    cells: &[CellRows],
    queries: &[usize],
    shape: Shape,
    mut out: &mut [f32],
) {
    let width = shape.n_heads * shape.head_size;
    let mut tasks = vec![];
    let mut first = 0;
    for (c, (cell, &n_queries)) in cells.iter().zip(queries).enumerate() {
        for start in (0..n_queries).step_by(QUERY_BLOCK) {
            let n = QUERY_BLOCK.min(n_queries - start);
            let (part, rest) = out.split_at_mut(n * width);
            tasks.push(Task {
                cell: c,
                n_keys: cell.n_keys,
                first: first + start,
                out: part,
            });
            out = rest;
        }
        first += n_queries;
    }
    // Long cells first, so that no thread starts one when the others are done.
    tasks.sort_by_key(|task| std::cmp::Reverse(task.n_keys));
    tasks.into_par_iter().for_each(|mut task| {
        SCRATCH.with_borrow_mut(|scratch| {
            for head in 0..shape.n_heads {
                task.head(
                    q,
                    keys.head(task.cell, head, shape),
                    values.head(task.cell, head, shape),
                    head,
                    shape,
                    scratch,
                );
            }
        });
    });
}

impl Task<'_> {
    fn head(&mut self, q: Heads<'_>, keys: &[f32], values: &[f32], head: usize, shape: Shape, scratch: &mut Scratch) {
        let (d, width) = (shape.head_size, shape.n_heads * shape.head_size);
        let n_queries = self.out.len() / width;
        let Scratch {
            q: q_panels,
            scores,
            sums,
        } = scratch;
        let n_panels = n_queries.div_ceil(PANEL);
        let padded = padded_rows(d);
        q_panels.resize((n_panels * d).max(q_panels.len()), PanelRow::ZERO);
        sums.resize((n_panels * padded).max(sums.len()), PanelRow::ZERO);
        scores.resize(KEY_BLOCK, PanelRow::ZERO);
        let q_panels = &mut q_panels[..n_panels * d];
        vectorised(
            #[inline(always)]
            || pack_panels(q.at(self.first, head, d), q.n_cols, n_queries, d, 1.0, q_panels),
        );
        let mut states = [Softmax::new(); QUERY_BLOCK / PANEL];
        for start in (0..self.n_keys).step_by(KEY_BLOCK) {
            let n_keys = KEY_BLOCK.min(self.n_keys - start);
            let keys = &keys[start * d..start * d + padded_rows(n_keys) * d];
            let values = &values[start * padded..(start + n_keys) * padded];
            let scores = &mut scores[..n_keys];
            for (p, state) in states.iter_mut().enumerate().take(n_panels) {
                let q = &q_panels[p * d..(p + 1) * d];
                let n_cols = PANEL.min(n_queries - p * PANEL);
                let sums = &mut sums[p * padded..(p + 1) * padded];
                Product {
                    a: keys,
                    b: q,
                    out: scores,
                    add: false,
                    n_cols,
                    next: &[],
                }
                .dispatch();
                state.take(scores, sums);
                Product {
                    a: values,
                    b: scores,
                    out: sums,
                    add: start > 0,
                    n_cols,
                    next: &[],
                }
                .dispatch();
            }
        }
        for (p, state) in states.iter().enumerate().take(n_panels) {
            let sums = &sums[p * padded..p * padded + d];
            let rows = self.out.chunks_exact_mut(width).skip(p * PANEL).take(PANEL);
            for (i, row) in rows.enumerate() {
                let scale = 1.0 / state.sum[i];
                for (out, sum) in row[head * d..(head + 1) * d].iter_mut().zip(sums) {
                    *out = scale * sum[i];
                }
            }
        }
    }
}

/// The softmax of 32 queries over the keys seen so far.
#[derive(Clone, Copy)]
struct Softmax {
    max: PanelRow,
    sum: PanelRow,
}

impl Softmax {
    const fn new() -> Self {
        Self {
            max: PanelRow([f32::NEG_INFINITY; PANEL]),
            sum: PanelRow::ZERO,
        }
    }

    /// Turns scores of further keys into `e^(score − max)`, and scales what was summed before to the new maximum.
    fn take(&mut self, scores: &mut [PanelRow], sums: &mut [PanelRow]) {
        let softmax = self;
        Take { softmax, scores, sums }.dispatch();
    }
}

struct Take<'a> {
    softmax: &'a mut Softmax,
    scores: &'a mut [PanelRow],
    sums: &'a mut [PanelRow],
}

impl SimdOp for Take<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let Self { softmax, scores, sums } = self;
        for first in (0..PANEL).step_by(ops.len()) {
            let columns = first..first + ops.len();
            let before = ops.load(&softmax.max[columns.clone()]);
            let mut max = before;
            for row in &*scores {
                max = ops.max(max, ops.load(&row[columns.clone()]));
            }
            // From −∞ this is next to nothing, and nothing was summed.
            let scale = exp(isa, ops.sub(before, max));
            ops.store(max, &mut softmax.max[columns.clone()]);
            for row in &mut *sums {
                let row = &mut row[columns.clone()];
                ops.store(ops.mul(scale, ops.load(row)), row);
            }
            let mut sum = ops.mul(scale, ops.load(&softmax.sum[columns.clone()]));
            for row in &mut *scores {
                let row = &mut row[columns.clone()];
                let weight = exp(isa, ops.sub(ops.load(row), max));
                sum = ops.add(sum, weight);
                ops.store(weight, row);
            }
            ops.store(sum, &mut softmax.sum[columns]);
        }
    }
}

/// Probabilities of all queries of one cell: `out` `[n_heads · n_rows, n_rows]`, zeros at keys that do not count.
pub(super) fn probabilities(q: Heads<'_>, keys: &Packed<'_>, cell: CellRows, shape: Shape, out: &mut [f32]) {
    let (n, d) = (cell.n_rows, shape.head_size);
    out.par_chunks_mut(n * n).enumerate().for_each(|(head, out)| {
        let keys = keys.head(0, head, shape);
        out.par_chunks_mut(PANEL * n).enumerate().for_each(|(block, out)| {
            let n_queries = out.len() / n;
            let mut panel = vec![PanelRow::ZERO; d];
            pack_panels(
                q.at(cell.first_row + block * PANEL, head, d),
                q.n_cols,
                n_queries,
                d,
                1.0,
                &mut panel,
            );
            let mut scores = vec![PanelRow::ZERO; cell.n_keys];
            Product {
                a: keys,
                b: &panel,
                out: &mut scores,
                add: false,
                n_cols: n_queries,
                next: &[],
            }
            .dispatch();
            let mut state = Softmax::new();
            state.take(&mut scores, &mut []);
            for (i, row) in out.chunks_exact_mut(n).enumerate() {
                let scale = 1.0 / state.sum[i];
                let (counting, rest) = row.split_at_mut(cell.n_keys);
                counting
                    .iter_mut()
                    .zip(&scores)
                    .for_each(|(out, score)| *out = scale * score[i]);
                rest.fill(0.0);
            }
        });
    });
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    q: Vec<PanelRow>,
    scores: Vec<PanelRow>,
    sums: Vec<PanelRow>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

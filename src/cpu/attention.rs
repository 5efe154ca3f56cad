//! Attention with the scores of one block of queries at a time.
//!
//! Everything is transposed: scores are `[keys][32 queries]`, a panel. So the softmax of 32 queries runs down a panel in whole
//! vectors, and the probabilities are at once the panel that the product with the values wants.

use super::simd::{exp2, vectorised};
use super::tile::{PANEL, PanelRow, Product, Tile, pack_column_strips, pack_panels, pack_strips, padded_rows};
use crate::backend::CellRows;
use crate::parallel::{in_turn, prelude::*, threads_for};
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};
use std::cell::RefCell;

/// Keys at once: their scores stay in the first cache (240 rows of 128 bytes); a multiple of every strip.
const KEY_BLOCK: usize = 240;

/// Queries of one task: the keys and values of a head are read once for all of them.
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

/// The heads that an attention has.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) n_heads: usize,
    pub(super) head_size: usize,
}

/// What is packed.
#[derive(Clone, Copy)]
pub(super) enum Side {
    /// As strips, times `log2(e) / sqrt(head_size)`, because the softmax takes powers of 2: `[strips of keys][head_size][strip rows]`.
    Keys,
    /// As strips of their columns, block of keys by block of keys: `[key blocks][strips of columns][keys][strip rows]`.
    Values,
}

/// One head of one cell that is to be packed.
pub(super) struct Packing<'a> {
    side: Side,
    /// From the first number of the head on.
    from: &'a [f32],
    n_cols: usize,
    n_keys: usize,
    head_size: usize,
    out: &'a mut [f32],
}

/// Keys or values of all cells and heads, packed.
pub(super) struct Packed<'a> {
    /// Of every cell its heads, equally long.
    cells: Vec<&'a [f32]>,
}

impl Shape {
    /// Numbers of all packed keys or values.
    pub(super) fn packed_len(self, side: Side, cells: &[CellRows]) -> usize {
        cells.iter().map(|cell| self.cell_len(side, *cell)).sum()
    }

    fn cell_len(self, side: Side, cell: CellRows) -> usize {
        let head_len = match side {
            Side::Keys => padded_rows(cell.n_keys) * self.head_size,
            Side::Values => cell.n_keys * padded_rows(self.head_size),
        };
        self.n_heads * head_len
    }

    /// What there is to do until `out` holds the packed keys or values.
    pub(super) fn packing<'a>(self, side: Side, from: Heads<'a>, cells: &[CellRows], mut out: &'a mut [f32]) -> Vec<Packing<'a>> {
        let mut tasks = vec![];
        for &cell in cells {
            let (part, rest) = out.split_at_mut(self.cell_len(side, cell));
            out = rest;
            let heads = part.chunks_exact_mut(part.len() / self.n_heads).enumerate();
            tasks.extend(heads.map(|(head, out)| Packing {
                side,
                from: from.at(cell.first_row, head, self.head_size),
                n_cols: from.n_cols,
                n_keys: cell.n_keys,
                head_size: self.head_size,
                out,
            }));
        }
        tasks
    }

    /// What was packed.
    pub(super) fn packed<'a>(self, side: Side, cells: &[CellRows], mut numbers: &'a [f32]) -> Packed<'a> {
        let part = |&cell: &CellRows| {
            let (part, rest) = numbers.split_at(self.cell_len(side, cell));
            numbers = rest;
            part
        };
        Packed {
            cells: cells.iter().map(part).collect(),
        }
    }
}

/// Packs heads, in parallel.
pub(super) fn pack(tasks: Vec<Packing<'_>>) {
    // A number that is moved takes about as long as 16 operations of a product.
    let n_threads = threads_for(16 * tasks.iter().map(|task| task.out.len()).sum::<usize>());
    in_turn(tasks, n_threads, |task| {
        vectorised(
            #[inline(always)]
            || task.run(),
        );
    });
}

impl Packing<'_> {
    #[inline(always)]
    fn run(self) {
        match self.side {
            Side::Keys => {
                #[expect(clippy::cast_precision_loss, reason = "head sizes are far below 2^24")]
                let scale = std::f32::consts::LOG2_E / (self.head_size as f32).sqrt();
                pack_strips(self.from, self.n_cols, self.n_keys, self.head_size, scale, self.out);
            }
            Side::Values => {
                let block = key_block(self.n_keys);
                let blocks = self.out.chunks_mut(block * padded_rows(self.head_size));
                for (out, start) in blocks.zip((0..self.n_keys).step_by(block)) {
                    let n_keys = block.min(self.n_keys - start);
                    pack_column_strips(&self.from[start * self.n_cols..], self.n_cols, n_keys, self.head_size, out);
                }
            }
        }
    }
}

impl Packed<'_> {
    fn head(&self, cell: usize, head: usize, shape: Shape) -> &[f32] {
        let numbers = self.cells[cell];
        let len = numbers.len() / shape.n_heads;
        &numbers[head * len..(head + 1) * len]
    }
}

/// Keys at once of `n_keys`: as few blocks as can be, of equal length, in whole strips.
fn key_block(n_keys: usize) -> usize {
    padded_rows(n_keys.div_ceil(n_keys.div_ceil(KEY_BLOCK).max(1)))
}

/// Some consecutive queries of one cell, and one head.
struct Task<'a> {
    cell: usize,
    n_keys: usize,
    head: usize,
    /// The first row of q.
    first: usize,
    /// Of every query, the columns of the head.
    out: Vec<&'a mut [f32]>,
}

/// Attention of all queries. `queries`: of every cell its first row in q and how many; `out` has as many rows as there are queries.
pub(super) fn attend(
    q: Heads<'_>,
    keys: &Packed<'_>,
    values: &Packed<'_>,
    cells: &[CellRows],
    queries: &[usize],
    shape: Shape,
    out: &mut [f32],
) {
    let mut rows = out.chunks_exact_mut(shape.n_heads * shape.head_size);
    let mut tasks = vec![];
    let mut first = 0;
    for (c, (cell, &n_queries)) in cells.iter().zip(queries).enumerate() {
        // Head by head, so that its keys and values stay in the second cache while all queries pass by.
        let (first_task, n_blocks) = (tasks.len(), n_queries.div_ceil(QUERY_BLOCK));
        for head in 0..shape.n_heads {
            tasks.extend((0..n_blocks).map(|block| Task {
                cell: c,
                n_keys: cell.n_keys,
                head,
                first: first + block * QUERY_BLOCK,
                out: Vec::with_capacity(QUERY_BLOCK),
            }));
        }
        for (i, row) in rows.by_ref().take(n_queries).enumerate() {
            for (head, out) in row.chunks_exact_mut(shape.head_size).enumerate() {
                tasks[first_task + head * n_blocks + i / QUERY_BLOCK].out.push(out);
            }
        }
        first += n_queries;
    }
    // Long cells first, so that no thread starts one when the others are done. WebAssembly has one thread.
    #[cfg(not(target_arch = "wasm32"))]
    tasks.sort_by_key(|task| std::cmp::Reverse(task.n_keys));
    let flops = tasks.iter().map(|task| 4 * task.n_keys * task.out.len() * shape.head_size);
    let n_threads = threads_for(flops.sum());
    in_turn(tasks, n_threads, |mut task| {
        let keys = keys.head(task.cell, task.head, shape);
        let values = values.head(task.cell, task.head, shape);
        SCRATCH.with_borrow_mut(|scratch| task.run(q, keys, values, shape.head_size, scratch));
    });
}

impl Task<'_> {
    fn run(&mut self, q: Heads<'_>, keys: &[f32], values: &[f32], d: usize, scratch: &mut Scratch) {
        let n_queries = self.out.len();
        let Scratch {
            q: q_panels,
            scores,
            sums,
        } = scratch;
        let n_panels = n_queries.div_ceil(PANEL);
        let (padded, block) = (padded_rows(d), key_block(self.n_keys));
        q_panels.resize((n_panels * d).max(q_panels.len()), PanelRow::ZERO);
        sums.resize((n_panels * padded).max(sums.len()), PanelRow::ZERO);
        scores.resize(KEY_BLOCK, PanelRow::ZERO);
        let q_panels = &mut q_panels[..n_panels * d];
        vectorised(
            #[inline(always)]
            || pack_panels(q.at(self.first, self.head, d), q.n_cols, n_queries, d, 1.0, q_panels),
        );
        let mut states = [Softmax::new(); QUERY_BLOCK / PANEL];
        for start in (0..self.n_keys).step_by(block) {
            let n_keys = block.min(self.n_keys - start);
            let keys = &keys[start * d..start * d + padded_rows(n_keys) * d];
            let values = &values[start * padded..(start + n_keys) * padded];
            let scores = &mut scores[..n_keys];
            for (p, state) in states.iter_mut().enumerate().take(n_panels) {
                let n_cols = PANEL.min(n_queries - p * PANEL);
                let sums = &mut sums[p * padded..(p + 1) * padded];
                let product = Product {
                    a: keys,
                    b: &q_panels[p * d..(p + 1) * d],
                    n_rows: n_keys,
                    n_cols,
                    next: &[],
                };
                product.give_to(Tile { out: scores, add: false });
                state.take(scores, sums);
                let product = Product {
                    a: values,
                    b: scores,
                    n_rows: padded,
                    n_cols,
                    next: &[],
                };
                product.give_to(Tile {
                    out: sums,
                    add: start > 0,
                });
            }
        }
        for (i, out) in self.out.iter_mut().enumerate() {
            let (panel, column) = (i / PANEL, i % PANEL);
            let scale = 1.0 / states[panel].sum[column];
            for (out, sum) in out.iter_mut().zip(&sums[panel * padded..]) {
                *out = scale * sum[column];
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

    /// Turns scores of further keys into `2^(score − max)`, and scales what was summed before to the new maximum.
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
            let scale = exp2(isa, ops.sub(before, max));
            ops.store(max, &mut softmax.max[columns.clone()]);
            for row in &mut *sums {
                let row = &mut row[columns.clone()];
                ops.store(ops.mul(scale, ops.load(row)), row);
            }
            let mut sum = ops.mul(scale, ops.load(&softmax.sum[columns.clone()]));
            for row in &mut *scores {
                let row = &mut row[columns.clone()];
                let weight = exp2(isa, ops.sub(ops.load(row), max));
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
            let product = Product {
                a: keys,
                b: &panel,
                n_rows: cell.n_keys,
                n_cols: n_queries,
                next: &[],
            };
            product.give_to(Tile {
                out: &mut scores,
                add: false,
            });
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

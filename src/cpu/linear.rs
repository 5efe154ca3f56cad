//! `x Wᵀ` with its epilogue, a block of rows and some panels of the weight at a time.

use super::simd::{silu, vectorised};
use super::tile::{PANEL, PanelRow, Product, Target, Tile, pack_strips, padded_rows, strip_rows};
use super::weight::Panels;
use crate::parallel::{in_turn, threads_for};
use rten_simd::Isa;
use rten_simd::ops::{BitOps, NumOps};
use std::cell::RefCell;
use std::ops::Range;

/// Rows of `x` that one task multiplies, at most. They stay in the second cache, [`MAX_INNER`] columns at a time, while the panels
/// of the weight pass by: 224 kB. With half as many rows the third cache limited the whole.
const MAX_ROWS: usize = 112;
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

/// A block of rows by some panels.
struct Task<'a> {
    first_row: usize,
    panels: Range<usize>,
    /// Of every row, what the panels give.
    rows: Vec<&'a mut [f32]>,
}

/// Into how many blocks of rows and how many parts of the panels a product is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grid {
    n_blocks: usize,
    n_parts: usize,
}

impl Grid {
    /// The cut with which `n_threads` threads end soonest; each block packs its rows, which is about the work of one panel.
    fn of(n_strips: usize, max_strips: usize, n_panels: usize, n_threads: usize) -> Self {
        let least = n_strips.div_ceil(max_strips).max(1);
        let time = |grid: &Self| {
            // Blocks of one strip more are dealt out first.
            let (strips, n_longer) = (n_strips / grid.n_blocks, n_strips % grid.n_blocks);
            let rounds = (grid.n_blocks * grid.n_parts).div_ceil(n_threads);
            let longer_rounds = (n_longer * grid.n_parts).div_ceil(n_threads);
            let panels = n_panels.div_ceil(grid.n_parts) + 1;
            // Of equally good ones that which reads the weight least often.
            ((rounds * strips + longer_rounds) * panels, grid.n_blocks)
        };
        let parts = 1..=n_threads.min(n_panels).max(1);
        let grids = parts.flat_map(|n_parts| {
            let blocks = least..=(least + n_threads).min(n_strips.max(1)).max(least);
            blocks.map(move |n_blocks| Self { n_blocks, n_parts })
        });
        grids.min_by_key(time).unwrap_or(Self {
            n_blocks: least,
            n_parts: 1,
        })
    }
}

/// `range` in `n` parts, the longer ones first.
fn cut(range: Range<usize>, n: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let (len, n_longer) = (range.len() / n, range.len() % n);
    let at = move |i: usize| range.start + i * len + i.min(n_longer);
    (0..n).map(move |i| at(i)..at(i + 1))
}

impl Linear<'_> {
    /// `out` is `[n, n_out]`; `n_out` is at least 1.
    pub(super) fn run(&self, out: &mut [f32], n_out: usize) {
        let (n_rows, strip) = (out.len() / n_out, strip_rows());
        let n_strips = n_rows.div_ceil(strip);
        let panels = self.weight_rows.start / PANEL..self.weight_rows.end.div_ceil(PANEL);
        let n_threads = threads_for(2 * n_rows * self.weight_rows.len() * self.n_inner);
        let grid = Grid::of(n_strips, MAX_ROWS / strip, panels.len(), n_threads);
        let parts = cut(panels, grid.n_parts);
        let mut rows = out.chunks_exact_mut(n_out);
        let mut tasks = Vec::with_capacity(grid.n_blocks * grid.n_parts);
        for strips in cut(0..n_strips, grid.n_blocks) {
            let first_task = tasks.len();
            tasks.extend(parts.clone().map(|panels| Task {
                first_row: strips.start * strip,
                panels,
                rows: Vec::with_capacity(strips.len() * strip),
            }));
            for mut row in rows.by_ref().take(strips.len() * strip) {
                for task in &mut tasks[first_task..] {
                    let (part, rest) = row.split_at_mut(self.out_columns(&task.panels).len());
                    task.rows.push(part);
                    row = rest;
                }
            }
        }
        in_turn(tasks, n_threads, |mut task| {
            SCRATCH.with_borrow_mut(|scratch| self.block(&mut task, scratch));
        });
    }

    /// The columns of the output that some panels give.
    fn out_columns(&self, panels: &Range<usize>) -> Range<usize> {
        let wanted = &self.weight_rows;
        let column = |panel: usize| (panel * PANEL).clamp(wanted.start, wanted.end) - wanted.start;
        let divisor = if matches!(self.finish, Finish::SwiGlu) { 2 } else { 1 };
        column(panels.start) / divisor..column(panels.end) / divisor
    }

    fn block(&self, task: &mut Task<'_>, scratch: &mut Scratch) {
        let n_rows = task.rows.len();
        let x = &self.x[task.first_row * self.n_inner..(task.first_row + n_rows) * self.n_inner];
        let n_parts = self.n_inner.div_ceil(MAX_INNER).max(1);
        let Scratch { strips, sums, edge } = scratch;
        // Sums of a long inner dimension, part by part; a single part needs none.
        let n_sums = if n_parts > 1 { task.panels.len() * n_rows } else { 0 };
        sums.resize(n_sums.max(sums.len()), PanelRow::ZERO);
        for part in 0..n_parts {
            let inner = part * MAX_INNER..((part + 1) * MAX_INNER).min(self.n_inner);
            let len = padded_rows(n_rows) * inner.len();
            strips.resize(len.max(strips.len()), 0.0);
            let strips = &mut strips[..len];
            vectorised(
                #[inline(always)]
                || pack_strips(&x[inner.start..], self.n_inner, n_rows, inner.len(), 1.0, strips),
            );
            for (i, panel) in task.panels.clone().enumerate() {
                let next = if panel + 1 < task.panels.end {
                    self.weight.panel(panel + 1, inner.clone())
                } else {
                    &[]
                };
                let product = Product {
                    a: strips,
                    b: self.weight.panel(panel, inner.clone()),
                    n_rows,
                    n_cols: PANEL.min(self.weight_rows.end - panel * PANEL),
                    next,
                };
                let sums = &mut sums[if n_parts > 1 { i * n_rows..(i + 1) * n_rows } else { 0..0 }];
                if part + 1 < n_parts {
                    product.give_to(Tile {
                        out: sums,
                        add: part > 0,
                    });
                } else {
                    self.finish(product, panel, sums, task, edge);
                }
            }
        }
    }

    /// The last part of the product with a panel, written to the rows of the task.
    fn finish(&self, product: Product<'_>, panel: usize, sums: &[PanelRow], task: &mut Task<'_>, edge: &mut Vec<PanelRow>) {
        let base = self.out_columns(&(0..task.panels.start)).end;
        let columns = self.out_columns(&(panel..panel + 1));
        let columns = columns.start - base..columns.end - base;
        let wanted = self.weight_rows.start.max(panel * PANEL)..self.weight_rows.end.min((panel + 1) * PANEL);
        if wanted.len() == PANEL {
            return product.give_to(Rows::new(self, task.first_row, panel, sums, &mut task.rows, columns.start));
        }
        // Only some of the columns are wanted: the whole panel goes to another place first.
        edge.clear();
        edge.resize(task.rows.len(), PanelRow::ZERO);
        let skipped = wanted.start - panel * PANEL;
        let from = match self.finish {
            Finish::SwiGlu => skipped / 2..skipped / 2 + columns.len(),
            _ => skipped..skipped + columns.len(),
        };
        if matches!(self.finish, Finish::Add) {
            for (edge, row) in edge.iter_mut().zip(&task.rows) {
                edge[from.clone()].copy_from_slice(&row[columns.clone()]);
            }
        }
        let mut rows: Vec<&mut [f32]> = edge.iter_mut().map(|row| &mut row[..]).collect();
        product.give_to(Rows::new(self, task.first_row, panel, sums, &mut rows, 0));
        for (edge, row) in edge.iter().zip(&mut task.rows) {
            row[columns.clone()].copy_from_slice(&edge[from.clone()]);
        }
    }
}

/// Rows of the output, where the columns of a panel go.
struct Rows<'a, 'b> {
    finish: Finish<'a>,
    /// What the earlier parts of the inner dimension gave, if there are any.
    sums: &'a [PanelRow],
    rows: &'a mut [&'b mut [f32]],
    /// Where in the rows the first column of the panel goes.
    column: usize,
    bias: PanelRow,
    /// Of these rows.
    positions: &'a [u32],
    /// Of the first column of the panel, in its head.
    head_column: usize,
    /// Columns of the panel that are rotated.
    n_rotated: usize,
}

impl<'a, 'b> Rows<'a, 'b> {
    fn new(
        linear: &Linear<'a>,
        first_row: usize,
        panel: usize,
        sums: &'a [PanelRow],
        rows: &'a mut [&'b mut [f32]],
        column: usize,
    ) -> Self {
        let wanted = &linear.weight_rows;
        let mut rows = Self {
            finish: linear.finish,
            sums,
            rows,
            column,
            bias: PanelRow::ZERO,
            positions: &[],
            head_column: 0,
            n_rotated: 0,
        };
        match linear.finish {
            Finish::Bias(bias) | Finish::BiasRelu(bias) => {
                let columns = wanted.start.max(panel * PANEL)..wanted.end.min((panel + 1) * PANEL);
                rows.bias[columns.start - panel * PANEL..columns.end - panel * PANEL]
                    .copy_from_slice(&bias[columns.start - wanted.start..columns.end - wanted.start]);
            }
            Finish::Rope {
                head_size,
                positions,
                n_cols,
                ..
            } => {
                rows.positions = &positions[first_row..];
                // A panel may begin before the first column that is wanted.
                rows.head_column = (panel * PANEL + wanted.start.next_multiple_of(head_size) - wanted.start) % head_size;
                rows.n_rotated = (wanted.start + n_cols).saturating_sub(panel * PANEL);
            }
            _ => {}
        }
        rows
    }
}

impl Target for Rows<'_, '_> {
    #[inline(always)]
    fn take<I: Isa, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        isa: I,
        tile: &[[I::F32; VECTORS]; ROWS],
        row: usize,
        first: usize,
    ) {
        let ops = isa.f32();
        let width = VECTORS * ops.len();
        let column = self.column + first;
        for (i, (&sums, out)) in tile.iter().zip(&mut self.rows[row..]).enumerate() {
            let mut sums: [I::F32; VECTORS] = sums;
            if let Some(before) = self.sums.get(row + i) {
                let before: [I::F32; VECTORS] = ops.load_many(&before[first..first + width]);
                for v in 0..VECTORS {
                    sums[v] = ops.add(before[v], sums[v]);
                }
            }
            match self.finish {
                Finish::Write => store::<I, VECTORS>(isa, sums, &mut out[column..column + width]),
                Finish::Add => {
                    let out = &mut out[column..column + width];
                    let before: [I::F32; VECTORS] = ops.load_many(out);
                    store::<I, VECTORS>(isa, std::array::from_fn(|v| ops.add(before[v], sums[v])), out);
                }
                Finish::Bias(_) | Finish::BiasRelu(_) => {
                    let bias: [I::F32; VECTORS] = ops.load_many(&self.bias[first..first + width]);
                    let least = match self.finish {
                        Finish::Bias(_) => f32::NEG_INFINITY,
                        _ => 0.0,
                    };
                    // In this order what is not a number stays none: of x86 it is the second factor's, elsewhere either's.
                    let x = |v| ops.max(ops.splat(least), ops.add(sums[v], bias[v]));
                    store::<I, VECTORS>(isa, std::array::from_fn(x), &mut out[column..column + width]);
                }
                Finish::SwiGlu => {
                    let mut pairs = [0.0; PANEL];
                    store::<I, VECTORS>(isa, sums, &mut pairs[..width]);
                    let (mut gates, mut ups) = ([0.0; PANEL / 2], [0.0; PANEL / 2]);
                    for (i, pair) in pairs[..width].as_chunks::<2>().0.iter().enumerate() {
                        (gates[i], ups[i]) = (pair[0], pair[1]);
                    }
                    let column = self.column + first / 2;
                    let out = &mut out[column..column + width / 2];
                    for first in (0..width / 2).step_by(ops.len()) {
                        let (gate, up) = (ops.load(&gates[first..]), ops.load(&ups[first..]));
                        ops.store(ops.mul(silu(isa, gate), up), &mut out[first..]);
                    }
                }
                Finish::Rope { table, head_size, .. } => {
                    let out = &mut out[column..column + width];
                    let angles = &table[self.positions[row + i] as usize * head_size..][..head_size];
                    let mut pairs = [0.0; PANEL];
                    store::<I, VECTORS>(isa, sums, &mut pairs[..width]);
                    let mut own = [0.0; PANEL];
                    for i in (0..width).step_by(2) {
                        // Columns that are not rotated have the angle 0.
                        (own[i], own[i + 1]) = if first + i < self.n_rotated {
                            let at = (self.head_column + first + i) % head_size;
                            (angles[at], angles[at + 1])
                        } else {
                            (1.0, 0.0)
                        };
                    }
                    rotate(&pairs[..width], &own[..width], out);
                }
            }
        }
    }
}

#[inline(always)]
fn store<I: Isa, const VECTORS: usize>(isa: I, x: [I::F32; VECTORS], out: &mut [f32]) {
    let ops = isa.f32();
    for (out, &x) in out.chunks_exact_mut(ops.len()).zip(&x) {
        ops.store(x, out);
    }
}

/// Rotates pairs of columns, each by its cos and sin.
#[inline(always)]
fn rotate(x: &[f32], angles: &[f32], out: &mut [f32]) {
    let pairs = x.as_chunks::<2>().0.iter().zip(angles.as_chunks::<2>().0);
    for ([to_a, to_b], ([a, b], [cos, sin])) in out.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
        (*to_a, *to_b) = (a * cos - b * sin, a * sin + b * cos);
    }
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    strips: Vec<f32>,
    sums: Vec<PanelRow>,
    edge: Vec<PanelRow>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another() {
        assert_eq!(cut(3..10, 3).collect::<Vec<_>>(), [3..6, 6..8, 8..10]);
        assert_eq!(cut(5..6, 2).collect::<Vec<_>>(), [5..6, 6..6]);
    }

    #[test]
    fn threads_get_equal_parts() {
        // A whole number of blocks for each of two threads, of which none is longer than 14 strips.
        let grid = Grid::of(151, 14, 64, 2);
        assert_eq!((grid.n_blocks % 2, grid.n_parts), (0, 1));
        assert!(151_usize.div_ceil(grid.n_blocks) <= 14);
        // Few rows: each thread takes half of the panels rather than half of the rows.
        assert_eq!(Grid::of(1, 14, 64, 2), Grid { n_blocks: 1, n_parts: 2 });
        // One thread reads the weight as seldom as can be.
        assert_eq!(Grid::of(28, 14, 64, 1), Grid { n_blocks: 2, n_parts: 1 });
    }
}

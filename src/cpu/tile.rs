//! The one product that everything is made of: a few rows of `a` by a panel of 32 columns of `b`, summed in registers.
//!
//! `a` comes in *strips*: [`strip_rows`] rows side by side, `[n_inner][strip rows]`; `b` in *panels*: 32 columns side by side,
//! `[n_inner][32]`. Both are read front to back, once, which is what makes the product fast. A register tile is as many rows and
//! columns as the registers of the instruction set hold.

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};
use std::ops::{Deref, DerefMut};

/// Columns of a panel.
pub(super) const PANEL: usize = 32;

/// One row of a panel, or of a product with a panel; where a cache line starts, so that no vector lies across two.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct PanelRow(pub(super) [f32; PANEL]);

impl PanelRow {
    pub(super) const ZERO: Self = Self([0.0; PANEL]);
}

impl Deref for PanelRow {
    type Target = [f32; PANEL];
    #[inline(always)]
    fn deref(&self) -> &[f32; PANEL] {
        &self.0
    }
}

impl DerefMut for PanelRow {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [f32; PANEL] {
        &mut self.0
    }
}

/// Browsers have 16 registers of 4 numbers, no instruction that multiplies and adds, and their compilers spill soon.
const IN_BROWSER: bool = cfg!(target_arch = "wasm32");

/// Rows of a strip on this processor: 8 with AVX-512 (32 registers of 16), 2 in a browser, 6 otherwise (16 of 8, or 32 of 4).
pub(super) fn strip_rows() -> usize {
    struct Lanes;
    impl SimdOp for Lanes {
        type Output = usize;
        #[inline(always)]
        fn eval<I: Isa>(self, isa: I) -> usize {
            match isa.f32().len() {
                16 => 8,
                _ if IN_BROWSER => 2,
                _ => 6,
            }
        }
    }
    Lanes.dispatch()
}

/// `n_rows` rounded up to whole strips.
pub(super) fn padded_rows(n_rows: usize) -> usize {
    n_rows.next_multiple_of(strip_rows())
}

/// Takes the register tiles of a [`Product`].
pub(super) trait Target {
    /// A tile whose first number belongs to `row` and to column `first` of the panel. Rows past the last are to be passed over.
    fn take<I: Isa, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        isa: I,
        tile: &[[I::F32; VECTORS]; ROWS],
        row: usize,
        first: usize,
    );
}

/// `out = a b` or, with `add`, `out += a b`.
pub(super) struct Tile<'a> {
    pub(super) out: &'a mut [PanelRow],
    pub(super) add: bool,
}

impl Target for Tile<'_> {
    #[inline(always)]
    fn take<I: Isa, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        isa: I,
        tile: &[[I::F32; VECTORS]; ROWS],
        row: usize,
        first: usize,
    ) {
        let ops = isa.f32();
        let store = |out: &mut PanelRow, sums: &[I::F32; VECTORS]| {
            let out = &mut out[first..first + VECTORS * ops.len()];
            for (out, &x) in out.chunks_exact_mut(ops.len()).zip(sums) {
                let x = if self.add { ops.add(x, ops.load(out)) } else { x };
                ops.store(x, out);
            }
        };
        let out = &mut self.out[row..];
        // A whole tile goes from the registers to memory without a loop.
        match out.first_chunk_mut::<ROWS>() {
            Some(out) => (0..ROWS).for_each(
                #[inline(always)]
                |i| store(&mut out[i], &tile[i]),
            ),
            None => out.iter_mut().zip(tile).for_each(
                #[inline(always)]
                |(out, sums)| store(out, sums),
            ),
        }
    }
}

/// `a b` for all strips of `a`: `a` `[strips][n_inner][strip rows]`, `b` `[n_inner][32]`. Of the columns of `b` the first `n_cols` at
/// least go to the target.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) a: &'a [f32],
    pub(super) b: &'a [PanelRow],
    /// Without those that fill up the last strip.
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
    /// What `b` will be next, to be fetched in the meantime.
    pub(super) next: &'a [PanelRow],
}

impl Product<'_> {
    pub(super) fn give_to(self, target: impl Target) {
        Given { product: self, target }.dispatch();
    }
}

struct Given<'a, T> {
    product: Product<'a>,
    target: T,
}

impl<T: Target> SimdOp for Given<'_, T> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        // Rows and vectors of columns of a register tile. More rows are no quicker with AVX-512, and 8 fill a head of 64 columns.
        match isa.f32().len() {
            16 => self.run::<I, 8, 2>(isa),
            _ if IN_BROWSER => self.run::<I, 2, 4>(isa),
            _ => self.run::<I, 6, 2>(isa),
        }
    }
}

impl<T: Target> Given<'_, T> {
    #[inline(always)]
    fn run<I: Isa, const ROWS: usize, const VECTORS: usize>(mut self, isa: I) {
        let Product {
            a,
            b,
            n_rows,
            n_cols,
            next: after,
        } = self.product;
        let n_inner = b.len();
        let width = VECTORS * isa.f32().len();
        let strips = a.as_chunks::<ROWS>().0;
        let n_strips = n_rows.div_ceil(ROWS);
        // This part of the panel stays in the first cache while the strips pass by.
        for first in (0..n_cols).step_by(width) {
            let (next, next_first) = if first + width < n_cols {
                (b, first + width)
            } else {
                (after, 0)
            };
            // Each strip fetches its share of what comes after.
            let share = next.len().div_ceil(n_strips);
            let mut shares = next.chunks(share.max(1));
            for s in 0..n_strips {
                let strip = &strips[s * n_inner..(s + 1) * n_inner];
                let next = shares.next().unwrap_or_default();
                let tile = product::<I, ROWS, VECTORS>(isa, strip, b, first, next, next_first);
                self.target.take(isa, &tile, s * ROWS, first);
            }
        }
    }
}

#[inline(always)]
fn product<I: Isa, const ROWS: usize, const VECTORS: usize>(
    isa: I,
    a: &[[f32; ROWS]],
    b: &[PanelRow],
    first: usize,
    next: &[PanelRow],
    next_first: usize,
) -> [[I::F32; VECTORS]; ROWS] {
    let ops = isa.f32();
    let mut sums = [[ops.zero(); VECTORS]; ROWS];
    // A browser cannot be asked to fetch.
    let next = if IN_BROWSER { &[] } else { next };
    let n_fetches = next.len().min(a.len());
    for ((a, b), next) in a.iter().zip(b).zip(next) {
        ops.prefetch(&raw const next[next_first]);
        if VECTORS * ops.len() > 16 {
            ops.prefetch(&raw const next[next_first + 16]);
        }
        add_outer::<I, ROWS, VECTORS>(isa, &mut sums, a, &b[first..first + VECTORS * ops.len()]);
    }
    for (a, b) in a[n_fetches..].iter().zip(&b[n_fetches..]) {
        add_outer::<I, ROWS, VECTORS>(isa, &mut sums, a, &b[first..first + VECTORS * ops.len()]);
    }
    sums
}

/// `sums += a bᵀ`: every number of `a` times every number of `b`.
#[inline(always)]
fn add_outer<I: Isa, const ROWS: usize, const VECTORS: usize>(
    isa: I,
    sums: &mut [[I::F32; VECTORS]; ROWS],
    a: &[f32; ROWS],
    b: &[f32],
) {
    let ops = isa.f32();
    let b: [I::F32; VECTORS] = ops.load_many(b);
    for row in 0..ROWS {
        let a = ops.splat(a[row]);
        for vector in 0..VECTORS {
            sums[row][vector] = ops.mul_add(a, b[vector], sums[row][vector]);
        }
    }
}

/// Lays rows `[n, stride]`, of which `n_cols` numbers each count, out as strips; missing rows of the last strip are zeros.
/// `out` is `[strips][n_cols][strip rows]`.
#[inline(always)]
pub(super) fn pack_strips(x: &[f32], stride: usize, n_rows: usize, n_cols: usize, scale: f32, out: &mut [f32]) {
    match strip_rows() {
        8 => pack_strips_of::<8>(x, stride, n_rows, n_cols, scale, out),
        2 => pack_strips_of::<2>(x, stride, n_rows, n_cols, scale, out),
        _ => pack_strips_of::<6>(x, stride, n_rows, n_cols, scale, out),
    }
}

#[inline(always)]
fn pack_strips_of<const ROWS: usize>(x: &[f32], stride: usize, n_rows: usize, n_cols: usize, scale: f32, out: &mut [f32]) {
    let strips = out.as_chunks_mut::<ROWS>().0.chunks_exact_mut(n_cols.max(1));
    for (s, strip) in strips.enumerate() {
        let row = |i: usize| match s * ROWS + i {
            row if row < n_rows => &x[row * stride..row * stride + n_cols],
            _ => &[],
        };
        let rows: [&[f32]; ROWS] = std::array::from_fn(row);
        if rows.iter().all(|row| row.len() == strip.len()) {
            for (c, to) in strip.iter_mut().enumerate() {
                for i in 0..ROWS {
                    to[i] = scale * rows[i][c];
                }
            }
        } else {
            for (c, to) in strip.iter_mut().enumerate() {
                for i in 0..ROWS {
                    to[i] = scale * rows[i].get(c).copied().unwrap_or(0.0);
                }
            }
        }
    }
}

/// Lays rows `[n, stride]`, of which `n_cols` numbers each count, out as strips of their columns; missing columns of the last strip are
/// zeros. `out` is `[strips][n_rows][strip rows]`.
#[inline(always)]
pub(super) fn pack_column_strips(x: &[f32], stride: usize, n_rows: usize, n_cols: usize, out: &mut [f32]) {
    match strip_rows() {
        8 => pack_column_strips_of::<8>(x, stride, n_rows, n_cols, out),
        2 => pack_column_strips_of::<2>(x, stride, n_rows, n_cols, out),
        _ => pack_column_strips_of::<6>(x, stride, n_rows, n_cols, out),
    }
}

#[inline(always)]
fn pack_column_strips_of<const ROWS: usize>(x: &[f32], stride: usize, n_rows: usize, n_cols: usize, out: &mut [f32]) {
    let strips = out.as_chunks_mut::<ROWS>().0.chunks_exact_mut(n_rows.max(1));
    for (strip, first) in strips.zip((0..n_cols).step_by(ROWS)) {
        for (row, to) in strip.iter_mut().enumerate() {
            let from = &x[row * stride + first..row * stride + n_cols];
            match from.first_chunk::<ROWS>() {
                Some(from) => *to = *from,
                None => *to = std::array::from_fn(|i| from.get(i).copied().unwrap_or(0.0)),
            }
        }
    }
}

/// Lays rows `[n, stride]`, of which `n_cols` numbers each count, out as the columns of panels; missing columns are zeros.
/// `out` is `[panels][n_cols][32]`.
#[inline(always)]
pub(super) fn pack_panels(x: &[f32], stride: usize, n_rows: usize, n_cols: usize, scale: f32, out: &mut [PanelRow]) {
    for (p, panel) in out.chunks_exact_mut(n_cols.max(1)).enumerate() {
        for i in 0..PANEL {
            let row = p * PANEL + i;
            if row < n_rows {
                let from = &x[row * stride..row * stride + n_cols];
                for (to, x) in panel.iter_mut().zip(from) {
                    to[i] = scale * x;
                }
            } else {
                for to in panel.iter_mut() {
                    to[i] = 0.0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A product as a processor with strips of `ROWS` rows does it, which need not be this one.
    struct Other<'a, const ROWS: usize> {
        x: &'a [f32],
        product: Product<'a>,
        target: Tile<'a>,
    }

    impl<const ROWS: usize> SimdOp for Other<'_, ROWS> {
        type Output = ();

        fn eval<I: Isa>(self, isa: I) {
            let Product { b, n_rows, .. } = self.product;
            let mut a = vec![f32::NAN; n_rows.next_multiple_of(ROWS) * b.len()];
            pack_strips_of::<ROWS>(self.x, b.len(), n_rows, b.len(), 2.0, &mut a);
            let product = Product { a: &a, ..self.product };
            let given = Given {
                product,
                target: self.target,
            };
            given.run::<I, ROWS, 2>(isa);
        }
    }

    #[test]
    fn columns_become_strips() {
        // Two rows of seven columns, of which five count.
        let x: Vec<f32> = (0..14).map(|i| i as f32).collect();
        let mut out = [f32::NAN; 2 * 12];
        pack_column_strips_of::<3>(&x, 7, 2, 5, &mut out[..12]);
        assert_eq!(out[..12], [0.0, 1.0, 2.0, 7.0, 8.0, 9.0, 3.0, 4.0, 0.0, 10.0, 11.0, 0.0]);
        pack_column_strips_of::<12>(&x, 7, 2, 5, &mut out);
        assert_eq!(out[12..18], [7.0, 8.0, 9.0, 10.0, 11.0, 0.0]);
    }

    #[test]
    fn products_of_packed_rows() {
        for (m, k, n) in [(1, 1, 1), (6, 3, 32), (7, 0, 5), (13, 40, 31), (25, 17, 20)] {
            let x: Vec<f32> = (0..m * k).map(|i| (i % 7) as f32 - 3.0).collect();
            let w: Vec<f32> = (0..n * k).map(|i| (i % 5) as f32 - 2.0).collect();
            let mut a = vec![f32::NAN; padded_rows(m) * k];
            let mut b = vec![PanelRow([f32::NAN; PANEL]); k];
            pack_strips(&x, k, m, k, 2.0, &mut a);
            pack_panels(&w, k, n, k, 1.0, &mut b);
            for (add, strip_rows) in [
                (false, 0),
                (true, 0),
                (false, 6),
                (true, 6),
                (false, 8),
                (true, 8),
                (false, 2),
                (true, 2),
            ] {
                let mut out = vec![PanelRow([1.0; PANEL]); m];
                let product = Product {
                    a: &a,
                    b: &b,
                    n_rows: m,
                    n_cols: n,
                    next: &b,
                };
                let (x, target) = (&x, Tile { out: &mut out, add });
                match strip_rows {
                    0 => product.give_to(target),
                    6 => Other::<6> { x, product, target }.dispatch(),
                    2 => Other::<2> { x, product, target }.dispatch(),
                    _ => Other::<8> { x, product, target }.dispatch(),
                }
                for (i, row) in out.iter().enumerate() {
                    for (j, &got) in row.iter().enumerate().take(n) {
                        let sum: f32 = (0..k).map(|c| 2.0 * x[i * k + c] * w[j * k + c]).sum();
                        let wanted = sum + if add { 1.0 } else { 0.0 };
                        assert!(got == wanted, "[{m}, {k}] x [{n}, {k}]: ({i}, {j}) is {got}, wanted {wanted}");
                    }
                }
            }
        }
    }
}

//! The one product that everything is made of: a few rows of `a` by a panel of 32 columns of `b`, summed in registers.
//!
//! `a` comes in *strips*: [`strip_rows`] rows side by side, `[n_inner][strip rows]`; `b` in *panels*: 32 columns side by side,
//! `[n_inner][32]`. Both are read front to back, once, which is what makes the product fast. A register tile is as many rows and
//! columns as the registers of the instruction set hold.

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

/// Columns of a panel.
pub(super) const PANEL: usize = 32;

/// One row of a panel, or of a product with a panel.
pub(super) type PanelRow = [f32; PANEL];

/// Rows of a strip on this processor: 12 with AVX-512 (32 registers of 16), 6 otherwise (16 of 8, or of 4).
pub(super) fn strip_rows() -> usize {
    struct Lanes;
    impl SimdOp for Lanes {
        type Output = usize;
        #[inline(always)]
        fn eval<I: Isa>(self, isa: I) -> usize {
            if isa.f32().len() == 16 { 12 } else { 6 }
        }
    }
    Lanes.dispatch()
}

/// `n_rows` rounded up to whole strips.
pub(super) fn padded_rows(n_rows: usize) -> usize {
    n_rows.next_multiple_of(strip_rows())
}

/// `out = a b` or `out += a b` for all strips of `a`: `a` `[strips][n_inner][strip rows]`, `b` `[n_inner][32]`, `out` `[rows][32]`.
/// Only the rows that `out` has are written.
pub(super) struct Product<'a> {
    pub(super) a: &'a [f32],
    pub(super) b: &'a [PanelRow],
    pub(super) out: &'a mut [PanelRow],
    pub(super) add: bool,
}

impl SimdOp for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        // Columns at once: 2 vectors, of which each register tile of 6 (12) rows has 12 (24) sums.
        match isa.f32().len() {
            16 => self.run::<I, 12, 2>(isa),
            _ => self.run::<I, 6, 2>(isa),
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn run<I: Isa, const ROWS: usize, const VECTORS: usize>(self, isa: I) {
        if self.b.is_empty() {
            if !self.add {
                self.out.fill([0.0; PANEL]);
            }
            return;
        }
        let width = VECTORS * isa.f32().len();
        let strips = self.a.as_chunks::<ROWS>().0;
        // The half panel stays in the first cache while the strips pass by.
        for first in (0..PANEL).step_by(width) {
            for (strip, out) in strips.chunks_exact(self.b.len()).zip(self.out.chunks_mut(ROWS)) {
                let tile = product::<I, ROWS, VECTORS>(isa, strip, self.b, first);
                store(isa, &tile, out, first, self.add);
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
) -> [[I::F32; VECTORS]; ROWS] {
    let ops = isa.f32();
    let mut sums = [[ops.zero(); VECTORS]; ROWS];
    for (a, b) in a.iter().zip(b) {
        let b: [I::F32; VECTORS] = ops.load_many(&b[first..first + VECTORS * ops.len()]);
        for row in 0..ROWS {
            let a = ops.splat(a[row]);
            for vector in 0..VECTORS {
                sums[row][vector] = ops.mul_add(a, b[vector], sums[row][vector]);
            }
        }
    }
    sums
}

#[inline(always)]
fn store<I: Isa, const ROWS: usize, const VECTORS: usize>(
    isa: I,
    tile: &[[I::F32; VECTORS]; ROWS],
    out: &mut [PanelRow],
    first: usize,
    add: bool,
) {
    let ops = isa.f32();
    for (out, tile) in out.iter_mut().zip(tile) {
        for (out, &x) in out[first..].chunks_exact_mut(ops.len()).zip(tile) {
            let x = if add { ops.add(x, ops.load(out)) } else { x };
            ops.store(x, out);
        }
    }
}

/// Lays rows `[n, stride]`, of which `n_cols` numbers each count, out as strips; missing rows of the last strip are zeros.
/// `out` is `[strips][n_cols][strip rows]`.
pub(super) fn pack_strips(x: &[f32], stride: usize, n_rows: usize, n_cols: usize, scale: f32, out: &mut [f32]) {
    let strip_rows = strip_rows();
    for (s, out) in out.chunks_exact_mut((n_cols * strip_rows).max(1)).enumerate() {
        for i in 0..strip_rows {
            let row = s * strip_rows + i;
            let to = out.iter_mut().skip(i).step_by(strip_rows);
            if row < n_rows {
                let from = &x[row * stride..row * stride + n_cols];
                to.zip(from).for_each(|(to, x)| *to = scale * x);
            } else {
                to.for_each(|to| *to = 0.0);
            }
        }
    }
}

/// Lays rows `[n, stride]`, of which `n_cols` numbers each count, out as the columns of panels; missing columns are zeros.
/// `out` is `[panels][n_cols][32]`.
pub(super) fn pack_panels(x: &[f32], stride: usize, n_rows: usize, n_cols: usize, scale: f32, out: &mut [PanelRow]) {
    for (p, out) in out.chunks_exact_mut(n_cols.max(1)).enumerate() {
        for i in 0..PANEL {
            let row = p * PANEL + i;
            if row < n_rows {
                let from = &x[row * stride..row * stride + n_cols];
                out.iter_mut().zip(from).for_each(|(to, x)| to[i] = scale * x);
            } else {
                out.iter_mut().for_each(|to| to[i] = 0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_packed_rows() {
        for (m, k, n) in [(1, 1, 1), (6, 3, 32), (7, 0, 5), (13, 40, 31), (25, 17, 20)] {
            let x: Vec<f32> = (0..m * k).map(|i| (i % 7) as f32 - 3.0).collect();
            let w: Vec<f32> = (0..n * k).map(|i| (i % 5) as f32 - 2.0).collect();
            let mut a = vec![f32::NAN; padded_rows(m) * k];
            let mut b = vec![[f32::NAN; PANEL]; k];
            pack_strips(&x, k, m, k, 2.0, &mut a);
            pack_panels(&w, k, n, k, 1.0, &mut b);
            for add in [false, true] {
                let mut out = vec![[1.0; PANEL]; m];
                Product {
                    a: &a,
                    b: &b,
                    out: &mut out,
                    add,
                }
                .dispatch();
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

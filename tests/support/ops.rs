//! Every operation of any backend against the reference: at the edges of tiles, at random shapes, and by one law each.
//!
//! No case takes more than 0.2 GFLOP, because software GPUs run them too. Failures are collected, so that one run shows all.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::panic,
    clippy::unwrap_used,
    reason = "several test files share this, each uses a part; numbers are chosen to fit, and a failure is a failed test"
)]

use crate::reference::random::Draws;
use crate::reference::{Mat, dot, ops, rms};
use scdiva::backend::{Backend, CellRows, Columns, Epilogue, Matrix, PackedRows, Queries, ReadRows};
use scdiva::{Error, Result};
use std::cell::{Cell, RefCell};

/// Runs everything.
pub fn check_all<B: Backend>(backend: &B) {
    embeddings(backend);
    row_copies(backend);
    norms(backend);
    linear(backend);
    linear_epilogues(backend);
    no_number_stays_none(backend);
    attention(backend);
    attention_weights(backend);
    nearest(backend);
    refusals(backend);
}

/// The largest error that is taken, as a share of the RMS of the answer, or of the number itself where that is larger: f32 sums of 512
/// terms stay well under it, and so does the exp of a software GPU.
pub const TOLERANCE: f64 = 5e-5;

/// Widths of a row: a single number, no multiple of 4, multiples of 4 and of 64, the released width.
const WIDTHS: [usize; 7] = [1, 6, 8, 20, 64, 96, 512];

/// One backend under test, and what it got wrong so far.
struct Bench<'a, B: Backend> {
    backend: &'a B,
    draws: RefCell<Draws>,
    failures: RefCell<Vec<String>>,
    n_checks: Cell<usize>,
}

/// f32 numbers with their device copy and their f64 copy.
struct Both<T> {
    device: T,
    mat: Mat,
}

/// A batch on the device and as it was packed.
struct BothBatch<B: Backend> {
    device: B::Batch,
    rows: PackedRows,
}

impl<'a, B: Backend> Bench<'a, B> {
    fn new(backend: &'a B, name: &str) -> Self {
        Self {
            backend,
            draws: RefCell::new(Draws::new(1, name)),
            failures: RefCell::default(),
            n_checks: Cell::new(0),
        }
    }

    /// Shows all failures at once.
    fn finish(self) {
        let failures = self.failures.into_inner();
        let shown: Vec<&str> = failures.iter().take(40).map(String::as_str).collect();
        assert!(
            failures.is_empty(),
            "{}: {} of {} checks failed:\n{}",
            self.backend.name(),
            failures.len(),
            self.n_checks.get(),
            shown.join("\n")
        );
    }

    fn fail(&self, message: String) {
        self.failures.borrow_mut().push(message);
    }

    fn int(&self, range: std::ops::RangeInclusive<usize>) -> usize {
        self.draws.borrow_mut().int(range)
    }

    fn numbers(&self, n: usize, scale: f64) -> Vec<f32> {
        self.draws.borrow_mut().numbers(n, scale)
    }

    /// A random weight in ±`scale`.
    fn weight(&self, n_rows: usize, n_cols: usize, scale: f64) -> Both<B::Weight> {
        self.weight_of(n_rows, n_cols, &self.numbers(n_rows * n_cols, scale))
    }

    fn weight_of(&self, n_rows: usize, n_cols: usize, numbers: &[f32]) -> Both<B::Weight> {
        self.brought(n_rows, n_cols, numbers, |read| self.backend.weight(n_rows, n_cols, read))
    }

    /// A random matrix in ±`scale` that only products read, of numbers that the backend keeps as they are.
    fn matrix(&self, n_rows: usize, n_cols: usize, scale: f64) -> Both<B::Weight> {
        self.matrix_of(n_rows, n_cols, &self.numbers(n_rows * n_cols, scale))
    }

    fn matrix_of(&self, n_rows: usize, n_cols: usize, numbers: &[f32]) -> Both<B::Weight> {
        let is_half = self.backend.rounding() > 1e-5;
        let kept = |x: &f32| if is_half { half::f16::from_f32(*x).to_f32() } else { *x };
        let numbers: Vec<f32> = numbers.iter().map(kept).collect();
        self.brought(n_rows, n_cols, &numbers, |read| self.backend.matrix(n_rows, n_cols, read))
    }

    fn brought(
        &self,
        n_rows: usize,
        n_cols: usize,
        numbers: &[f32],
        bring: impl FnOnce(&mut ReadRows<'_>) -> Result<B::Weight>,
    ) -> Both<B::Weight> {
        let mut next_row = 0;
        let device = bring(&mut |rows, out| {
            assert_eq!(rows.start, next_row, "weights are read in order");
            assert_eq!(out.len(), rows.len() * n_cols, "the piece has the rows it asks for");
            next_row = rows.end;
            out.copy_from_slice(&numbers[rows.start * n_cols..rows.end * n_cols]);
            Ok(())
        })
        .unwrap();
        assert_eq!(next_row, n_rows, "all rows of a weight are read");
        assert_eq!((device.n_rows(), device.n_cols()), (n_rows, n_cols), "shape of a weight");
        Both {
            device,
            mat: Mat::from_f32(n_rows, n_cols, numbers),
        }
    }

    /// A random tensor in ±`scale`.
    fn tensor(&self, n_rows: usize, n_cols: usize, scale: f64) -> Both<B::Tensor> {
        self.tensor_of(n_rows, n_cols, &self.numbers(n_rows * n_cols, scale))
    }

    fn tensor_of(&self, n_rows: usize, n_cols: usize, numbers: &[f32]) -> Both<B::Tensor> {
        Both {
            device: self.backend.upload(n_rows, n_cols, numbers).unwrap(),
            mat: Mat::from_f32(n_rows, n_cols, numbers),
        }
    }

    /// Rows of `table` as a tensor.
    fn embedded(&self, rows: &PackedRows, table: &B::Weight) -> B::Tensor {
        let n_cols = table.n_cols();
        let zeros = self.weight_of(1, n_cols, &vec![0.0; n_cols]).device;
        let batch = self.backend.batch(rows).unwrap();
        let mut x = self.backend.encode_values(&batch, &zeros, &zeros).unwrap();
        self.backend.add_gene_embedding(&mut x, &batch, table).unwrap();
        x
    }

    /// Leaves NaN in the memory that the next tensors of about this size are likely to get.
    fn poison(&self, n_rows: usize, n_cols: usize) {
        let nan = self.weight_of(1, n_cols, &vec![f32::NAN; n_cols]).device;
        let mut rows = self.packed(&[(n_rows, n_rows)]);
        rows.gene_ids.fill(0);
        let poisoned: Vec<B::Tensor> = (0..3).map(|_| self.embedded(&rows, &nan)).collect();
        drop(poisoned);
    }

    /// Cells as (rows, keys), with random contents: ids under 50, positions as a rank each.
    fn packed(&self, cells: &[(usize, usize)]) -> PackedRows {
        let mut rows = PackedRows::default();
        for &(n_rows, n_keys) in cells {
            let first_row = rows.n_rows();
            rows.cells.push(CellRows {
                first_row,
                n_rows,
                n_keys,
            });
            for r in 0..n_rows {
                let is_gene = r > 0;
                rows.gene_ids.push(if is_gene { self.int(0..=49) as u32 } else { 0 });
                rows.values.push(if is_gene { 3.0 + self.numbers(1, 3.0)[0] } else { 0.0 });
                rows.masked.push(u32::from(is_gene && self.int(0..=2) == 0));
                // Any order, as unattended genes stand last: here backwards.
                rows.positions.push(if is_gene { (n_rows - r) as u32 } else { 0 });
            }
        }
        rows
    }

    fn batch(&self, cells: &[(usize, usize)]) -> BothBatch<B> {
        let rows = self.packed(cells);
        BothBatch {
            device: self.backend.batch(&rows).unwrap(),
            rows,
        }
    }

    fn download(&self, x: &B::Tensor) -> Result<Vec<f32>> {
        pollster::block_on(self.backend.download(x))
    }

    /// Holds an answer against the wanted one: shape, and every number to within `tolerance`.
    fn close(&self, op: &str, shape: &str, got: Result<B::Tensor>, wanted: &Mat, tolerance: f64) {
        self.n_checks.set(self.n_checks.get() + 1);
        let x = match got {
            Ok(x) => x,
            Err(e) => return self.fail(format!("{op} {shape}: {e}")),
        };
        let wanted_shape = (wanted.n_rows, wanted.n_cols);
        if (x.n_rows(), x.n_cols()) != wanted_shape {
            let got = (x.n_rows(), x.n_cols());
            return self.fail(format!("{op} {shape}: gave shape {got:?}, wanted {wanted_shape:?}"));
        }
        let got = match self.download(&x) {
            Ok(got) => got,
            Err(e) => return self.fail(format!("{op} {shape}: download: {e}")),
        };
        self.close_numbers(op, shape, &got, wanted, tolerance);
    }

    fn close_numbers(&self, op: &str, shape: &str, got: &[f32], wanted: &Mat, tolerance: f64) {
        if got.len() != wanted.data.len() {
            return self.fail(format!(
                "{op} {shape}: gave {} numbers, wanted {}",
                got.len(),
                wanted.data.len()
            ));
        }
        let rms = rms(&wanted.data);
        let allowed = |i: usize| tolerance * rms.max(wanted.data[i].abs());
        // NaN is never close.
        let is_close = |i: usize| f64::from(got[i]) == wanted.data[i] || (f64::from(got[i]) - wanted.data[i]).abs() <= allowed(i);
        let off: Vec<usize> = (0..got.len()).filter(|&i| !is_close(i)).collect();
        if let Some(&i) = off.first() {
            let place = (i / wanted.n_cols, i % wanted.n_cols);
            let (n_off, n) = (off.len(), got.len());
            let (got, wanted, allowed) = (got[i], wanted.data[i], allowed(i));
            self.fail(format!(
                "{op} {shape}: {n_off} of {n} numbers are off, the first at {place:?}: got {got:e}, wanted {wanted:e} ± {allowed:e}"
            ));
        }
    }

    /// An in-place operation: `x` afterwards against the wanted one.
    fn close_in_place(&self, op: &str, shape: &str, x: B::Tensor, done: Result<()>, wanted: &Mat, tolerance: f64) {
        self.close(op, shape, done.map(|()| x), wanted, tolerance);
    }

    fn refuses<T>(&self, what: &str, got: Result<T>) {
        self.n_checks.set(self.n_checks.get() + 1);
        match got {
            Err(Error::Argument { .. }) => {}
            Err(e) => self.fail(format!("{what}: wanted an argument error, got: {e}")),
            Ok(_) => self.fail(format!("{what}: was taken, wanted an argument error")),
        }
    }
}

/// Batches of cells as (rows, keys): alone, short, mixed lengths with unattended rows, around the size of a tile.
fn batches() -> Vec<Vec<(usize, usize)>> {
    vec![
        vec![(1, 1)],
        vec![(2, 1)],
        vec![(63, 63), (64, 60), (65, 1)],
        vec![(1, 1), (129, 129), (2, 2), (33, 20), (2, 1), (129, 64)],
    ]
}

fn columns<T>(tensor: &T, first: usize) -> Columns<'_, T> {
    Columns { tensor, first }
}

/// `encode_values`, `add_gene_embedding`, `cell_mean`, `mask_rows`.
pub fn embeddings<B: Backend>(backend: &B) {
    let bench = Bench::new(backend, "embeddings");
    let mut cases: Vec<(Vec<(usize, usize)>, usize)> = vec![(vec![(65_537, 65_000), (70, 3)], 4)];
    for cells in batches() {
        cases.extend(WIDTHS.map(|width| (cells.clone(), width)));
    }
    for _ in 0..6 {
        let cells = (0..bench.int(1..=7))
            .map(|_| bench.int(1..=90))
            .map(|n| (n, bench.int(1..=n)));
        cases.push((cells.collect(), bench.int(1..=130)));
    }
    for (cells, width) in cases {
        let shape = format!("{} cells {:?}.., width {width}", cells.len(), cells[0]);
        let batch = bench.batch(&cells);
        let n_rows = batch.rows.n_rows();
        let (weight, bias) = (bench.weight(1, width, 1.0), bench.weight(1, width, 1.0));
        bench.poison(n_rows, width);
        bench.close(
            "encode_values",
            &shape,
            backend.encode_values(&batch.device, &weight.device, &bias.device),
            &ops::encode_values(&batch.rows, &weight.mat, &bias.mat),
            TOLERANCE,
        );

        let table = bench.weight(50, width, 1.0);
        let mut x = bench.tensor(n_rows, width, 1.0);
        let done = backend.add_gene_embedding(&mut x.device, &batch.device, &table.device);
        let wanted = ops::add_gene_embedding(&x.mat, &batch.rows, &table.mat);
        bench.close_in_place("add_gene_embedding", &shape, x.device, done, &wanted, TOLERANCE);

        let x = bench.tensor(n_rows, width, 1.0);
        bench.poison(cells.len(), width);
        let mean = backend.cell_mean(&x.device, &batch.device);
        bench.close("cell_mean", &shape, mean, &ops::cell_mean(&x.mat, &batch.rows), TOLERANCE);

        let mut x = x;
        let done = backend.mask_rows(&mut x.device, &batch.device, &weight.device, &bias.device);
        let wanted = ops::mask_rows(&x.mat, &batch.rows, &weight.mat, &bias.mat);
        bench.close_in_place("mask_rows", &shape, x.device, done, &wanted, TOLERANCE);
    }

    // Law: the mean of identical rows is that row, whatever the unattended rows and [LAT] hold.
    let batch = bench.batch(&[(40, 30), (3, 2)]);
    let row = bench.numbers(20, 1.0);
    let numbers: Vec<f32> = (batch.rows.cells.iter())
        .flat_map(|cell| (0..cell.n_rows).map(|r| (1..cell.n_keys).contains(&r)))
        .flat_map(|counts| row.iter().map(move |x| if counts { *x } else { 1e30 }))
        .collect();
    let x = bench.tensor_of(43, 20, &numbers);
    let wanted = Mat::from_f32(2, 20, &[row.clone(), row].concat());
    let mean = backend.cell_mean(&x.device, &batch.device);
    bench.close("cell_mean", "of identical rows is that row", mean, &wanted, TOLERANCE);
    bench.finish();
}

/// `set_latent_rows`, `latent_rows`, `rows`: exact copies.
pub fn row_copies<B: Backend>(backend: &B) {
    let bench = Bench::new(backend, "row copies");
    let mut cases: Vec<(Vec<(usize, usize)>, usize)> = vec![(vec![(65_537, 65_000), (70, 3)], 4), (vec![(1, 1); 65_537], 3)];
    for cells in batches() {
        cases.extend(WIDTHS.map(|width| (cells.clone(), width)));
    }
    for (cells, width) in cases {
        let shape = format!("{} cells {:?}.., width {width}", cells.len(), cells[0]);
        let batch = bench.batch(&cells);
        let n_rows = batch.rows.n_rows();
        let mut x = bench.tensor(n_rows, width, 1.0);
        let latent = bench.tensor(cells.len(), width, 1.0);
        bench.poison(cells.len(), width);
        let got = backend.latent_rows(&x.device, &batch.device);
        bench.close("latent_rows", &shape, got, &ops::latent_rows(&x.mat, &batch.rows), 0.0);

        for range in [
            0..n_rows,
            0..1,
            n_rows - 1..n_rows,
            n_rows / 3..n_rows / 3 + n_rows.div_ceil(2),
        ] {
            bench.poison(range.len(), width);
            let got = backend.rows(&x.device, range.clone());
            let wanted = ops::rows(&x.mat, range.clone());
            bench.close("rows", &format!("{range:?} of {n_rows}, width {width}"), got, &wanted, 0.0);
        }

        let done = backend.set_latent_rows(&mut x.device, &batch.device, &latent.device);
        let wanted = ops::set_latent_rows(&x.mat, &batch.rows, &latent.mat);
        // Law: what was set is what is read.
        let read = backend.latent_rows(&x.device, &batch.device);
        bench.close("latent_rows", "after set_latent_rows", read, &latent.mat, 0.0);
        bench.close_in_place("set_latent_rows", &shape, x.device, done, &wanted, 0.0);
    }
    bench.finish();
}

/// `rms_norm`, `layer_norm_relu`.
pub fn norms<B: Backend>(backend: &B) {
    let bench = Bench::new(backend, "norms");
    let eps = 1e-5;
    let mut cases: Vec<(usize, usize)> = vec![(65_537, 8), (3, 1000), (2, 4096)];
    for n_rows in [1, 63, 64, 65] {
        cases.extend(WIDTHS.map(|width| (n_rows, width)));
    }
    for _ in 0..8 {
        cases.push((bench.int(1..=150), bench.int(1..=700)));
    }
    for (n_rows, width) in cases {
        let shape = format!("[{n_rows}, {width}]");
        let (weight, bias) = (bench.weight(1, width, 1.5), bench.weight(1, width, 1.0));
        // Scales from 1e-3, where eps counts, to 1e3.
        let scale = 10_f64.powi(bench.int(0..=6) as i32 - 3);
        let x = bench.tensor(n_rows, width, scale);
        bench.poison(n_rows, width);
        let got = backend.rms_norm(&x.device, &weight.device, eps);
        let wanted = ops::rms_norm(&x.mat, &weight.mat, f64::from(eps));
        bench.close("rms_norm", &format!("{shape}, scale {scale}"), got, &wanted, TOLERANCE);

        // A mean as large as the spread: the variance must not come from a difference of large numbers.
        let numbers: Vec<f32> = bench
            .numbers(n_rows * width, scale)
            .iter()
            .map(|x| x + scale as f32)
            .collect();
        let x = bench.tensor_of(n_rows, width, &numbers);
        bench.poison(n_rows, width);
        let got = backend.layer_norm_relu(&x.device, &weight.device, &bias.device, eps);
        let wanted = ops::layer_norm_relu(&x.mat, &weight.mat, &bias.mat, f64::from(eps));
        bench.close("layer_norm_relu", &format!("{shape}, scale {scale}"), got, &wanted, TOLERANCE);
    }

    // Laws: a row and its multiple have the same RMS norm; a row and its shifted multiple the same layer norm (eps aside).
    let (n_rows, width) = (5, 96);
    let (weight, bias) = (bench.weight(1, width, 1.0), bench.weight(1, width, 1.0));
    let numbers = bench.numbers(n_rows * width, 100.0);
    let x = bench.tensor_of(n_rows, width, &numbers);
    let eight = bench.tensor_of(n_rows, width, &numbers.iter().map(|x| 8.0 * x).collect::<Vec<_>>());
    let shifted = bench.tensor_of(n_rows, width, &numbers.iter().map(|x| 8.0 * x + 64.0).collect::<Vec<_>>());
    let download = |got: Result<B::Tensor>| Mat::from_f32(n_rows, width, &bench.download(&got.unwrap()).unwrap());
    let wanted = download(backend.rms_norm(&x.device, &weight.device, eps));
    let got = backend.rms_norm(&eight.device, &weight.device, eps);
    bench.close("rms_norm", "is scale free", got, &wanted, TOLERANCE);
    let wanted = download(backend.layer_norm_relu(&x.device, &weight.device, &bias.device, eps));
    let got = backend.layer_norm_relu(&shifted.device, &weight.device, &bias.device, eps);
    bench.close("layer_norm_relu", "is free of scale and shift", got, &wanted, TOLERANCE);
    let zeros = bench.tensor_of(2, width, &vec![0.0; 2 * width]);
    let got = backend.rms_norm(&zeros.device, &weight.device, eps);
    bench.close("rms_norm", "of zeros is zero", got, &Mat::zeros(2, width), 0.0);
    bench.finish();
}

/// Shapes (rows, K, N) of a product at the edges of tiles of 64 and 128, of widths that are no multiple of 4, of the model's.
fn products<B: Backend>(bench: &Bench<'_, B>) -> Vec<(usize, usize, usize)> {
    let mut shapes = vec![
        (1, 1, 1),
        (1, 64, 2),
        (2, 3, 5),
        (63, 63, 63),
        (64, 64, 64),
        (65, 65, 65),
        (127, 20, 129),
        (128, 16, 128),
        (129, 8, 127),
        (130, 96, 1),
        (3, 513, 7),
        (1, 512, 1536),
        (129, 512, 512),
        (33, 512, 1024),
        (20, 2048, 512),
        (257, 36, 260),
        (1025, 20, 1030),
        (45, 20, 48),
        (70, 52, 72),
        (300, 40, 264),
        (65_537, 8, 4),
        (4, 8, 65_537),
    ];
    for _ in 0..8 {
        shapes.push((bench.int(1..=200), bench.int(1..=300), bench.int(1..=300)));
    }
    shapes
}

/// The scale at which a product of uniform numbers has a variance of 1.
fn unit_scale(n_inner: usize) -> f64 {
    3.0 / (n_inner as f64).sqrt()
}

/// `linear` without epilogue, `linear_add`.
pub fn linear<B: Backend>(backend: &B) {
    linear_within(backend, TOLERANCE);
}

/// The same on a backend that may round the factors of a product.
pub fn linear_within<B: Backend>(backend: &B, tolerance: f64) {
    let bench = Bench::new(backend, "linear");
    for (m, k, n) in products(&bench) {
        let shape = format!("[{m}, {k}] x [{n}, {k}]ᵀ");
        let (x, weight) = (bench.tensor(m, k, 1.0), bench.matrix(n, k, unit_scale(k)));
        bench.poison(m, n);
        let got = backend.linear(&x.device, &weight.device, 0..n, Epilogue::None);
        bench.close(
            "linear",
            &shape,
            got,
            &ops::linear(&x.mat, &weight.mat, 0..n, &ops::Epilogue::None),
            tolerance,
        );

        let mut into = bench.tensor(m, n, 1.0);
        let done = backend.linear_add(&x.device, &weight.device, &mut into.device);
        let wanted = ops::linear_add(&x.mat, &weight.mat, &into.mat);
        bench.close_in_place("linear_add", &shape, into.device, done, &wanted, tolerance);
    }

    for (m, k, n, range) in [
        (5, 20, 100, 7..72),
        (66, 64, 192, 64..192),
        (129, 512, 384, 128..384),
        (3, 8, 9, 8..9),
    ] {
        let (x, weight) = (bench.tensor(m, k, 1.0), bench.matrix(n, k, unit_scale(k)));
        bench.poison(m, range.len());
        let got = backend.linear(&x.device, &weight.device, range.clone(), Epilogue::None);
        let wanted = ops::linear(&x.mat, &weight.mat, range.clone(), &ops::Epilogue::None);
        bench.close(
            "linear",
            &format!("[{m}, {k}] x rows {range:?} of {n}"),
            got,
            &wanted,
            tolerance,
        );
    }

    // Law: the unit matrix gives x back, exactly where factors are not rounded.
    let exactly = if tolerance > TOLERANCE { tolerance } else { 0.0 };
    for k in [1, 5, 64, 96, 130] {
        let mut unit = vec![0.0; k * k];
        (0..k).for_each(|i| unit[i * k + i] = 1.0);
        let (x, unit) = (bench.tensor(67, k, 1.0), bench.matrix_of(k, k, &unit));
        let got = backend.linear(&x.device, &unit.device, 0..k, Epilogue::None);
        bench.close("linear", &format!("with the unit matrix of {k} is x"), got, &x.mat, exactly);
    }
    bench.finish();
}

/// A product of 0.6 GFLOP, which a slow adapter cuts into several dispatches; some rows of its weight, and epilogues that depend on the column.
/// Gives the dispatches of one, as `n_dispatches` counts them.
pub fn large_linear<B: Backend>(backend: &B, n_dispatches: impl Fn() -> u64) -> u64 {
    let bench = Bench::new(backend, "large linear");
    let (m, k, n) = (600, 512, 1000);
    let (x, weight, bias) = (
        bench.tensor(m, k, 1.0),
        bench.matrix(n, k, unit_scale(k)),
        bench.weight(1, 960, 1.0),
    );
    let (range, shape) = (40..1000, "[600, 512] x rows 40..1000 of 1000");
    bench.poison(m, range.len());
    let before = n_dispatches();
    let got = backend.linear(&x.device, &weight.device, range.clone(), Epilogue::Bias(&bias.device));
    let n = n_dispatches() - before;
    let wanted = ops::linear(&x.mat, &weight.mat, range.clone(), &ops::Epilogue::Bias(&bias.mat));
    bench.close("linear + bias", shape, got, &wanted, TOLERANCE);
    bench.poison(m, range.len() / 2);
    let got = backend.linear(&x.device, &weight.device, range.clone(), Epilogue::SwiGlu);
    let wanted = ops::linear(&x.mat, &weight.mat, range, &ops::Epilogue::SwiGlu);
    bench.close("linear, swiglu", shape, got, &wanted, TOLERANCE);
    bench.finish();
    n
}

/// `linear` with bias, relu, `SwiGlu` and `Rope`.
pub fn linear_epilogues<B: Backend>(backend: &B) {
    linear_epilogues_within(backend, TOLERANCE);
}

/// The same on a backend that may round the factors of a product.
pub fn linear_epilogues_within<B: Backend>(backend: &B, tolerance: f64) {
    let bench = Bench::new(backend, "linear epilogues");
    for (m, k, n) in products(&bench) {
        let shape = format!("[{m}, {k}] x [{n}, {k}]ᵀ");
        let (x, weight) = (bench.tensor(m, k, 1.0), bench.matrix(n, k, unit_scale(k)));
        let bias = bench.weight(1, n, 1.0);
        let linear = |epilogue| backend.linear(&x.device, &weight.device, 0..n, epilogue);
        let wanted = |epilogue| ops::linear(&x.mat, &weight.mat, 0..n, &epilogue);
        bench.poison(m, n);
        bench.close(
            "linear + bias",
            &shape,
            linear(Epilogue::Bias(&bias.device)),
            &wanted(ops::Epilogue::Bias(&bias.mat)),
            tolerance,
        );
        let got = linear(Epilogue::BiasRelu(&bias.device));
        bench.close(
            "linear + bias, relu",
            &shape,
            got,
            &wanted(ops::Epilogue::BiasRelu(&bias.mat)),
            tolerance,
        );
        if n % 2 == 0 {
            bench.poison(m, n / 2);
            bench.close(
                "linear, swiglu",
                &shape,
                linear(Epilogue::SwiGlu),
                &wanted(ops::Epilogue::SwiGlu),
                tolerance,
            );
        }
    }

    // Gates from -60 to 60: silu neither overflows nor loses its tail. x is the unit matrix, so that the weight is the product.
    let gates: Vec<f32> = (0..241).flat_map(|i| [0.5 * i as f32 - 60.0, 1.0]).collect();
    let (x, weight) = (bench.tensor_of(1, 1, &[1.0]), bench.weight_of(482, 1, &gates));
    let got = backend.linear(&x.device, &weight.device, 0..482, Epilogue::SwiGlu);
    let wanted = ops::linear(&x.mat, &weight.mat, 0..482, &ops::Epilogue::SwiGlu);
    bench.close("linear, swiglu", "gates -60 to 60", got, &wanted, tolerance);
    // Law: a gate of zero shuts.
    let weight = bench.weight_of(4, 1, &[0.0, 1e20, 0.0, -3.0]);
    let got = backend.linear(&x.device, &weight.device, 0..4, Epilogue::SwiGlu);
    bench.close("linear, swiglu", "a gate of zero shuts", got, &Mat::zeros(1, 2), 0.0);

    rope(&bench, tolerance);
    bench.finish();
}

/// Law: what is not a number is none after `ReLU` either, so that an overflow never ends as an answer.
pub fn no_number_stays_none<B: Backend>(backend: &B) {
    let bench = Bench::new(backend, "relu");
    let ones = |n| vec![1.0; n];
    let weight = bench.matrix_of(16, 16, &ones(256));
    let bias = bench.weight_of(1, 16, &ones(16));
    let x = bench.tensor_of(1, 16, &[[f32::NAN].as_slice(), &ones(15)].concat());
    let nowhere = bench.weight_of(1, 16, &[f32::NAN; 16]);
    let batch = bench.batch(&[(1, 1)]);
    let outs = [
        backend.linear(&x.device, &weight.device, 0..16, Epilogue::BiasRelu(&bias.device)),
        backend.layer_norm_relu(&x.device, &bias.device, &bias.device, 1e-5),
        backend.encode_values(&batch.device, &nowhere.device, &bias.device),
    ];
    for out in outs {
        let out = bench.download(&out.unwrap()).unwrap();
        assert!(out.iter().all(|x| x.is_nan()), "NaN became {out:?}");
    }
    bench.finish();
}

/// What is past the range of f16 ends in what is no number, of either sign, also where negative numbers become 0.
pub fn overflow_is_no_number<B: Backend>(backend: &B) {
    let bench = Bench::new(backend, "overflow");
    let bias = bench.weight_of(1, 16, &[1.0; 16]);
    let x = bench.tensor_of(1, 16, &[1e5; 16]);
    for factor in [1.0, -1.0] {
        let weight = bench.matrix_of(16, 16, &[factor; 256]);
        for epilogue in [Epilogue::None, Epilogue::BiasRelu(&bias.device)] {
            let out = backend.linear(&x.device, &weight.device, 0..16, epilogue).unwrap();
            let out = bench.download(&out).unwrap();
            assert!(out.iter().all(|x| !x.is_finite()), "{factor}: {out:?}");
        }
    }
    bench.finish();
}

fn rope<B: Backend>(bench: &Bench<'_, B>, tolerance: f64) {
    let backend = bench.backend;
    let unrotated_parts = [
        (2, 1, 3),
        (8, 1, 1),
        (16, 2, 3),
        (20, 3, 9),
        (10, 2, 4),
        (6, 3, 8),
        (64, 8, 12),
        (64, 2, 2),
        (256, 2, 3),
        (64, 16, 24),
        (6, 5, 7),
    ];
    for (head_size, n_rotated, n_heads) in unrotated_parts {
        let k = 24;
        let cells = [(1, 1), (70, 60), (33, 1), (2, 2)];
        let mut batch = bench.batch(&cells);
        // Positions reach the end of the table.
        batch.rows.positions[5] = 1200;
        batch.device = backend.batch(&batch.rows).unwrap();
        let n_positions = 1201;
        let mut table = vec![0.0; n_positions * head_size];
        for (i, pair) in table.chunks_exact_mut(2).enumerate() {
            let (position, frequency) = (
                i / (head_size / 2),
                10_000_f64.powf(-2.0 * (i % (head_size / 2)) as f64 / head_size as f64),
            );
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            (pair[0], pair[1]) = (cos as f32, sin as f32);
        }
        let table = bench.weight_of(n_positions, head_size, &table);
        let x = bench.tensor(batch.rows.n_rows(), k, 1.0);
        let weight = bench.matrix((n_heads + 1) * head_size, k, unit_scale(k));
        // The last `n_heads` heads of the weight: as for k and v without q.
        let range = head_size..(n_heads + 1) * head_size;
        let n_cols = n_rotated * head_size;
        let shape = format!("{n_rotated} of {n_heads} heads of {head_size}");
        let rope = Epilogue::Rope {
            table: &table.device,
            batch: &batch.device,
            n_cols,
        };
        bench.poison(batch.rows.n_rows(), range.len());
        let got = backend.linear(&x.device, &weight.device, range.clone(), rope);
        let rope = ops::Epilogue::Rope {
            table: &table.mat,
            batch: &batch.rows,
            n_cols,
        };
        let wanted = ops::linear(&x.mat, &weight.mat, range.clone(), &rope);
        // Law: a rotation keeps the length of every head.
        if let Ok(rotated) = got
            .as_ref()
            .map(|x| Mat::from_f32(wanted.n_rows, wanted.n_cols, &bench.download(x).unwrap()))
        {
            let plain = ops::linear(&x.mat, &weight.mat, range, &ops::Epilogue::None);
            let norms = |x: &Mat| {
                let norms: Vec<f32> = x
                    .data
                    .chunks_exact(head_size)
                    .map(|head| dot(head, head).sqrt() as f32)
                    .collect();
                (
                    norms,
                    Mat::from_f32(
                        x.n_rows,
                        n_heads,
                        &x.data
                            .chunks_exact(head_size)
                            .map(|head| dot(head, head).sqrt() as f32)
                            .collect::<Vec<_>>(),
                    ),
                )
            };
            bench.close_numbers(
                "linear, rope",
                "keeps the length of heads",
                &norms(&rotated).0,
                &norms(&plain).1,
                tolerance,
            );
        }
        bench.close("linear, rope", &shape, got, &wanted, tolerance);
    }
}

/// Heads, head size, and cells as (rows, keys).
type AttentionCase = (usize, usize, Vec<(usize, usize)>);

fn attentions<B: Backend>(bench: &Bench<'_, B>) -> Vec<AttentionCase> {
    let mixed = vec![(1, 1), (129, 129), (2, 2), (33, 20), (2, 1), (129, 64)];
    let mut cases = vec![
        (1, 2, vec![(1, 1)]),
        (1, 8, vec![(2, 1)]),
        (3, 2, mixed.clone()),
        (2, 6, mixed.clone()),
        (3, 8, mixed.clone()),
        (4, 16, mixed.clone()),
        (2, 20, mixed.clone()),
        (8, 64, mixed.clone()),
        (2, 256, mixed),
        (2, 64, vec![(63, 63), (64, 64), (65, 65), (64, 63), (65, 64)]),
        (1, 64, vec![(257, 255), (15, 15), (16, 16), (17, 17), (31, 31), (32, 32)]),
        (1, 32, vec![(600, 513)]),
        (1, 8, vec![(1, 1); 300]),
    ];
    for _ in 0..6 {
        let cells: Vec<_> = (0..bench.int(1..=5))
            .map(|_| bench.int(1..=140))
            .map(|n| (n, bench.int(1..=n)))
            .collect();
        cases.push((bench.int(1..=6), 2 * bench.int(1..=40), cells));
    }
    cases
}

/// `attention`, of one matrix and of two, of all rows and of the [LAT] rows.
pub fn attention<B: Backend>(backend: &B) {
    attention_within(backend, TOLERANCE);
}

/// The same for a kernel that rounds more.
pub fn attention_within<B: Backend>(backend: &B, tolerance: f64) {
    let bench = Bench::new(backend, "attention");
    for (n_heads, head_size, cells) in attentions(&bench) {
        let d = n_heads * head_size;
        let shape = format!("{n_heads} heads of {head_size}, {} cells {:?}..", cells.len(), cells[0]);
        let batch = bench.batch(&cells);
        let n_rows = batch.rows.n_rows();
        // q, k and v side by side; scores have a variance of about 4, so that attention is far from uniform.
        let qkv = bench.tensor(n_rows, 3 * d, (2.0 * 3.0_f64).sqrt());
        bench.poison(n_rows, d);
        let (q, k, v) = (columns(&qkv.device, 0), columns(&qkv.device, d), columns(&qkv.device, 2 * d));
        let got = backend.attention(q, k, v, &batch.device, Queries::AllRows, n_heads, head_size);
        let parts = |first: usize| (&qkv.mat, first);
        let wanted = ops::attention(
            parts(0),
            parts(d),
            parts(2 * d),
            &batch.rows,
            Queries::AllRows,
            n_heads,
            head_size,
        );
        bench.close("attention", &shape, got, &wanted, tolerance);

        // q in a matrix of its own, with a column to spare on both sides; k and v with one in front.
        let q = bench.tensor(cells.len(), d + 2, (2.0 * 3.0_f64).sqrt());
        let kv = bench.tensor(n_rows, 2 * d + 1, (2.0 * 3.0_f64).sqrt());
        bench.poison(cells.len(), d);
        let (columns_q, k, v) = (columns(&q.device, 1), columns(&kv.device, 1), columns(&kv.device, d + 1));
        let got = backend.attention(columns_q, k, v, &batch.device, Queries::LatentRows, n_heads, head_size);
        let (k, v) = ((&kv.mat, 1), (&kv.mat, d + 1));
        let wanted = ops::attention((&q.mat, 1), k, v, &batch.rows, Queries::LatentRows, n_heads, head_size);
        bench.close("attention of [LAT]", &shape, got, &wanted, tolerance);

        // The same at columns that are multiples of 4.
        let q = bench.tensor(cells.len(), d + 4, (2.0 * 3.0_f64).sqrt());
        let (columns_q, k, v) = (columns(&q.device, 4), columns(&qkv.device, d), columns(&qkv.device, 2 * d));
        bench.poison(cells.len(), d);
        let got = backend.attention(columns_q, k, v, &batch.device, Queries::LatentRows, n_heads, head_size);
        let wanted = ops::attention(
            (&q.mat, 4),
            parts(d),
            parts(2 * d),
            &batch.rows,
            Queries::LatentRows,
            n_heads,
            head_size,
        );
        bench.close("attention of [LAT], aligned", &shape, got, &wanted, tolerance);
    }

    extreme_attention(&bench, 2, 16, tolerance);
    extreme_attention(&bench, 2, 64, tolerance);
    bench.finish();
}

/// Large scores, and rows that nobody attends to.
fn extreme_attention<B: Backend>(bench: &Bench<'_, B>, n_heads: usize, head_size: usize, tolerance: f64) {
    // Scores of hundreds: exp must see differences from the largest score only.
    let (backend, n, d) = (bench.backend, 100, n_heads * head_size);
    let batch = bench.batch(&[(n, n - 7)]);
    let qkv = bench.tensor(n, 3 * d, 20.0);
    let (q, k, v) = (columns(&qkv.device, 0), columns(&qkv.device, d), columns(&qkv.device, 2 * d));
    let got = backend.attention(q, k, v, &batch.device, Queries::AllRows, n_heads, head_size);
    let parts = |first: usize| (&qkv.mat, first);
    let wanted = ops::attention(
        parts(0),
        parts(d),
        parts(2 * d),
        &batch.rows,
        Queries::AllRows,
        n_heads,
        head_size,
    );
    // f32 scores of 300 are known to 3e-5; f16 ones to 0.1, so that only what is quite wrong shows.
    let most = if tolerance > TOLERANCE { 0.5 } else { 1e-3 };
    bench.close("attention", "scores of hundreds", got, &wanted, most);

    // Laws: identical values come back; what unattended rows hold as keys and values does not matter.
    let cells = [(40, 25), (3, 1)];
    let batch = bench.batch(&cells);
    let row = bench.numbers(d, 1.0);
    let mut numbers = vec![];
    for (n_rows, n_keys) in cells {
        for r in 0..n_rows {
            let is_key = r < n_keys;
            numbers.extend(bench.numbers(d, 1.0));
            numbers.extend(if is_key { bench.numbers(d, 1.0) } else { vec![1e30; d] });
            numbers.extend(if is_key { row.clone() } else { vec![f32::NAN; d] });
        }
    }
    let qkv = bench.tensor_of(43, 3 * d, &numbers);
    let (q, k, v) = (columns(&qkv.device, 0), columns(&qkv.device, d), columns(&qkv.device, 2 * d));
    let got = backend.attention(q, k, v, &batch.device, Queries::AllRows, n_heads, head_size);
    let wanted = Mat::from_f32(43, d, &vec![row; 43].concat());
    bench.close(
        "attention",
        "identical values come back, unattended rows do not count",
        got,
        &wanted,
        tolerance,
    );
}

/// An attention of 0.64 GFLOP, which a slow adapter takes in several dispatches; how many there were.
pub fn large_attention<B: Backend>(backend: &B, n_dispatches: impl Fn() -> u64) -> u64 {
    let bench = Bench::new(backend, "large attention");
    let (n_heads, head_size, n) = (6, 32, 900);
    let d = n_heads * head_size;
    let batch = bench.batch(&[(n, n)]);
    let qkv = bench.tensor(n, 3 * d, (2.0 * 3.0_f64).sqrt());
    bench.poison(n, d);
    let (q, k, v) = (columns(&qkv.device, 0), columns(&qkv.device, d), columns(&qkv.device, 2 * d));
    let before = n_dispatches();
    let got = backend.attention(q, k, v, &batch.device, Queries::AllRows, n_heads, head_size);
    let n_taken = n_dispatches() - before;
    let parts = |first: usize| (&qkv.mat, first);
    let wanted = ops::attention(
        parts(0),
        parts(d),
        parts(2 * d),
        &batch.rows,
        Queries::AllRows,
        n_heads,
        head_size,
    );
    bench.close("attention", "6 heads of 32, a cell of 900 rows", got, &wanted, TOLERANCE);
    bench.finish();
    n_taken
}

/// `attention_weights`.
pub fn attention_weights<B: Backend>(backend: &B) {
    let bench = Bench::new(backend, "attention weights");
    for (n_heads, head_size, cells) in attentions(&bench) {
        let d = n_heads * head_size;
        let batch = bench.batch(&cells);
        let qk = bench.tensor(batch.rows.n_rows(), 2 * d + 1, (2.0 * 3.0_f64).sqrt());
        for cell in (0..cells.len()).take(6) {
            let (n, n_keys) = cells[cell];
            let shape = format!("{n_heads} heads of {head_size}, cell {cell} of {n} rows, {n_keys} keys");
            bench.poison(n_heads * n, n);
            let (q, k) = (columns(&qk.device, 1), columns(&qk.device, d + 1));
            let got = backend.attention_weights(q, k, &batch.device, cell, n_heads, head_size);
            let wanted = ops::attention_weights((&qk.mat, 1), (&qk.mat, d + 1), &batch.rows, cell, n_heads, head_size);
            // Laws: every row sums to 1, and unattended keys get exactly nothing.
            if let Ok(weights) = got.as_ref().map(|x| bench.download(x).unwrap()) {
                let sums: Vec<f32> = weights.chunks_exact(n).map(|row| row.iter().sum()).collect();
                let ones = Mat::new(sums.len(), 1, vec![1.0; sums.len()]);
                bench.close_numbers("attention_weights", &format!("sum to 1: {shape}"), &sums, &ones, TOLERANCE);
                let unattended: Vec<f32> = weights.chunks_exact(n).flat_map(|row| row[n_keys..].to_vec()).collect();
                let zeros = Mat::zeros(1, unattended.len());
                bench.close_numbers(
                    "attention_weights",
                    &format!("unattended get nothing: {shape}"),
                    &unattended,
                    &zeros,
                    0.0,
                );
            }
            bench.close("attention_weights", &shape, got, &wanted, TOLERANCE);
        }
    }
    bench.finish();
}

/// `nearest`: in one piece and in several, with equal scores, with fewer candidates than are kept.
pub fn nearest<B: Backend>(backend: &B) {
    let bench = Bench::new(backend, "nearest");
    for (n_rows, n_scores, n_best, n_pieces) in [
        (1, 1, 1, 1),
        (5, 3, 8, 1),
        (70, 300, 24, 1),
        (130, 1000, 24, 7),
        (64, 257, 1, 3),
        (3, 40, 40, 40),
    ] {
        let shape = format!("[{n_rows}, {n_scores}] in {n_pieces} pieces, {n_best} kept");
        // Of a few values only, so that many are equal.
        let numbers = bench.numbers(n_rows * n_scores, 1.0);
        let numbers: Vec<f32> = numbers.iter().map(|x| (x * 20.0).round() / 4.0).collect();
        let wanted = ops::nearest(&Mat::from_f32(n_rows, n_scores, &numbers), n_best);
        let mut best = bench
            .tensor_of(n_rows, 2 * n_best, &vec![f32::NAN; n_rows * 2 * n_best])
            .device;
        let piece = n_scores.div_ceil(n_pieces);
        let mut done = Ok(());
        for first in (0..n_scores).step_by(piece) {
            let end = n_scores.min(first + piece);
            let of_row = numbers.chunks_exact(n_scores).flat_map(|row| row[first..end].to_vec());
            let scores = bench.tensor_of(n_rows, end - first, &of_row.collect::<Vec<_>>()).device;
            done = done.and_then(|()| backend.nearest(&scores, first, &mut best));
        }
        bench.close_in_place("nearest", &shape, best, done, &wanted, 0.0);
    }
    bench.finish();
}

/// Shapes that do not fit are refused as arguments, before anything runs.
pub fn refusals<B: Backend>(backend: &B) {
    let bench = Bench::new(backend, "refusals");
    let b = backend;
    let batch = bench.batch(&[(5, 4), (3, 3)]);
    let other = bench.batch(&[(9, 9)]);
    let (x, wide, short) = (
        bench.tensor(8, 6, 1.0).device,
        bench.tensor(8, 7, 1.0).device,
        bench.tensor(7, 6, 1.0).device,
    );
    let (row, wide_row, long) = (
        bench.weight(1, 6, 1.0).device,
        bench.weight(1, 7, 1.0).device,
        bench.weight(2, 6, 1.0).device,
    );
    let (two, three) = (bench.tensor(2, 6, 1.0).device, bench.tensor(3, 6, 1.0).device);
    let (batch, other) = (&batch.device, &other.device);

    bench.refuses(
        "encode_values: bias of another width",
        b.encode_values(batch, &row, &wide_row),
    );
    bench.refuses("encode_values: weight of two rows", b.encode_values(batch, &long, &row));
    let mut y = bench.tensor(8, 6, 1.0).device;
    let table = bench.weight(60, 6, 1.0).device;
    let small_table = bench.weight(1, 6, 1.0).device;
    let wide_table = bench.weight(60, 7, 1.0).device;
    bench.refuses(
        "add_gene_embedding: another batch",
        b.add_gene_embedding(&mut y, other, &table),
    );
    bench.refuses(
        "add_gene_embedding: another width",
        b.add_gene_embedding(&mut y, batch, &wide_table),
    );
    bench.refuses(
        "add_gene_embedding: ids past the table",
        b.add_gene_embedding(&mut y, batch, &small_table),
    );
    bench.refuses("cell_mean: another batch", b.cell_mean(&short, batch));
    bench.refuses("mask_rows: another batch", b.mask_rows(&mut y, other, &row, &row));
    bench.refuses("mask_rows: another width", b.mask_rows(&mut y, batch, &row, &wide_row));
    bench.refuses("set_latent_rows: another batch", b.set_latent_rows(&mut y, other, &two));
    bench.refuses("set_latent_rows: a row too many", b.set_latent_rows(&mut y, batch, &three));
    bench.refuses(
        "set_latent_rows: another width",
        b.set_latent_rows(&mut y, batch, &bench.tensor(2, 7, 1.0).device),
    );
    bench.refuses("latent_rows: another batch", b.latent_rows(&x, other));
    bench.refuses("upload: a number too few", b.upload(2, 3, &[0.0; 5]));
    bench.refuses("upload: no rows", b.upload(0, 3, &[]));
    bench.refuses(
        "nearest: another number of rows",
        b.nearest(&x, 0, &mut bench.tensor(7, 8, 1.0).device),
    );
    bench.refuses(
        "nearest: no room for candidates",
        b.nearest(&x, 0, &mut bench.tensor(8, 7, 1.0).device),
    );
    bench.refuses(
        "nearest: candidates beyond f32",
        b.nearest(&x, 1 << 24, &mut bench.tensor(8, 8, 1.0).device),
    );
    bench.refuses("rows: past the end", b.rows(&x, 3..9));
    #[expect(clippy::reversed_empty_ranges, reason = "this is what must be refused")]
    let backwards = 5..3;
    bench.refuses("rows: backwards", b.rows(&x, backwards.clone()));
    bench.refuses("rms_norm: another width", b.rms_norm(&x, &wide_row, 1e-5));
    bench.refuses("rms_norm: weight of two rows", b.rms_norm(&x, &long, 1e-5));
    bench.refuses("layer_norm_relu: another width", b.layer_norm_relu(&x, &row, &wide_row, 1e-5));

    let weight = bench.weight(12, 6, 1.0).device;
    let linear = |x, rows, epilogue| b.linear(x, &weight, rows, epilogue);
    let bias = bench.weight(1, 12, 1.0).device;
    bench.refuses("linear: another inner size", linear(&wide, 0..12, Epilogue::None));
    bench.refuses("linear: weight rows past the end", linear(&x, 4..13, Epilogue::None));
    bench.refuses("linear: weight rows backwards", linear(&x, backwards, Epilogue::None));
    bench.refuses(
        "linear: bias longer than the rows that are used",
        linear(&x, 0..11, Epilogue::Bias(&bias)),
    );
    bench.refuses("linear: bias of another width", linear(&x, 0..12, Epilogue::BiasRelu(&row)));
    bench.refuses("linear: SwiGLU of an odd number of rows", linear(&x, 0..5, Epilogue::SwiGlu));
    let rope = |table, batch, n_cols| Epilogue::Rope { table, batch, n_cols };
    let angles = bench.weight(5, 4, 1.0).device;
    let few_angles = bench.weight(4, 4, 1.0).device;
    let odd_angles = bench.weight(5, 3, 1.0).device;
    bench.refuses("linear: RoPE of half a head", linear(&x, 0..12, rope(&angles, batch, 6)));
    bench.refuses(
        "linear: RoPE of more columns than there are",
        linear(&x, 0..6, rope(&angles, batch, 8)),
    );
    bench.refuses(
        "linear: RoPE with an odd head size",
        linear(&x, 0..12, rope(&odd_angles, batch, 6)),
    );
    bench.refuses("linear: RoPE for another batch", linear(&x, 0..12, rope(&angles, other, 8)));
    bench.refuses(
        "linear: RoPE with positions past the table",
        linear(&x, 0..12, rope(&few_angles, batch, 8)),
    );
    bench.refuses("linear_add: another inner size", b.linear_add(&wide, &weight, &mut y));
    bench.refuses("linear_add: another output size", b.linear_add(&x, &weight, &mut y));
    let mut short_into = bench.tensor(7, 12, 1.0).device;
    bench.refuses(
        "linear_add: another number of rows",
        b.linear_add(&x, &weight, &mut short_into),
    );

    let at = columns::<B::Tensor>;
    let all = Queries::AllRows;
    bench.refuses(
        "attention: columns past the end",
        b.attention(at(&x, 0), at(&x, 3), at(&x, 0), batch, all, 1, 4),
    );
    bench.refuses(
        "attention: values past the end",
        b.attention(at(&x, 0), at(&x, 2), at(&x, 5), batch, all, 1, 4),
    );
    bench.refuses(
        "attention: no heads",
        b.attention(at(&x, 0), at(&x, 0), at(&x, 0), batch, all, 0, 4),
    );
    bench.refuses(
        "attention: heads of no size",
        b.attention(at(&x, 0), at(&x, 0), at(&x, 0), batch, all, 1, 0),
    );
    bench.refuses(
        "attention: q of another batch",
        b.attention(at(&short, 0), at(&x, 0), at(&x, 0), batch, all, 1, 4),
    );
    bench.refuses(
        "attention: k of another batch",
        b.attention(at(&x, 0), at(&short, 0), at(&x, 0), batch, all, 1, 4),
    );
    bench.refuses(
        "attention: v of another batch",
        b.attention(at(&x, 0), at(&x, 0), at(&short, 0), batch, all, 1, 4),
    );
    let latent = Queries::LatentRows;
    bench.refuses(
        "attention: q of all rows for [LAT]",
        b.attention(at(&x, 0), at(&x, 0), at(&x, 0), batch, latent, 1, 4),
    );
    bench.refuses(
        "attention_weights: no such cell",
        b.attention_weights(at(&x, 0), at(&x, 0), batch, 2, 1, 4),
    );
    bench.refuses(
        "attention_weights: columns past the end",
        b.attention_weights(at(&x, 0), at(&x, 3), batch, 0, 1, 4),
    );
    bench.refuses(
        "attention_weights: another batch",
        b.attention_weights(at(&x, 0), at(&x, 0), other, 0, 1, 4),
    );

    let broken = |breakage: fn(&mut PackedRows)| {
        let mut rows = bench.packed(&[(5, 4), (3, 3)]);
        breakage(&mut rows);
        b.batch(&rows)
    };
    bench.refuses("batch: a value missing", broken(|rows| rows.values.truncate(7)));
    bench.refuses("batch: a mask missing", broken(|rows| rows.masked.truncate(7)));
    bench.refuses("batch: a position missing", broken(|rows| rows.positions.truncate(7)));
    bench.refuses("batch: rows of no cell", broken(|rows| rows.cells.truncate(1)));
    bench.refuses("batch: a gap between cells", broken(|rows| rows.cells[1].first_row = 6));
    bench.refuses("batch: more keys than rows", broken(|rows| rows.cells[0].n_keys = 6));
    bench.refuses("batch: a cell without keys", broken(|rows| rows.cells[0].n_keys = 0));
    bench.finish();
}

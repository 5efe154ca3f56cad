//! Each heavy operation of a layer by itself, at the released sizes; compared with the f64 reference before it is timed.

use crate::measure::{Times, repeat};
use crate::reference::ops as reference;
use crate::reference::random::Draws;
use crate::reference::{Mat, rms};
use scdiva::backend::{Backend, CellRows, Columns, Epilogue, PackedRows, Queries, ReadRows};
use scdiva::model::Config;
use std::time::{Duration, Instant};

/// An error of this share of the answer's root mean square is taken, as in the tests.
pub(crate) const TOLERANCE: f64 = 5e-5;
/// The same where factors are rounded to f16.
pub(crate) const TOLERANCE_F16: f64 = 1e-2;
/// Rows that are compared.
const N_COMPARED: usize = 8;

/// One operation at one shape.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct KernelRow {
    pub(crate) kernel: &'static str,
    pub(crate) shape: String,
    pub(crate) times: Times,
    /// 0 where only numbers are moved.
    pub(crate) gflops: f64,
    /// Read and written at the least, each number once.
    pub(crate) gbytes_per_s: f64,
    /// The largest error, as a share of the root mean square.
    pub(crate) error: f64,
}

struct Bench<'a, B: Backend> {
    backend: &'a B,
    tolerance: f64,
    budget: Duration,
    draws: Draws,
    rows: Vec<KernelRow>,
}

/// How a backend takes a weight.
type Bring<B> = fn(&B, usize, usize, &mut ReadRows<'_>) -> scdiva::Result<<B as Backend>::Weight>;

/// One operation, ready to be timed.
struct Case<'a> {
    kernel: &'static str,
    shape: String,
    flops: f64,
    bytes: f64,
    /// What the rows `compared` of the answer must be.
    wanted: &'a Mat,
    compared: &'a [usize],
}

/// A copy, which shows what the memory can do, and the operations of one layer with `n_rows` rows of one cell.
pub(crate) fn run<B: Backend>(backend: &B, n_rows: usize, tolerance: f64, budget: Duration) -> Result<Vec<KernelRow>, String> {
    let config = Config::released();
    let (d, f, n_heads) = (config.hidden_size, config.intermediate_size, config.num_heads);
    let head_size = config.head_size();
    let mut bench = Bench {
        backend,
        tolerance,
        budget,
        draws: Draws::new(1, "speed"),
        rows: vec![],
    };
    let compared: Vec<usize> = (0..N_COMPARED).map(|i| i * (n_rows - 1) / (N_COMPARED - 1)).collect();
    let packed = one_cell(n_rows);
    let batch = backend.batch(&packed).map_err(|e| e.to_string())?;
    let picked = PackedRows {
        positions: compared.iter().map(|&row| packed.positions[row]).collect(),
        ..PackedRows::default()
    };
    let (x, x_mat) = bench.tensor(&packed, d, 1.0)?;
    let (wide, wide_mat) = bench.tensor(&packed, f, 1.0)?;
    let (qkv, qkv_mat) = bench.tensor(&packed, 3 * d, 1.0)?;
    let (table, table_mat) = bench.weight(n_rows, head_size, 1.0)?;
    let (norm, norm_mat) = bench.weight(1, d, 1.0)?;
    let (w_qkv, w_qkv_mat) = bench.matrix(3 * d, d, 0.05)?;
    let (w_o, w_o_mat) = bench.matrix(d, d, 0.05)?;
    let (w_gate_up, w_gate_up_mat) = bench.matrix(2 * f, d, 0.05)?;
    let (w_down, w_down_mat) = bench.matrix(d, f, 0.05)?;
    let picked_x = x_mat.pick(compared.clone());
    let linear_case = |kernel, n_out: usize, n_in: usize, n_written: usize| {
        let flops = 2.0 * (n_rows * n_out * n_in) as f64;
        let bytes = 4.0 * (n_rows * n_in + n_out * n_in + n_rows * n_written) as f64;
        (kernel, format!("[{n_rows}, {n_in}] x [{n_out}, {n_in}]"), flops, bytes)
    };
    let of = |(kernel, shape, flops, bytes), wanted| Case {
        kernel,
        shape,
        flops,
        bytes,
        wanted,
        compared: &compared,
    };

    let moved = ("rows (copy)", format!("[{n_rows}, {f}]"), 0.0, 8.0 * (n_rows * f) as f64);
    let picked_wide = wide_mat.pick(compared.clone());
    bench.case(&of(moved, &picked_wide), || backend.rows(&wide, 0..n_rows))?;

    let wanted = reference::rms_norm(&picked_x, &norm_mat, 1e-5);
    let moved = ("rms_norm", format!("[{n_rows}, {d}]"), 0.0, 8.0 * (n_rows * d) as f64);
    bench.case(&of(moved, &wanted), || backend.rms_norm(&x, &norm, 1e-5))?;

    let rope = reference::Epilogue::Rope {
        table: &table_mat,
        batch: &picked,
        n_cols: 2 * d,
    };
    let wanted = reference::linear(&picked_x, &w_qkv_mat, 0..3 * d, &rope);
    bench.case(&of(linear_case("linear, qkv, RoPE", 3 * d, d, 3 * d), &wanted), || {
        let rope = Epilogue::Rope {
            table: &table,
            batch: &batch,
            n_cols: 2 * d,
        };
        backend.linear(&x, &w_qkv, 0..3 * d, rope)
    })?;

    let queries: Vec<CellRows> = compared.iter().map(|_| packed.cells[0]).collect();
    let as_cells = PackedRows {
        cells: queries,
        ..PackedRows::default()
    };
    let q_mat = qkv_mat.pick(compared.clone());
    let wanted = reference::attention(
        (&q_mat, 0),
        (&qkv_mat, d),
        (&qkv_mat, 2 * d),
        &as_cells,
        Queries::LatentRows,
        n_heads,
        head_size,
    );
    let flops = 4.0 * (n_rows * n_rows * d) as f64;
    let shape = format!("{n_heads} x [{n_rows}, {head_size}]");
    let moved = ("attention", shape, flops, 16.0 * (n_rows * d) as f64);
    bench.case(&of(moved, &wanted), || {
        let from = |first| Columns { tensor: &qkv, first };
        backend.attention(from(0), from(d), from(2 * d), &batch, Queries::AllRows, n_heads, head_size)
    })?;

    // The answer is added to what is there: zeros before the first run, and only that one is compared.
    let wanted = reference::linear_add(&picked_x, &w_o_mat, &Mat::zeros(N_COMPARED, d));
    let mut into = bench.zeros(&packed, d)?;
    bench.case_in_place(
        &of(linear_case("linear, o, residual", d, d, 2 * d), &wanted),
        &mut into,
        |into| backend.linear_add(&x, &w_o, into),
    )?;

    let wanted = reference::linear(&picked_x, &w_gate_up_mat, 0..2 * f, &reference::Epilogue::SwiGlu);
    bench.case(&of(linear_case("linear, gate and up, SwiGLU", 2 * f, d, f), &wanted), || {
        backend.linear(&x, &w_gate_up, 0..2 * f, Epilogue::SwiGlu)
    })?;

    let wanted = reference::linear_add(&picked_wide, &w_down_mat, &Mat::zeros(N_COMPARED, d));
    let mut into = bench.zeros(&packed, d)?;
    bench.case_in_place(
        &of(linear_case("linear, down, residual", d, f, 2 * d), &wanted),
        &mut into,
        |into| backend.linear_add(&wide, &w_down, into),
    )?;
    Ok(bench.rows)
}

/// One cell of which every row is a key.
pub(crate) fn one_cell(n_rows: usize) -> PackedRows {
    let mut rows = PackedRows {
        cells: vec![CellRows {
            first_row: 0,
            n_rows,
            n_keys: n_rows,
        }],
        ..PackedRows::default()
    };
    for row in (0_u32..).take(n_rows) {
        rows.gene_ids.push(row);
        rows.values.push(0.0);
        rows.masked.push(0);
        rows.positions.push(row);
    }
    rows
}

impl<B: Backend> Bench<'_, B> {
    fn weight(&mut self, n_rows: usize, n_cols: usize, scale: f64) -> Result<(B::Weight, Mat), String> {
        self.drawn(n_rows, n_cols, scale, B::weight)
    }

    /// A weight of products.
    fn matrix(&mut self, n_rows: usize, n_cols: usize, scale: f64) -> Result<(B::Weight, Mat), String> {
        self.drawn(n_rows, n_cols, scale, B::matrix)
    }

    fn drawn(&mut self, n_rows: usize, n_cols: usize, scale: f64, bring: Bring<B>) -> Result<(B::Weight, Mat), String> {
        let numbers = self.draws.numbers(n_rows * n_cols, scale);
        let weight = bring(self.backend, n_rows, n_cols, &mut |rows, out| {
            out.copy_from_slice(&numbers[rows.start * n_cols..rows.end * n_cols]);
            Ok(())
        });
        Ok((weight.map_err(|e| e.to_string())?, Mat::from_f32(n_rows, n_cols, &numbers)))
    }

    /// Random activations: an embedding table of which every row is taken once.
    fn tensor(&mut self, packed: &PackedRows, n_cols: usize, scale: f64) -> Result<(B::Tensor, Mat), String> {
        let (table, mat) = self.weight(packed.n_rows(), n_cols, scale)?;
        let mut x = self.zeros(packed, n_cols)?;
        let batch = self.backend.batch(packed).map_err(|e| e.to_string())?;
        self.backend
            .add_gene_embedding(&mut x, &batch, &table)
            .map_err(|e| e.to_string())?;
        Ok((x, mat))
    }

    fn zeros(&mut self, packed: &PackedRows, n_cols: usize) -> Result<B::Tensor, String> {
        let (zeros, _) = self.weight(1, n_cols, 0.0)?;
        let batch = self.backend.batch(packed).map_err(|e| e.to_string())?;
        self.backend.encode_values(&batch, &zeros, &zeros).map_err(|e| e.to_string())
    }

    fn case(&mut self, case: &Case<'_>, op: impl Fn() -> scdiva::Result<B::Tensor>) -> Result<(), String> {
        let got = op().map_err(|e| e.to_string())?;
        let error = self.compare(case, &got)?;
        let backend = self.backend;
        let times = repeat_op(backend, self.budget, &got, || op().map(drop));
        self.add(case, times?, error);
        Ok(())
    }

    fn case_in_place(
        &mut self,
        case: &Case<'_>,
        into: &mut B::Tensor,
        op: impl Fn(&mut B::Tensor) -> scdiva::Result<()>,
    ) -> Result<(), String> {
        op(into).map_err(|e| e.to_string())?;
        let error = self.compare(case, into)?;
        let backend = self.backend;
        // Numbers grow from run to run, by far too little to overflow.
        let (small, _) = self.tensor(&one_cell(1), 8, 1.0)?;
        let times = repeat_op(backend, self.budget, &small, || op(into));
        self.add(case, times?, error);
        Ok(())
    }

    fn compare(&self, case: &Case<'_>, got: &B::Tensor) -> Result<f64, String> {
        let got = pollster::block_on(self.backend.download(got)).map_err(|e| e.to_string())?;
        let n_cols = case.wanted.n_cols;
        let scale = rms(&case.wanted.data);
        let mut error = 0.0_f64;
        for (i, &row) in case.compared.iter().enumerate() {
            for (got, wanted) in got[row * n_cols..(row + 1) * n_cols].iter().zip(case.wanted.row(i)) {
                let off = (f64::from(*got) - wanted).abs() / scale.max(wanted.abs());
                error = if off.is_nan() { f64::INFINITY } else { error.max(off) };
            }
        }
        let tolerance = self.tolerance;
        if error > tolerance {
            return Err(format!(
                "{} {}: off by {error:.1e}, {tolerance:.0e} is taken: not timed",
                case.kernel, case.shape
            ));
        }
        Ok(error)
    }

    fn add(&mut self, case: &Case<'_>, times: Times, error: f64) {
        self.rows.push(KernelRow {
            kernel: case.kernel,
            shape: case.shape.clone(),
            times,
            gflops: case.flops / times.best / 1e9,
            gbytes_per_s: case.bytes / times.best / 1e9,
            error,
        });
    }
}

/// Times an operation; as many at a time as take a twentieth of the budget, because the end of a single short one is seen too late.
/// `small` is something to be read back.
fn repeat_op<B: Backend>(
    backend: &B,
    budget: Duration,
    small: &B::Tensor,
    mut op: impl FnMut() -> scdiva::Result<()>,
) -> Result<Times, String> {
    let mut failed = None;
    let mut run = |n: usize| {
        let start = Instant::now();
        for _ in 0..n {
            if let Err(error) = op() {
                failed = Some(error.to_string());
            }
        }
        // All that was asked for is done when this is there.
        let read = backend
            .rows(small, 0..1)
            .and_then(|row| pollster::block_on(backend.download(&row)));
        if let Err(error) = read {
            failed = Some(error.to_string());
        }
        start.elapsed()
    };
    let (one, few) = (run(1), run(3));
    let single = (few.saturating_sub(one) / 2).max(Duration::from_micros(1));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10,000")]
    let n = (budget.as_secs_f64() / 20.0 / single.as_secs_f64()).clamp(1.0, 10_000.0) as usize;
    let times = repeat(budget, || run(n));
    match failed {
        Some(error) => Err(error),
        None => Ok(Times {
            best: times.best / n as f64,
            median: times.median / n as f64,
            n: times.n * n,
        }),
    }
}

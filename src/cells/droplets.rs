//! The empty droplets of an unfiltered matrix, left out.

use super::values::Sample;
use super::{CellColumn, CellEmbedding, CellMatrix, Droplets, GeneColumn, SparseRows, ValueKind, check_rows};
use crate::error::{Error, Result};
use std::ops::Range;

/// A matrix of fewer barcodes is taken for one of cells: unfiltered ones have hundreds of thousands.
pub const MIN_BARCODES: usize = 5_000;

/// A matrix is unfiltered when at least three of four barcodes have fewer counts than this, which is what drifts about in every droplet.
const FEW_COUNTS: f64 = 10.0;
const MOST: f64 = 0.75;
/// The least threshold that is found out; a lower one would not tell cells from droplets.
const LEAST_THRESHOLD: u64 = 10;
/// Cells that a run of 10x gives; the guesses for their number rise by a tenth from one to the next.
const EXPECTED_CELLS: Range<f64> = 50.0..300_000.0;

/// Barcodes that are read at a time.
const BLOCK: usize = 4_096;
/// Cells that are closer together in the file are read with what is between them: a read of a compressed chunk costs as much as its rows.
const MAX_GAP: u32 = 256;

/// Leaves out the empty droplets of an unfiltered matrix, as Cell Ranger's first step does (`OrdMag`): a barcode is a cell when it has at
/// least a tenth of the counts of the 99th percentile among the N barcodes with the most, and N is the number that agrees best with how
/// many cells it gives: the least (n − N)² / N. A matrix is unfiltered when it has at least [`MIN_BARCODES`] barcodes of counts and three of
/// four have fewer than 10. `min_counts` overrides all this, for any matrix of counts; 0 keeps every barcode. A matrix that is not
/// unfiltered comes back as it is, cells without counts included.
///
/// # Errors
/// [`Error::Argument`] when `min_counts` is given and the values are no counts, or no cell has as many; what [`CellMatrix::read_rows`] says.
pub fn without_empty_droplets(matrix: Box<dyn CellMatrix>, min_counts: Option<u64>) -> Result<Box<dyn CellMatrix>> {
    let chosen = match min_counts {
        Some(0) => return Ok(matrix),
        Some(_) => true,
        None if matrix.n_cells() < MIN_BARCODES => return Ok(matrix),
        None => false,
    };
    let wrong = |problem: String| Error::argument("open", "min_counts", format_args!("{}: {problem}", matrix.file()));
    let sample = match Sample::take(matrix.as_ref()) {
        Ok(Ok(sample)) => Some(sample),
        // What is wrong with the values is said by whoever uses them.
        Ok(Err(_)) | Err(_) if !chosen => None,
        Ok(Err(error)) | Err(error) => return Err(error),
    };
    let Some(sample) = sample else {
        return Ok(matrix);
    };
    let kind = sample.verdict(matrix.log_base(), None).map(|values| values.kind);
    let holds_counts = kind.is_ok_and(ValueKind::is_counts);
    if chosen && !holds_counts {
        return Err(wrong(format!("{} holds no counts", matrix.matrix())));
    }
    if !(chosen || holds_counts && is_unfiltered(&sample)) {
        return Ok(matrix);
    }
    let sums = sums(matrix.as_ref())?;
    let min_counts = min_counts.unwrap_or_else(|| threshold(&sums));
    if !chosen && min_counts < LEAST_THRESHOLD {
        return Ok(matrix);
    }
    let kept: Vec<u32> = (0..)
        .zip(&sums)
        .filter(|(_, sum)| **sum >= min_counts)
        .map(|(row, _)| row)
        .collect();
    if kept.is_empty() {
        let most = sums.iter().max().copied().unwrap_or(0);
        return Err(wrong(format!("no cell has {min_counts} counts; the largest has {most}")));
    }
    if kept.len() == sums.len() {
        return Ok(matrix);
    }
    Ok(Box::new(Cells {
        droplets: Droplets {
            kept,
            n_barcodes: sums.len(),
            min_counts,
            chosen,
        },
        matrix,
    }))
}

fn is_unfiltered(sample: &Sample) -> bool {
    let n_filled = sample.cell_sums().iter().filter(|sum| **sum >= FEW_COUNTS).count();
    sample.n_cells as f64 - n_filled as f64 >= MOST * sample.n_cells as f64
}

/// The counts of each barcode.
fn sums(matrix: &dyn CellMatrix) -> Result<Vec<u64>> {
    let n_cells = matrix.n_cells();
    if u32::try_from(n_cells).is_err() {
        return Err(Error::file(
            matrix.file(),
            matrix.matrix(),
            format_args!("{n_cells} barcodes are too many"),
        ));
    }
    let mut sums = Vec::with_capacity(n_cells);
    for start in (0..n_cells).step_by(BLOCK) {
        let rows = matrix.read_rows(start..n_cells.min(start + BLOCK))?;
        for row in 0..rows.n_rows() {
            let sum: f64 = rows.row(row).1.iter().copied().map(f64::from).sum();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "sums of counts; the cast saturates, and takes NaN for 0"
            )]
            sums.push(sum.round() as u64);
        }
    }
    Ok(sums)
}

/// Cell Ranger's `OrdMag`, without its resampling.
fn threshold(sums: &[u64]) -> u64 {
    let mut sorted: Vec<u64> = sums.iter().copied().filter(|&sum| sum > 0).collect();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let mut best = (f64::INFINITY, 0);
    let mut expected = EXPECTED_CELLS.start;
    while expected < EXPECTED_CELLS.end && expected <= sorted.len() as f64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0.5 to 3,000")]
        let place = (0.01 * expected).round() as usize;
        let threshold = sorted.get(place).map_or(1, |&sum| sum.div_ceil(10)).max(1);
        let n_cells = sorted.partition_point(|&sum| sum >= threshold) as f64;
        let loss = (n_cells - expected).powi(2) / expected;
        if loss < best.0 {
            best = (loss, threshold);
        }
        expected *= 1.1;
    }
    best.1
}

/// The cells of a matrix that has empty droplets.
struct Cells {
    matrix: Box<dyn CellMatrix>,
    droplets: Droplets,
}

impl Cells {
    /// Rows of the file that stand close together, each with the cells among them.
    fn runs(&self, cells: Range<usize>) -> Result<Vec<&[u32]>> {
        check_rows(&cells, self.n_cells())?;
        let rows = self.droplets.kept.get(cells).unwrap_or(&[]);
        Ok(rows.chunk_by(|a, b| b - a <= MAX_GAP).collect())
    }
}

/// From the first to the last row of a run.
fn span(run: &[u32]) -> Range<usize> {
    match (run.first(), run.last()) {
        (Some(&first), Some(&last)) => first as usize..last as usize + 1,
        _ => 0..0,
    }
}

impl CellMatrix for Cells {
    fn file(&self) -> &str {
        self.matrix.file()
    }

    fn format(&self) -> &str {
        self.matrix.format()
    }

    fn matrix(&self) -> &str {
        self.matrix.matrix()
    }

    fn matrices(&self) -> &[String] {
        self.matrix.matrices()
    }

    fn notes(&self) -> &[String] {
        self.matrix.notes()
    }

    fn log_base(&self) -> Option<f64> {
        self.matrix.log_base()
    }

    fn droplets(&self) -> Option<&Droplets> {
        Some(&self.droplets)
    }

    fn n_cells(&self) -> usize {
        self.droplets.kept.len()
    }

    fn n_genes(&self) -> usize {
        self.matrix.n_genes()
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        let mut names = Vec::with_capacity(cells.len());
        for run in self.runs(cells)? {
            let span = span(run);
            let mut all = self.matrix.cell_names(span.clone())?;
            names.extend(
                run.iter()
                    .map(|&row| all.get_mut(row as usize - span.start).map(std::mem::take).unwrap_or_default()),
            );
        }
        Ok(names)
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        self.matrix.gene_columns()
    }

    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        let mut rows = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        for run in self.runs(cells)? {
            let span = span(run);
            let all = self.matrix.read_rows(span.clone())?;
            for &row in run {
                let (genes, values) = all.row(row as usize - span.start);
                rows.genes.extend_from_slice(genes);
                rows.values.extend_from_slice(values);
                rows.offsets.push(rows.genes.len());
            }
        }
        Ok(rows)
    }

    fn cell_columns(&self) -> &[String] {
        self.matrix.cell_columns()
    }

    fn cell_column(&self, name: &str) -> Result<Option<CellColumn>> {
        let kept = || self.droplets.kept.iter().map(|&row| row as usize);
        Ok(self.matrix.cell_column(name)?.map(|column| match column {
            CellColumn::Categories { codes, names } => CellColumn::Categories {
                codes: kept().map(|row| codes.get(row).copied().flatten()).collect(),
                names,
            },
            CellColumn::Numbers(numbers) => {
                CellColumn::Numbers(kept().map(|row| numbers.get(row).copied().unwrap_or(f64::NAN)).collect())
            }
        }))
    }

    fn embeddings(&self) -> &[String] {
        self.matrix.embeddings()
    }

    fn embedding(&self, name: &str) -> Result<Option<CellEmbedding>> {
        Ok(self.matrix.embedding(name)?.map(|CellEmbedding { n_cols, values }| {
            let rows = self.droplets.kept.iter().map(|&row| row as usize * n_cols);
            let values = rows
                .filter_map(|start| values.get(start..start + n_cols))
                .flatten()
                .copied()
                .collect();
            CellEmbedding { n_cols, values }
        }))
    }
}

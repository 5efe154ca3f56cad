//! A matrix and a vocabulary in, tokens out.

use super::normalise::Judge;
use super::serialize::{Expressed, rank};
use super::{CellMatrix, GeneMatch, Preprocess, Serialization, SparseRows, Tokens, ValueKind, Vocabulary};
use crate::error::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::ops::Range;

/// How many cells are looked at to tell counts from log-normalised values.
const N_SAMPLED_CELLS: usize = 1_000;
/// They are taken in this many runs spread over the file, since single rows would cost a compressed chunk each.
const N_SAMPLED_RUNS: usize = 8;
/// Cells that are worth a thread.
const MIN_CELLS: usize = 16;

/// What was found in a file, and everything that was decided about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputReport {
    /// The file's name as the user gave it.
    pub file: String,
    /// [`CellMatrix::format`].
    pub format: String,
    /// What was read in it: [`CellMatrix::matrix`].
    pub matrix: String,
    /// [`CellMatrix::notes`].
    pub notes: Vec<String>,
    /// Cells in the file.
    pub n_cells: usize,
    /// Genes in the file.
    pub n_genes: usize,
    /// [`GeneMatch::columns`].
    pub gene_columns: Vec<String>,
    /// [`GeneMatch::n_matched`].
    pub n_matched: usize,
    /// Genes that the model knows.
    pub n_vocabulary: usize,
    /// [`GeneMatch::n_merged`].
    pub n_merged: usize,
    /// [`GeneMatch::n_ambiguous`].
    pub n_ambiguous: usize,
    /// [`GeneMatch::share`].
    pub share: f64,
    /// What the values are.
    pub values: ValueKind,
}

impl Display for InputReport {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{}: {} cells × {} genes, read from {}",
            self.file, self.n_cells, self.n_genes, self.matrix
        )?;
        for note in &self.notes {
            writeln!(out, "  {note}")?;
        }
        let share = 100.0 * self.share;
        write!(
            out,
            "  genes: {} of the model's {} found by `{}` ({share:.1} %)",
            self.n_matched,
            self.n_vocabulary,
            self.gene_columns.join("` and `")
        )?;
        if self.n_merged > 0 {
            write!(
                out,
                "; {} more columns are one of these again and are added to it",
                self.n_merged
            )?;
        }
        if self.n_ambiguous > 0 {
            write!(out, "; {} names mean two genes and are left out", self.n_ambiguous)?;
        }
        let values = match self.values {
            ValueKind::Counts => "counts, which are normalised",
            ValueKind::LogNormalised => "log-normalised already, used as they are",
        };
        write!(out, "\n  values: {values}")
    }
}

/// Makes tokens of the cells of one matrix, for one model.
pub struct Tokenizer<'a> {
    matrix: &'a dyn CellMatrix,
    /// `[n_genes]`: position among `genes`.
    positions: Vec<Option<usize>>,
    /// Id and entropy of each gene of the vocabulary.
    genes: Vec<(u32, f64)>,
    preprocess: Preprocess,
    serialization: Serialization,
    max_genes: usize,
    report: InputReport,
}

impl fmt::Debug for Tokenizer<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tokenizer")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl<'a> Tokenizer<'a> {
    /// Matches the genes and looks at about 1,000 cells to tell what the values are.
    ///
    /// # Errors
    /// What [`GeneMatch::new`] and [`CellMatrix::read_rows`] say; [`Error::File`] when the sample is neither counts nor log-normalised,
    /// naming cell and gene, or is log-normalised while the model was trained without `log1p`; [`Error::Argument`] when `target_sum`
    /// or `max_genes` is not above 0.
    pub fn new(
        matrix: &'a dyn CellMatrix,
        vocabulary: &Vocabulary,
        preprocess: &Preprocess,
        serialization: Serialization,
        max_genes: usize,
    ) -> Result<Self> {
        if !(preprocess.target_sum.is_finite() && preprocess.target_sum > 0.0) {
            let problem = format!("{}; wanted a number above 0", preprocess.target_sum);
            return Err(Error::argument("tokenize", "target_sum", problem));
        }
        if max_genes == 0 {
            return Err(Error::argument("tokenize", "max_genes", "0; wanted at least 1"));
        }
        let genes = GeneMatch::new(matrix, vocabulary)?;
        let values = sample_kind(matrix)??;
        if values == ValueKind::LogNormalised && !preprocess.log1p {
            let problem = "log-normalised values, but the model was trained on values without log1p; wanted counts";
            return Err(Error::file(matrix.file(), matrix.matrix(), problem));
        }
        let report = InputReport {
            file: matrix.file().to_owned(),
            format: matrix.format().to_owned(),
            matrix: matrix.matrix().to_owned(),
            notes: matrix.notes().to_vec(),
            n_cells: matrix.n_cells(),
            n_genes: matrix.n_genes(),
            gene_columns: genes.columns,
            n_matched: genes.n_matched,
            n_vocabulary: vocabulary.genes().len(),
            n_merged: genes.n_merged,
            n_ambiguous: genes.n_ambiguous,
            share: genes.share,
            values,
        };
        Ok(Self {
            matrix,
            positions: genes.positions,
            genes: vocabulary.genes().iter().map(|gene| (gene.id, gene.entropy)).collect(),
            preprocess: *preprocess,
            serialization,
            max_genes,
            report,
        })
    }

    /// What was found and decided.
    #[must_use]
    pub fn report(&self) -> &InputReport {
        &self.report
    }

    /// The matrix that is read.
    #[must_use]
    pub fn matrix(&self) -> &'a dyn CellMatrix {
        self.matrix
    }

    /// Tokens of some cells, in order. Reading all of them block after block is cheapest.
    ///
    /// # Errors
    /// What [`CellMatrix::read_rows`] says; [`Error::File`] when a value is not what the sample said (negative, not finite, no count
    /// among counts), naming cell and gene.
    pub fn tokens(&self, cells: Range<usize>) -> Result<Vec<Tokens>> {
        let rows = self.matrix.read_rows(cells.clone())?;
        let memory = || (vec![0.0_f64; self.genes.len()], Vec::new());
        // In wasm rayon runs on the one thread that there is.
        (0..cells.len())
            .into_par_iter()
            .with_min_len(MIN_CELLS)
            .map_init(memory, |(linear, touched), row| {
                self.cell(&rows, row, cells.start + row, linear, touched)
            })
            .collect()
    }

    /// `linear` is zero for all genes before and after, so that it can be reused from cell to cell.
    fn cell(&self, rows: &SparseRows, row: usize, cell: usize, linear: &mut [f64], touched: &mut Vec<usize>) -> Result<Tokens> {
        let (columns, values) = rows.row(row);
        let kind = self.report.values;
        let mut sum = 0.0;
        touched.clear();
        for (place, (&column, &value)) in columns.iter().zip(values).enumerate() {
            kind.check(value)
                .map_err(|problem| wrong_value(self.matrix, cell, columns[place], problem))?;
            sum += f64::from(value);
            let position = self.positions.get(column as usize).copied().flatten();
            let Some((position, sum_of_gene)) = position.and_then(|position| Some((position, linear.get_mut(position)?))) else {
                continue;
            };
            if value > 0.0 {
                if *sum_of_gene == 0.0 {
                    touched.push(position);
                    *sum_of_gene = f64::from(value);
                } else if kind == ValueKind::LogNormalised {
                    // Two columns of one gene are added as counts are, not as logarithms.
                    *sum_of_gene = (sum_of_gene.exp_m1() + f64::from(value).exp_m1()).ln_1p();
                } else {
                    *sum_of_gene += f64::from(value);
                }
            }
        }
        let mut normalised: Vec<f64> = touched
            .iter()
            .map(|&position| std::mem::take(&mut linear[position]))
            .collect();
        self.preprocess.apply(kind, sum, &mut normalised);
        let expressed = touched.iter().zip(normalised).map(|(&position, value)| {
            let (gene_id, entropy) = self.genes[position];
            // Narrowed here once: what the model sees is also what is ranked.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "values are below 20, or counts scaled to target_sum"
            )]
            let value = value as f32;
            let score = self.serialization.score(value, entropy);
            Expressed { gene_id, value, score }
        });
        // Values such as 1e-40 pass for counts of 0, and scaled they may be nothing at all.
        Ok(rank(expressed.filter(|gene| gene.value > 0.0), self.max_genes))
    }
}

/// Looks at about [`N_SAMPLED_CELLS`] cells, all of a small file. The inner error is about the values, the outer about the file.
pub(crate) fn sample_kind(matrix: &dyn CellMatrix) -> Result<Result<ValueKind>> {
    let mut judge = Judge::default();
    for cells in sampled_cells(matrix.n_cells()) {
        let rows = matrix.read_rows(cells.clone())?;
        for (row, cell) in cells.enumerate() {
            let (columns, values) = rows.row(row);
            for (&column, &value) in columns.iter().zip(values) {
                if let Err(problem) = judge.see(value, (cell, column)) {
                    return Ok(Err(wrong_value(matrix, cell, column, problem)));
                }
            }
        }
    }
    Ok(judge
        .verdict()
        .map_err(|((cell, column), problem)| wrong_value(matrix, cell, column, problem)))
}

/// Runs of cells, spread evenly from the first to the last.
fn sampled_cells(n_cells: usize) -> impl Iterator<Item = Range<usize>> {
    let (n_runs, run) = if n_cells <= N_SAMPLED_CELLS {
        (1, n_cells)
    } else {
        (N_SAMPLED_RUNS, N_SAMPLED_CELLS / N_SAMPLED_RUNS)
    };
    let (last_start, n_steps) = (n_cells - run, (n_runs - 1).max(1));
    // In two parts, since `last_start * i` may pass 32 bits.
    (0..n_runs)
        .map(move |i| last_start / n_steps * i + last_start % n_steps * i / n_steps)
        .map(move |start| start..start + run)
}

fn wrong_value(matrix: &dyn CellMatrix, cell: usize, column: u32, problem: String) -> Error {
    // The name only helps; what is wrong with the value matters more than that a name cannot be read.
    let cell_names = matrix.cell_names(cell..cell + 1).unwrap_or_default();
    let cell_name = cell_names.first().map_or("", String::as_str);
    let genes = matrix.gene_columns().first().map_or(&[][..], |column| &column.genes);
    let gene_name = genes.get(column as usize).map_or("", String::as_str);
    let place = format!(
        "{}: cell {cell_name} (row {cell}), gene {gene_name} (column {column})",
        matrix.matrix()
    );
    Error::file(matrix.file(), place, problem)
}

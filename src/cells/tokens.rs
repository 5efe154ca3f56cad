//! A matrix and a vocabulary in, tokens out.

use super::normalise::Arithmetic;
use super::serialize::{Expressed, rank};
use super::values::{Sample, Values, wrong_value};
use super::{
    CellMatrix, DropletReport, GeneMatch, InputReport, MatchOptions, Preprocess, Serialization, SparseRows, Tokens, Vocabulary,
};
use crate::error::{Error, Result};
use crate::parallel::prelude::*;
use std::fmt::{self, Formatter};
use std::ops::Range;

/// Cells that are worth a thread.
const MIN_CELLS: usize = 16;

/// Makes tokens of the cells of one matrix, for one model.
pub struct Tokenizer<'a> {
    matrix: &'a dyn CellMatrix,
    /// `[n_genes]`: position among `genes`.
    positions: Vec<Option<usize>>,
    /// Id and entropy of each gene of the vocabulary.
    genes: Vec<(u32, f64)>,
    values: Values,
    arithmetic: Arithmetic,
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
    /// What [`GeneMatch::new`] and [`CellMatrix::read_rows`] say; [`Error::File`] when the sample is nothing that can be brought to what the model
    /// was trained on, naming cell and gene; [`Error::Argument`] when `target_sum` or `max_genes` is not above 0.
    pub fn new(
        matrix: &'a dyn CellMatrix,
        vocabulary: &Vocabulary,
        preprocess: &Preprocess,
        serialization: Serialization,
        max_genes: usize,
        options: &MatchOptions,
    ) -> Result<Self> {
        if !(preprocess.target_sum.is_finite() && preprocess.target_sum > 0.0) {
            let problem = format!("{}; wanted a number above 0", preprocess.target_sum);
            return Err(Error::argument("tokenize", "target_sum", problem));
        }
        if max_genes == 0 {
            return Err(Error::argument("tokenize", "max_genes", "0; wanted at least 1"));
        }
        let genes = GeneMatch::new(matrix, vocabulary, options)?;
        let (sample, values, arithmetic) = look_at_values(matrix, preprocess)?;
        Ok(Self {
            matrix,
            positions: genes.positions,
            genes: vocabulary.genes().iter().map(|gene| (gene.id, gene.entropy)).collect(),
            report: InputReport {
                file: matrix.file().to_owned(),
                format: matrix.format().to_owned(),
                matrix: matrix.matrix().to_owned(),
                notes: matrix.notes().to_vec(),
                n_cells: matrix.n_cells(),
                n_genes: matrix.n_genes(),
                droplets: matrix.droplets().map(DropletReport::of),
                genes: genes.report,
                values: sample.report(&values, arithmetic.conversion, preprocess.target_sum),
            },
            values,
            arithmetic,
            serialization,
            max_genes,
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

    /// `[n_genes]`: which gene of the vocabulary each column is.
    pub(super) fn positions(&self) -> &[Option<usize>] {
        &self.positions
    }

    /// Tokens of some cells, in order. Reading all of them block after block is cheapest.
    ///
    /// # Errors
    /// What [`CellMatrix::read_rows`] says; [`Error::File`] when a value is not what the sample said (negative, not finite, no count
    /// among counts), naming cell and gene.
    pub fn tokens(&self, cells: Range<usize>) -> Result<Vec<Tokens>> {
        let rows = self.matrix.read_rows(cells.clone())?;
        let memory = || (vec![0.0_f64; self.genes.len()], Vec::new());
        (0..cells.len())
            .into_par_iter()
            .with_min_len(MIN_CELLS)
            .map_init(memory, |(amounts, touched), row| {
                self.cell(&rows, row, cells.start + row, amounts, touched)
            })
            .collect()
    }

    /// `amounts` is zero for all genes before and after, so that it can be reused from cell to cell.
    fn cell(&self, rows: &SparseRows, row: usize, cell: usize, amounts: &mut [f64], touched: &mut Vec<usize>) -> Result<Tokens> {
        let (columns, values) = rows.row(row);
        let mut sum = 0.0;
        touched.clear();
        for (place, (&column, &value)) in columns.iter().zip(values).enumerate() {
            self.values
                .check(value)
                .map_err(|problem| wrong_value(self.matrix, cell, columns[place], problem))?;
            let amount = self.arithmetic.amount(value);
            sum += amount;
            let position = self.positions.get(column as usize).copied().flatten();
            let Some((position, amount_of_gene)) = position.and_then(|position| Some((position, amounts.get_mut(position)?)))
            else {
                continue;
            };
            if value > 0.0 {
                if *amount_of_gene == 0.0 {
                    touched.push(position);
                    *amount_of_gene = amount;
                } else {
                    *amount_of_gene = self.arithmetic.add(*amount_of_gene, amount);
                }
            }
        }
        let mut normalised: Vec<f64> = touched
            .iter()
            .map(|&position| std::mem::take(&mut amounts[position]))
            .collect();
        self.arithmetic.finish(sum, &mut normalised);
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

/// What the values are and what is done to them.
pub(super) fn look_at_values(matrix: &dyn CellMatrix, preprocess: &Preprocess) -> Result<(Sample, Values, Arithmetic)> {
    let sample = Sample::take(matrix)??;
    let values = sample
        .verdict(matrix.log_base(), Some(preprocess.target_sum))
        .map_err(|(cell, column, problem)| wrong_value(matrix, cell, column, problem))?;
    let arithmetic = preprocess
        .arithmetic(&values)
        .map_err(|problem| Error::file(matrix.file(), matrix.matrix(), problem))?;
    Ok((sample, values, arithmetic))
}

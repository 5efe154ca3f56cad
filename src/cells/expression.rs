//! What each cell expresses of every gene of its file, on one scale, for pictures and comparisons.

use super::names::{ensembl_id, genome_prefix};
use super::normalise::Arithmetic;
use super::tokens::look_at_values;
use super::values::{Values, wrong_value};
use super::{CellMatrix, NameKind, Preprocess, SparseRows, Tokenizer, Vocabulary};
use crate::error::Result;
use std::collections::HashMap;
use std::ops::Range;

/// Cells that are read at a time: [`crate::tasks`] says why.
const BLOCK: usize = 2048;

/// Reads a matrix as `ln(1 + counts per 10,000)`, whatever scale it has, of all its genes: also those that the model does not know. Columns
/// of one name are one gene.
#[derive(Debug, Clone)]
pub struct Expression {
    genes: Vec<String>,
    /// `[n_genes of the file]`: position in `genes`.
    of_column: Vec<u32>,
    /// Every name of a gene in the file, its id too.
    by_name: HashMap<String, u32>,
    values: Values,
    arithmetic: Arithmetic,
}

/// What is seen of each cell in the file itself; one entry a cell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CellQc {
    /// Genes with a value above 0.
    pub n_genes: Vec<u32>,
    /// The sum of all values.
    pub total: Vec<f32>,
    /// The share of `total` that is of mitochondrial genes, 0 to 1; NaN where the file has none, or the cell no value.
    pub mitochondrial: Vec<f32>,
}

impl Expression {
    /// For the matrix of `tokenizer`, whose genes were found in `vocabulary`. Names are symbols: the file's, or where it has ids alone the
    /// vocabulary's, or the ids.
    ///
    /// # Errors
    /// What [`Tokenizer::new`] says of the values.
    pub fn new(tokenizer: &Tokenizer<'_>, vocabulary: &Vocabulary) -> Result<Self> {
        let matrix = tokenizer.matrix();
        let (_, values, arithmetic) = look_at_values(matrix, &Preprocess::default())?;
        let names = names(tokenizer, vocabulary);
        let mut expression = Self {
            genes: Vec::new(),
            of_column: Vec::with_capacity(names.len()),
            by_name: HashMap::new(),
            values,
            arithmetic,
        };
        for name in names {
            let next = u32::try_from(expression.genes.len()).unwrap_or(u32::MAX);
            let gene = *expression.by_name.entry(name.clone()).or_insert(next);
            if gene == next {
                expression.genes.push(name);
            }
            expression.of_column.push(gene);
        }
        for column in matrix.gene_columns() {
            for (name, &gene) in column.genes.iter().zip(&expression.of_column) {
                expression.by_name.entry(name.clone()).or_insert(gene);
            }
        }
        Ok(expression)
    }

    /// The names of the genes, each once, in the file's order.
    #[must_use]
    pub fn genes(&self) -> &[String] {
        &self.genes
    }

    /// Which of [`Expression::genes`] a name is: a symbol or an id, letters in any case where only one gene is meant by that.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        if let Some(&gene) = self.by_name.get(name) {
            return Some(gene as usize);
        }
        let mut alike = self
            .genes
            .iter()
            .enumerate()
            .filter(|(_, gene)| gene.eq_ignore_ascii_case(name));
        match (alike.next(), alike.next()) {
            (Some((gene, _)), None) => Some(gene),
            _ => None,
        }
    }

    /// Values of some cells of the matrix, those that are not 0; genes count [`Expression::genes`], each at most once a cell. `wanted`
    /// `[genes]`: which are; without it all.
    ///
    /// # Errors
    /// What [`CellMatrix::read_rows`] says; [`crate::Error::File`] for a value that is not of the kind that the sample had, naming cell and gene.
    pub fn read(&self, matrix: &dyn CellMatrix, cells: Range<usize>, wanted: Option<&[bool]>) -> Result<SparseRows> {
        let is_wanted = |gene: u32| wanted.is_none_or(|wanted| wanted.get(gene as usize) == Some(&true));
        let rows = matrix.read_rows(cells.clone())?;
        let mut out = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        let mut row = Row::new(self.genes.len());
        let mut amounts = Vec::new();
        for (i, cell) in cells.enumerate() {
            let (columns, values) = rows.row(i);
            let mut sum = 0.0;
            for (&column, &value) in columns.iter().zip(values) {
                self.values
                    .check(value)
                    .map_err(|problem| wrong_value(matrix, cell, column, problem))?;
                let amount = self.arithmetic.amount(value);
                sum += amount;
                let gene = self.of_column.get(column as usize);
                if let Some(&gene) = gene.filter(|&&gene| value > 0.0 && is_wanted(gene)) {
                    row.add(gene, amount, |a, b| self.arithmetic.add(a, b));
                }
            }
            amounts.clear();
            row.take(|gene, amount| {
                out.genes.push(gene);
                amounts.push(amount);
            });
            self.arithmetic.finish(sum, &mut amounts);
            #[expect(clippy::cast_possible_truncation, reason = "logarithms, below 20")]
            out.values.extend(amounts.iter().map(|&value| value as f32));
            out.offsets.push(out.genes.len());
        }
        Ok(out)
    }

    /// Looks at every cell of the matrix once; `on_cells` hears how many are done, and may end it.
    ///
    /// # Errors
    /// What [`CellMatrix::read_rows`] and `on_cells` say.
    pub fn qc(&self, matrix: &dyn CellMatrix, on_cells: &mut dyn FnMut(usize) -> Result<()>) -> Result<CellQc> {
        let is_mitochondrial: Vec<bool> = self.genes.iter().map(|gene| is_mitochondrial(gene)).collect();
        let any = is_mitochondrial.contains(&true);
        let n_cells = matrix.n_cells();
        let mut qc = CellQc::default();
        let mut row = Row::new(self.genes.len());
        for start in (0..n_cells).step_by(BLOCK) {
            on_cells(start)?;
            let rows = matrix.read_rows(start..n_cells.min(start + BLOCK))?;
            for i in 0..rows.n_rows() {
                let (columns, values) = rows.row(i);
                for (&column, &value) in columns.iter().zip(values).filter(|(_, value)| **value != 0.0) {
                    if let Some(&gene) = self.of_column.get(column as usize) {
                        row.add(gene, f64::from(value), |a, b| a + b);
                    }
                }
                let (mut n_genes, mut total, mut mitochondrial) = (0, 0.0, 0.0);
                row.take(|gene, value| {
                    n_genes += u32::from(value > 0.0);
                    total += value;
                    if is_mitochondrial[gene as usize] {
                        mitochondrial += value;
                    }
                });
                let share = if any { mitochondrial / total } else { f64::NAN };
                #[expect(clippy::cast_possible_truncation, reason = "sums and shares to look at")]
                let (total, share) = (total as f32, share as f32);
                qc.n_genes.push(n_genes);
                qc.total.push(total);
                qc.mitochondrial.push(share);
            }
        }
        on_cells(n_cells)?;
        Ok(qc)
    }
}

/// One name for each column of the matrix.
fn names(tokenizer: &Tokenizer<'_>, vocabulary: &Vocabulary) -> Vec<String> {
    let (columns, report) = (tokenizer.matrix().gene_columns(), &tokenizer.report().genes);
    let used = |name: &str| columns.iter().find(|column| column.name == name);
    let symbols = report
        .columns
        .iter()
        .filter(|column| column.kind != NameKind::Ensembl)
        .find_map(|column| used(&column.name));
    let without_prefix = |name: &str| match genome_prefix(name) {
        Some((genome, _, rest)) if report.genome.as_deref() == Some(genome) => rest.to_owned(),
        _ => name.to_owned(),
    };
    let name = |(column, position): (usize, &Option<usize>)| {
        let own = symbols
            .and_then(|symbols| symbols.genes.get(column))
            .map(|name| without_prefix(name));
        let known = || Some(vocabulary.genes().get((*position)?)?.shown().to_owned());
        let first = || {
            columns
                .iter()
                .filter_map(|names| names.genes.get(column))
                .find(|name| !name.is_empty())
        };
        own.filter(|name| !name.is_empty() && ensembl_id(name).is_none_or(|id| !id.rest.is_empty()))
            .or_else(known)
            .or_else(|| first().map(|name| without_prefix(name)))
            .unwrap_or_default()
    };
    tokenizer.positions().iter().enumerate().map(name).collect()
}

/// `MT-CO1`, as mouse `mt-Co1`, as R makes names of it `MT.CO1`.
fn is_mitochondrial(gene: &str) -> bool {
    let start = gene.as_bytes().get(..3);
    start.is_some_and(|start| start[..2].eq_ignore_ascii_case(b"MT") && b"-.".contains(&start[2]))
}

/// The amounts of one cell by gene, whatever their order, and however often a gene comes.
struct Row {
    /// `[n_genes]`, all zero between two cells.
    amounts: Vec<f64>,
    touched: Vec<u32>,
}

impl Row {
    fn new(n_genes: usize) -> Self {
        Self {
            amounts: vec![0.0; n_genes],
            touched: Vec::new(),
        }
    }

    fn add(&mut self, gene: u32, amount: f64, add: impl Fn(f64, f64) -> f64) {
        let there = &mut self.amounts[gene as usize];
        if *there == 0.0 {
            self.touched.push(gene);
            *there = amount;
        } else {
            *there = add(*there, amount);
        }
    }

    /// Hands every gene with its amount over, and is empty again.
    fn take(&mut self, mut each: impl FnMut(u32, f64)) {
        for gene in self.touched.drain(..) {
            each(gene, std::mem::take(&mut self.amounts[gene as usize]));
        }
    }
}

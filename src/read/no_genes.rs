//! What stands among the genes and is none, whatever the format: sums of reads, spike-ins, antibodies. As genes that nobody knows they would
//! count towards the total that each cell is scaled by.

use super::features::{of_genes, rows_of_genes};
use crate::cells::{CellColumn, CellEmbedding, CellMatrix, GeneColumn, SparseRows};
use crate::error::Result;
use std::ops::Range;

/// What `HTSeq` and STAR count beside genes, and what people add.
const SUMS: [&str; 10] = [
    "__no_feature",
    "__ambiguous",
    "__too_low_aqual",
    "__not_aligned",
    "__alignment_not_unique",
    "n_unmapped",
    "n_multimapping",
    "n_nofeature",
    "n_ambiguous",
    "total",
];
/// So many are named.
const N_NAMED: usize = 3;

/// Whether a name is none of a gene, of no species.
fn is_no_gene(name: &str) -> bool {
    let is_sum = || SUMS.iter().any(|sum| name.eq_ignore_ascii_case(sum));
    let is_spike = || {
        name.strip_prefix("ERCC")
            .and_then(|rest| rest.strip_prefix(['-', '_', '.']))
            .is_some_and(|number| number.len() == 5 && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    // As BD Rhapsody and BioLegend call their antibodies.
    let is_antibody = || name.ends_with("|pAbO") || name.contains("_TotalSeq");
    is_spike() || is_antibody() || is_sum()
}

/// The matrix without what is no gene by its name.
pub(super) fn without_no_genes(matrix: Box<dyn CellMatrix>) -> Box<dyn CellMatrix> {
    let columns = matrix.gene_columns();
    let mut named = Vec::new();
    let mut n_genes = 0;
    let gene_of: Vec<Option<u32>> = (0..matrix.n_genes())
        .map(|i| {
            let names = columns.iter().filter_map(|column| column.genes.get(i));
            match names.into_iter().find(|name| is_no_gene(name)) {
                Some(name) => {
                    named.push(name.clone());
                    None
                }
                None => {
                    n_genes += 1;
                    Some(n_genes - 1)
                }
            }
        })
        .collect();
    if named.is_empty() || n_genes == 0 {
        return matrix;
    }
    let columns = columns.iter().cloned().map(|column| GeneColumn {
        genes: of_genes(column.genes, Some(&gene_of)),
        ..column
    });
    let more = if named.len() > N_NAMED { ", …" } else { "" };
    let first = named[..named.len().min(N_NAMED)].join(", ");
    let note = format!("left out, being no genes by their names: {} ({first}{more})", named.len());
    Box::new(Genes {
        columns: columns.collect(),
        notes: matrix.notes().iter().cloned().chain([note]).collect(),
        n_genes: n_genes as usize,
        gene_of,
        matrix,
    })
}

/// The genes among the features of a matrix.
struct Genes {
    matrix: Box<dyn CellMatrix>,
    gene_of: Vec<Option<u32>>,
    n_genes: usize,
    columns: Vec<GeneColumn>,
    notes: Vec<String>,
}

impl CellMatrix for Genes {
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
        &self.notes
    }

    fn log_base(&self) -> Option<f64> {
        self.matrix.log_base()
    }

    fn n_cells(&self) -> usize {
        self.matrix.n_cells()
    }

    fn n_genes(&self) -> usize {
        self.n_genes
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        self.matrix.cell_names(cells)
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        &self.columns
    }

    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        Ok(rows_of_genes(self.matrix.read_rows(cells)?, Some(&self.gene_of)))
    }

    fn cell_columns(&self) -> &[String] {
        self.matrix.cell_columns()
    }

    fn cell_column(&self, name: &str) -> Result<Option<CellColumn>> {
        self.matrix.cell_column(name)
    }

    fn embeddings(&self) -> &[String] {
        self.matrix.embeddings()
    }

    fn embedding(&self, name: &str) -> Result<Option<CellEmbedding>> {
        self.matrix.embedding(name)
    }
}

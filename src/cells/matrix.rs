//! A cells × genes matrix that is read in blocks of rows.

use crate::error::{Error, Result};
use std::ops::Range;

/// One column of gene names: a file may hold symbols in one and Ensembl ids in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneColumn {
    /// The column's name in the file, such as `_index` or `feature_name`.
    pub name: String,
    /// `[n_genes]`; empty where the file gives none.
    pub genes: Vec<String>,
}

/// Rows of a cells × genes matrix, only what is stored: row `i` is `offsets[i]..offsets[i + 1]` of `genes` and `values`.
///
/// ```
/// let rows = scdiva::cells::SparseRows { offsets: vec![0, 2, 2], genes: vec![4, 1], values: vec![3.0, 1.0] };
/// assert_eq!(rows.n_rows(), 2);
/// assert_eq!(rows.row(0), (&[4, 1][..], &[3.0, 1.0][..]));
/// assert!(rows.row(1).0.is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SparseRows {
    /// `[n_rows + 1]`, starting with 0.
    pub offsets: Vec<usize>,
    /// Column of each value, below `n_genes`; in no order, and one may come twice, which means the sum.
    pub genes: Vec<u32>,
    /// The values as the file has them.
    pub values: Vec<f32>,
}

impl SparseRows {
    /// Number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Genes and values of a row; empty for a row that does not exist.
    #[must_use]
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let ends = self.offsets.get(row).zip(self.offsets.get(row + 1));
        let range = ends.map_or(0..0, |(&start, &end)| start..end);
        match (self.genes.get(range.clone()), self.values.get(range)) {
            (Some(genes), Some(values)) => (genes, values),
            _ => (&[], &[]),
        }
    }

    /// Some of the rows; `rows` must exist.
    pub(crate) fn slice(&self, rows: Range<usize>) -> Self {
        let offsets = &self.offsets[rows.start..=rows.end];
        let start = self.offsets[rows.start];
        let values = start..self.offsets[rows.end];
        Self {
            offsets: offsets.iter().map(|&offset| offset - start).collect(),
            genes: self.genes[values.clone()].to_vec(),
            values: self.values[values].to_vec(),
        }
    }
}

/// What [`CellMatrix::read_rows`] says to rows that do not exist.
pub(crate) fn check_rows(cells: &Range<usize>, n_cells: usize) -> Result<()> {
    if cells.start <= cells.end && cells.end <= n_cells {
        return Ok(());
    }
    let problem = format!("{} to {}, but there are {n_cells} cells", cells.start, cells.end);
    Err(Error::argument("read_rows", "cells", problem))
}

/// What a file says about each of its cells under one name: a column of `obs`.
#[derive(Debug, Clone, PartialEq)]
pub enum CellColumn {
    /// Texts, categories and booleans: `codes[i]` counts `names`, `None` where the file gives none.
    Categories {
        /// `[n_cells]`
        codes: Vec<Option<u32>>,
        /// The distinct texts, in the file's order.
        names: Vec<String>,
    },
    /// Numbers, `[n_cells]`; NaN where the file gives none.
    Numbers(Vec<f64>),
}

/// An embedding that the file holds, such as `X_umap`.
#[derive(Debug, Clone, PartialEq)]
pub struct CellEmbedding {
    /// Numbers a cell.
    pub n_cols: usize,
    /// `[n_cells, n_cols]`, row-major.
    pub values: Vec<f32>,
}

/// What was left out of a matrix as empty droplets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Droplets {
    /// Which barcodes of the file are cells, rising: cell `i` of the matrix is barcode `kept[i]` of the file.
    pub kept: Vec<u32>,
    /// Barcodes in the file.
    pub n_barcodes: usize,
    /// A cell has at least this many counts.
    pub min_counts: u64,
    /// Whether the user said so; else it was found out.
    pub chosen: bool,
}

/// A cells × genes matrix of at least one cell and one gene. Values are what the file has: nothing is normalised or judged here.
/// Nothing whose size grows with the number of cells is kept in memory, unless the format leaves no other way.
pub trait CellMatrix: Send + Sync {
    /// The file's name as the user gave it.
    fn file(&self) -> &str;

    /// The format in words, such as `AnnData (.h5ad)`.
    fn format(&self) -> &str;

    /// What was read in the file: `X`, `raw/X`, `layers/counts`, or for a table `cells × genes` or `genes × cells`.
    fn matrix(&self) -> &str;

    /// Every matrix that the file holds, as [`crate::read::OpenOptions::layer`] takes it; empty where there is no choice.
    fn matrices(&self) -> &[String] {
        &[]
    }

    /// What the user should know about how the file was read, one sentence each: why this matrix and not the obvious one, what was left out.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// The base of the logarithm of the values, where the file says that one was taken. It may be about another matrix of the file.
    fn log_base(&self) -> Option<f64> {
        None
    }

    /// The empty droplets that were left out; `None` where all cells of the file are there.
    fn droplets(&self) -> Option<&Droplets> {
        None
    }

    /// Number of cells.
    fn n_cells(&self) -> usize;

    /// Number of genes.
    fn n_genes(&self) -> usize;

    /// The names of some cells.
    ///
    /// # Errors
    /// As [`CellMatrix::read_rows`].
    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>>;

    /// Every column that may name the genes, the file's own index first; at least one.
    fn gene_columns(&self) -> &[GeneColumn];

    /// Some rows. Reading them in order is cheapest.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when `cells` passes the end, [`crate::Error::File`] when the file is broken there,
    /// [`crate::Error::Io`] when it cannot be read.
    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows>;

    /// The names of what the file says about its cells.
    fn cell_columns(&self) -> &[String] {
        &[]
    }

    /// One of [`CellMatrix::cell_columns`]; `None` when there is none of this name.
    ///
    /// # Errors
    /// [`crate::Error::File`] when it is broken, [`crate::Error::Io`] when it cannot be read.
    fn cell_column(&self, _name: &str) -> Result<Option<CellColumn>> {
        Ok(None)
    }

    /// The names of the embeddings that the file holds.
    fn embeddings(&self) -> &[String] {
        &[]
    }

    /// One of [`CellMatrix::embeddings`]; `None` when there is none of this name.
    ///
    /// # Errors
    /// As [`CellMatrix::cell_column`].
    fn embedding(&self, _name: &str) -> Result<Option<CellEmbedding>> {
        Ok(None)
    }
}

//! Writers: one file a format. They take any [`std::io::Write`].

pub mod columns;
pub mod csv;
#[cfg(not(target_arch = "wasm32"))]
pub mod file;
pub mod h5ad;
mod hdf5;
pub mod npy;
mod overlay;
#[cfg(not(target_arch = "wasm32"))]
pub mod parquet;
pub mod safetensors;

pub use overlay::Overlay;

use std::io;
use std::sync::Arc;

/// One answer for each of some consecutive cells, under the name of its column: what every writer of results takes.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultColumn {
    /// The column's name in the table.
    pub name: String,
    /// `[n_cells]`
    pub values: ResultValues,
}

/// The values of a [`ResultColumn`], one a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum ResultValues {
    /// Texts of which few differ: `codes[i]` counts `names`, `None` where there is no answer. `names` is the same in every block of a table.
    Categories {
        /// `[n_cells]`
        codes: Vec<Option<u32>>,
        /// The distinct texts.
        names: Arc<[String]>,
    },
    /// Numbers; NaN where there is no answer.
    Numbers(Vec<f32>),
    /// Truths.
    Truths(Vec<bool>),
}

impl ResultValues {
    /// Number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Categories { codes, .. } => codes.len(),
            Self::Numbers(numbers) => numbers.len(),
            Self::Truths(truths) => truths.len(),
        }
    }

    /// Whether there are no cells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Numbers of some consecutive cells under one name, several a cell: an embedding, or its two dimensions for a plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResultEmbedding<'a> {
    /// The name in the file.
    pub name: &'a str,
    /// Numbers a cell.
    pub n_cols: usize,
    /// `[n_cells, n_cols]`, row-major.
    pub values: &'a [f32],
}

/// Writes a table of results, block after block of cells.
pub trait TableWriter {
    /// Writes the next cells; every block has the same columns.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when a column has not one value a cell, or the columns are not those of the first block; what the
    /// file says.
    fn write_block(&mut self, cells: &[String], columns: &[ResultColumn]) -> io::Result<()>;

    /// Completes the table.
    ///
    /// # Errors
    /// What the file says.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// What [`TableWriter::write_block`] says to a column that has not one value a cell.
fn check_lengths(cells: &[String], columns: &[ResultColumn]) -> io::Result<()> {
    match columns.iter().find(|column| column.values.len() != cells.len()) {
        None => Ok(()),
        Some(ResultColumn { name, values }) => {
            let problem = format!("{name}: {} values for {} cells", values.len(), cells.len());
            Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
        }
    }
}

/// What [`TableWriter::write_block`] says to a code that counts no name.
fn category<'a>(column: &str, code: u32, names: &'a [String]) -> io::Result<&'a str> {
    names.get(code as usize).map(String::as_str).ok_or_else(|| {
        let problem = format!("{column}: code {code} is past the last category ({})", names.len());
        io::Error::new(io::ErrorKind::InvalidInput, problem)
    })
}

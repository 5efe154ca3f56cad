//! Writers: one file a format. They take any [`std::io::Write`].

pub mod csv;
pub mod npy;
pub mod safetensors;

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

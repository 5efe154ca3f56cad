//! `.loom` files: a dense matrix of genes × cells in chunks, with lists of texts and numbers for its rows and columns.

use super::OpenOptions;
use super::column::Column;
use super::container::{Array, Container, Kind, Node, Numbers};
use crate::cells::{CellColumn, CellMatrix, GeneColumn, SparseRows, check_rows};
use crate::error::Result;
use std::fmt::{self, Debug, Formatter};
use std::ops::Range;
use std::sync::Arc;

/// No organism has as many genes or peaks; what declares more is broken.
const MAX_GENES: usize = 1 << 22;
/// Columns are read in blocks of about this many numbers.
const BLOCK_LEN: usize = 1 << 22;
/// What names the genes and the cells in most files, the first first.
const GENE_NAMES: [&str; 5] = ["Accession", "Gene", "var_names", "GeneName", "gene_names"];
const CELL_NAMES: [&str; 5] = ["CellID", "obs_names", "cell_names", "CellName", "barcode"];

/// A loom file. Blocks of its columns, the cells, are read from a matrix that lies by genes.
pub struct Loom {
    file: Arc<dyn Container>,
    matrix: String,
    array: Arc<dyn Array>,
    matrices: Vec<String>,
    notes: Vec<String>,
    /// `None` where the file names no cells; they are counted then.
    names: Option<Column>,
    columns: Vec<String>,
    gene_columns: Vec<GeneColumn>,
    n_cells: usize,
}

impl Debug for Loom {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("Loom")
            .field("file", &self.file.name())
            .field("matrix", &self.matrix)
            .field("n_cells", &self.n_cells)
            .finish_non_exhaustive()
    }
}

impl Loom {
    /// `options.layer` is `matrix`, the default, or the name of a layer.
    pub(super) fn open(file: Arc<dyn Container>, options: &OpenOptions) -> Result<Self> {
        let mut matrices = vec!["matrix".to_owned()];
        let layers = file.members("layers")?.into_iter();
        matrices.extend(layers.map(|name| format!("layers/{name}")));
        let matrix = match &options.layer {
            None => "matrix".to_owned(),
            Some(layer) => {
                let is_it = |name: &&String| *name == layer || name.strip_prefix("layers/") == Some(layer);
                let found = matrices.iter().find(is_it).cloned();
                found.ok_or_else(|| file.wrong(layer, format_args!("no such matrix; the file has {}", matrices.join(", "))))?
            }
        };
        let array = file.array(&matrix)?;
        array.check(Kind::Value)?;
        let &[n_genes, n_cells] = array.shape() else {
            return Err(array.wrong(&format_args!("{} dimensions; wanted two", array.shape().len())));
        };
        let (Ok(n_genes), Ok(n_cells)) = (usize::try_from(n_genes), usize::try_from(n_cells)) else {
            return Err(array.wrong(&"too large for this machine"));
        };
        if n_genes == 0 || n_cells == 0 || n_genes > MAX_GENES {
            let problem = format_args!(
                "{n_genes} genes × {n_cells} cells; wanted at least one of each, and no more than {MAX_GENES} genes"
            );
            return Err(array.wrong(&problem));
        }

        let mut gene_columns = Vec::new();
        for name in attributes(file.as_ref(), "row_attrs", &GENE_NAMES)? {
            let path = format!("row_attrs/{name}");
            if let Some(column) = Column::open(file.as_ref(), &path, None)?.filter(Column::is_text) {
                check_len(file.as_ref(), &path, &column, n_genes)?;
                let genes = column.texts(0..n_genes)?;
                gene_columns.push(GeneColumn { name, genes });
            }
        }
        if gene_columns.is_empty() {
            return Err(file.wrong(
                "row_attrs",
                "no list of texts; wanted the names of the genes, such as Gene or Accession",
            ));
        }
        let (mut names, mut columns, mut notes) = (None, Vec::new(), Vec::new());
        for name in attributes(file.as_ref(), "col_attrs", &CELL_NAMES)? {
            let path = format!("col_attrs/{name}");
            if let Some(column) = Column::open(file.as_ref(), &path, None)? {
                check_len(file.as_ref(), &path, &column, n_cells)?;
                if names.is_none() && CELL_NAMES.contains(&name.as_str()) {
                    names = Some(column);
                } else {
                    columns.push(name);
                }
            }
        }
        if names.is_none() {
            notes.push(format!(
                "the cells have no names ({}), so they are counted from 0",
                CELL_NAMES.join(", ")
            ));
        }
        Ok(Self {
            file,
            matrix,
            array,
            matrices,
            notes,
            names,
            columns,
            gene_columns,
            n_cells,
        })
    }
}

/// The names in a group, the usual ones first.
fn attributes(file: &dyn Container, path: &str, usual: &[&str]) -> Result<Vec<String>> {
    let Some(Node::Group) = file.node(path)? else {
        return Err(file.wrong(path, "missing, or no group"));
    };
    let names = file.members(path)?;
    let (found, others): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| usual.contains(&name.as_str()));
    let found = usual.iter().filter(|&&name| found.iter().any(|other| other == name));
    Ok(found.map(|&name| name.to_owned()).chain(others).collect())
}

fn check_len(file: &dyn Container, path: &str, column: &Column, wanted: usize) -> Result<()> {
    match column.len() {
        len if len == wanted => Ok(()),
        len => Err(file.wrong(path, format_args!("{len} values; wanted {wanted}"))),
    }
}

impl CellMatrix for Loom {
    fn file(&self) -> &str {
        self.file.name()
    }

    fn format(&self) -> &str {
        "loom"
    }

    fn matrix(&self) -> &str {
        &self.matrix
    }

    fn matrices(&self) -> &[String] {
        &self.matrices
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn n_cells(&self) -> usize {
        self.n_cells
    }

    fn n_genes(&self) -> usize {
        self.gene_columns[0].genes.len()
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        check_rows(&cells, self.n_cells)?;
        match &self.names {
            Some(names) => names.texts(cells),
            None => Ok(cells.map(|cell| cell.to_string()).collect()),
        }
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        &self.gene_columns
    }

    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        check_rows(&cells, self.n_cells)?;
        let n_genes = self.n_genes();
        let mut rows = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        let step = (BLOCK_LEN / n_genes).max(1);
        let mut block = Vec::new();
        for start in cells.clone().step_by(step) {
            let piece = start..cells.end.min(start + step);
            block.clear();
            self.array.read(&[0..n_genes, piece.clone()], Numbers::Values(&mut block))?;
            for cell in 0..piece.len() {
                for (gene, row) in (0..).zip(block.chunks_exact(piece.len())) {
                    if row[cell] != 0.0 {
                        rows.genes.push(gene);
                        rows.values.push(row[cell]);
                    }
                }
                rows.offsets.push(rows.genes.len());
            }
        }
        Ok(rows)
    }

    fn cell_columns(&self) -> &[String] {
        &self.columns
    }

    fn cell_column(&self, name: &str) -> Result<Option<CellColumn>> {
        if !self.columns.iter().any(|column| column == name) {
            return Ok(None);
        }
        let column = Column::open(self.file.as_ref(), &format!("col_attrs/{name}"), None)?;
        column.map(|column| column.read()).transpose()
    }
}

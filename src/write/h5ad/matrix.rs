//! A new file: the matrix with what it knows of its cells and genes.

use super::super::hdf5::{Array, Attribute, ChunkWriter, Group, Space, Type};
use super::{categorical, code_bytes, code_type, encode, encoding, io_error, number_array, string_array};
use crate::cells::{CellColumn, CellMatrix, SparseRows};
use crate::error::{Error, Result};
use std::io::{self, Read, Seek, Write};

/// Cells that are read first, and at most.
const BLOCK_LENS: (usize, usize) = (256, 1 << 14);
/// Values that are read at a time, about: readers decode whole chunks of a file, and large blocks do not ask for one twice.
const BLOCK_VALUES: usize = 1 << 21;

/// The groups of the file that still get additions; the root does not link to them yet.
pub(super) struct Written {
    pub(super) root: Group,
    pub(super) obs: Group,
    pub(super) obsm: Group,
    pub(super) uns: Group,
    /// Of the columns of `obs`.
    pub(super) order: Vec<String>,
}

pub(super) fn write<F: Read + Write + Seek>(
    file: &str,
    space: &mut Space<F>,
    matrix: &dyn CellMatrix,
    progress: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Written> {
    let failed = |source| io_error(file, source);
    let mut root = Group::default();
    encode(space, &mut root, "anndata", "0.1.0").map_err(failed)?;
    let x = counts(file, space, matrix, progress)?;
    root.link("X", x).map_err(failed)?;
    let (obs, order) = cells(file, space, matrix)?;
    let mut obsm = mapping(space).map_err(failed)?;
    for name in matrix.embeddings() {
        if let Some(embedding) = matrix.embedding(name)? {
            let dims = [matrix.n_cells() as u64, embedding.n_cols as u64];
            let address = number_array(space, Type::F32, &dims, bytemuck::cast_slice(&embedding.values)).map_err(failed)?;
            obsm.link(name, address).map_err(failed)?;
        }
    }
    let var = genes(space, matrix).map_err(failed)?;
    root.link("var", var).map_err(failed)?;
    for name in ["layers", "obsp", "varm", "varp"] {
        let address = mapping(space).and_then(|group| group.write(space)).map_err(failed)?;
        root.link(name, address).map_err(failed)?;
    }
    Ok(Written {
        root,
        obs,
        obsm,
        uns: mapping(space).map_err(failed)?,
        order,
    })
}

fn mapping<F: Read + Write + Seek>(space: &mut Space<F>) -> io::Result<Group> {
    let mut group = Group::default();
    encode(space, &mut group, "dict", "0.1.0")?;
    Ok(group)
}

/// `X`: CSR, sorted by gene, block by block.
fn counts<F: Read + Write + Seek>(
    file: &str,
    space: &mut Space<F>,
    matrix: &dyn CellMatrix,
    progress: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<u64> {
    let failed = |source| io_error(file, source);
    let [mut data, mut indices, mut indptr] = [Type::F32, Type::I32, Type::I64].map(ChunkWriter::new);
    let mut n_values: i64 = 0;
    indptr.write(space, &n_values.to_le_bytes()).map_err(failed)?;
    let n_cells = matrix.n_cells();
    let (mut start, mut block_len) = (0, BLOCK_LENS.0);
    while start < n_cells {
        let end = n_cells.min(start + block_len);
        let rows = matrix.read_rows(start..end)?;
        let (mut genes_of_block, mut values_of_block, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for cell in 0..rows.n_rows() {
            sorted_row(&rows, cell, &mut genes_of_block, &mut values_of_block).map_err(failed)?;
            let n = i64::try_from(values_of_block.len()).map_err(|error| failed(io::Error::other(error)))?;
            ends.push(n_values + n);
        }
        data.write(space, bytemuck::cast_slice(&values_of_block)).map_err(failed)?;
        indices.write(space, bytemuck::cast_slice(&genes_of_block)).map_err(failed)?;
        indptr.write(space, bytemuck::cast_slice(&ends)).map_err(failed)?;
        n_values = ends.last().copied().unwrap_or(n_values);
        progress(end)?;
        let fits = (end - start).saturating_mul(BLOCK_VALUES) / values_of_block.len().max(1);
        block_len = fits.clamp(1, BLOCK_LENS.1);
        start = end;
    }
    let group = |space: &mut Space<F>| -> io::Result<u64> {
        let mut group = Group::default();
        encode(space, &mut group, "csr_matrix", "0.1.0")?;
        let shape = [n_cells, matrix.n_genes()].map(i64::try_from);
        let [Ok(n_cells), Ok(n_genes)] = shape else {
            return Err(io::Error::other("more cells or genes than a file can count"));
        };
        group.set(Attribute::integers("shape", &[n_cells, n_genes])?);
        for (name, part) in [("data", data), ("indices", indices), ("indptr", indptr)] {
            let attributes = encoding(space, "array", "0.2.0")?;
            group.link(name, part.finish(space, &attributes)?)?;
        }
        group.write(space)
    };
    group(space).map_err(failed)
}

/// One row by gene; what stands twice is summed.
fn sorted_row(rows: &SparseRows, cell: usize, genes: &mut Vec<i32>, values: &mut Vec<f32>) -> io::Result<()> {
    let (row_genes, row_values) = rows.row(cell);
    let mut row: Vec<(u32, f32)> = row_genes.iter().copied().zip(row_values.iter().copied()).collect();
    row.sort_by_key(|&(gene, _)| gene);
    let start = genes.len();
    for (gene, value) in row {
        let gene = i32::try_from(gene).map_err(io::Error::other)?;
        match values.last_mut() {
            Some(last) if genes.len() > start && genes.last() == Some(&gene) => *last += value,
            _ => {
                genes.push(gene);
                values.push(value);
            }
        }
    }
    Ok(())
}

/// `obs`, which is not written yet, and the order of its columns.
fn cells<F: Read + Write + Seek>(file: &str, space: &mut Space<F>, matrix: &dyn CellMatrix) -> Result<(Group, Vec<String>)> {
    let failed = |source| io_error(file, source);
    let n_cells = matrix.n_cells();
    let mut names = Array::reserve(space, Type::Text, &[n_cells as u64]);
    for start in (0..n_cells).step_by(1 << 14) {
        let block = matrix.cell_names(start..n_cells.min(start + (1 << 14)))?;
        names.write_texts(space, &block).map_err(failed)?;
    }
    let mut obs = frame(space).map_err(failed)?;
    let index = encoding(space, "string-array", "0.2.0").and_then(|attributes| names.finish(space, &attributes));
    obs.link("_index", index.map_err(failed)?).map_err(failed)?;
    let mut order = Vec::new();
    for name in matrix.cell_columns() {
        let address = match matrix.cell_column(name)? {
            None => continue,
            Some(CellColumn::Numbers(numbers)) => {
                number_array(space, Type::F64, &[n_cells as u64], bytemuck::cast_slice(&numbers)).map_err(failed)?
            }
            Some(CellColumn::Categories { codes, names }) => {
                let datatype = code_type(names.len());
                let categories = code_bytes(name, datatype, &codes, names.len())
                    .and_then(|bytes| number_array(space, datatype, &[n_cells as u64], &bytes))
                    .and_then(|codes| categorical(space, codes, &names));
                categories.map_err(failed)?
            }
        };
        if obs.target(name).is_some() {
            return Err(Error::file(
                matrix.file(),
                format_args!("obs/{name}"),
                "a second column of this name",
            ));
        }
        obs.link(name, address).map_err(failed)?;
        order.push(name.clone());
    }
    Ok((obs, order))
}

/// Writes `var`; gives its address.
fn genes<F: Read + Write + Seek>(space: &mut Space<F>, matrix: &dyn CellMatrix) -> io::Result<u64> {
    let mut var = frame(space)?;
    let mut order = Vec::new();
    for (i, column) in matrix.gene_columns().iter().enumerate() {
        let name = if i == 0 { "_index" } else { &column.name };
        if var.target(name).is_none() {
            var.link(name, string_array(space, &column.genes)?)?;
            order.extend((i > 0).then(|| name.to_owned()));
        }
    }
    var.set(Attribute::texts(space, "column-order", &order)?);
    var.write(space)
}

fn frame<F: Read + Write + Seek>(space: &mut Space<F>) -> io::Result<Group> {
    let mut group = Group::default();
    encode(space, &mut group, "dataframe", "0.2.0")?;
    group.set(Attribute::text(space, "_index", "_index")?);
    Ok(group)
}

//! The `.h5ad` files of anndata: `X` as CSR, CSC or dense, `obs` and `var` as groups, or as the tables of anndata 0.6 and older.

use super::Source;
use super::hdf5::{File, Kind, Object};
use crate::cells::{CellMatrix, GeneColumn, SparseRows, check_rows, sample_kind};
use crate::error::{Error, Result};
use hdf5_reader::Dataset;
use std::fmt::{self, Debug, Formatter};
use std::ops::Range;
use std::sync::Arc;

/// The most that a CSC matrix may take in memory, where it is turned into rows. In a browser 4 GiB is all there is.
const MAX_TURNED_SIZE: u64 = if usize::BITS == 32 { 1 << 30 } else { 1 << 34 };
/// CSC is turned in pieces of this many values.
const PIECE_LEN: usize = 1 << 22;

/// A `.h5ad` file. CSR and dense matrices are read block by block; a CSC matrix is turned into rows in memory when it is opened
/// (8 bytes a stored value, at most 16 GiB, in a browser 1 GiB), since its cells are scattered over the whole file.
pub struct H5ad {
    file: Arc<File>,
    matrix: String,
    notes: Vec<String>,
    rows: Rows,
    cell_names: Arc<[String]>,
    gene_columns: Vec<GeneColumn>,
    n_genes: usize,
}

enum Rows {
    Csr(Sparse),
    Dense(Box<Dataset>),
    Memory(SparseRows),
}

/// A matrix that the file may hold, and what names its genes; current anndata first, then 0.6.
const OTHERS: [(&str, &str); 4] = [
    ("layers/counts", "var"),
    ("layers/raw_counts", "var"),
    ("raw/X", "raw/var"),
    ("raw.X", "raw.var"),
];

impl Debug for H5ad {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("H5ad")
            .field("file", &self.file.name())
            .field("matrix", &self.matrix)
            .field("n_cells", &self.cell_names.len())
            .field("n_genes", &self.n_genes)
            .finish_non_exhaustive()
    }
}

impl H5ad {
    /// Opens a file and reads its names. `X` is taken, unless it holds neither counts nor log-normalised values (scaled data) and
    /// `layers/counts`, `layers/raw_counts` or `raw/X` does; [`CellMatrix::notes`] then say so.
    ///
    /// # Errors
    /// [`Error::File`] with the path inside the file: cut off or broken, no matrix, no cells or no genes, sizes that do not fit
    /// together, numbers of a type or compression that cannot be read, a CSC matrix too large to be turned; [`Error::Io`].
    pub fn open(name: &str, source: Arc<dyn Source>) -> Result<Self> {
        let file = File::open(name, source)?;
        let mut others = Vec::new();
        for (path, var) in OTHERS {
            if file.object(path)?.is_some() {
                others.push((path, var));
            }
        }
        let x = match file.object("X")? {
            Some(x) if file.text_attribute(&x, "X", "encoding-type")?.as_deref() != Some("null") => Some(("X", "var")),
            _ => None,
        };
        let Some((first, first_var)) = x.or_else(|| others.first().copied()) else {
            return Err(file.wrong("X", no_matrix(&file)?));
        };
        others.retain(|&(path, _)| path != first);

        let file = Arc::new(file);
        let cell_names: Arc<[String]> = names_of(&file, "obs")?.into();
        let with = |path, var| Self::with_matrix(Arc::clone(&file), path, var, Arc::clone(&cell_names));
        let mut matrix = with(first, first_var)?;
        if x.is_none() {
            matrix.notes = vec![format!("the file has no X, so {first} was read")];
        }
        if others.is_empty() {
            return Ok(matrix);
        }
        let Err(reason) = sample_kind(&matrix)? else {
            return Ok(matrix);
        };
        for (path, var) in others {
            let other = with(path, var)?;
            if sample_kind(&other)?.is_ok() {
                let reason = match reason {
                    Error::File { place, problem, .. } => format!("{place}: {problem}"),
                    other => other.to_string(),
                };
                let notes = vec![format!("{path} was read instead of {first}: {reason}")];
                return Ok(Self { notes, ..other });
            }
        }
        Ok(matrix)
    }

    fn with_matrix(file: Arc<File>, path: &str, var: &str, cell_names: Arc<[String]>) -> Result<Self> {
        let gene_columns = gene_columns(&file, var)?;
        let n_genes = gene_columns.first().map_or(0, |index| index.genes.len());
        let rows = open_matrix(&file, path, ("obs", cell_names.len()), (var, n_genes))?;
        Ok(Self {
            file,
            matrix: path.to_owned(),
            notes: Vec::new(),
            rows,
            cell_names,
            gene_columns,
            n_genes,
        })
    }
}

impl CellMatrix for H5ad {
    fn file(&self) -> &str {
        self.file.name()
    }

    fn format(&self) -> &str {
        "AnnData (.h5ad)"
    }

    fn matrix(&self) -> &str {
        &self.matrix
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn n_cells(&self) -> usize {
        self.cell_names.len()
    }

    fn n_genes(&self) -> usize {
        self.n_genes
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        check_rows(&cells, self.n_cells())?;
        Ok(self.cell_names[cells].to_vec())
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        &self.gene_columns
    }

    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        check_rows(&cells, self.n_cells())?;
        match &self.rows {
            Rows::Csr(sparse) => self.read_csr(sparse, &sparse.indptr[cells.start..=cells.end]),
            Rows::Dense(dataset) => self.read_dense(dataset, cells),
            Rows::Memory(rows) => Ok(rows.slice(cells)),
        }
    }
}

impl H5ad {
    fn read_csr(&self, sparse: &Sparse, indptr: &[usize]) -> Result<SparseRows> {
        let (Some(&start), Some(&end)) = (indptr.first(), indptr.last()) else {
            return Ok(SparseRows::default());
        };
        let mut values = Vec::new();
        self.file
            .read_values(&format!("{}/data", self.matrix), &sparse.data, start..end, &mut values)?;
        let path = format!("{}/indices", self.matrix);
        let mut genes = Vec::new();
        self.file.read_indices(&path, &sparse.indices, start..end, &mut genes)?;
        Ok(SparseRows {
            offsets: indptr.iter().map(|&offset| offset - start).collect(),
            genes: checked_indices(&self.file, &path, &genes, start, self.n_genes, "gene")?,
            values,
        })
    }

    fn read_dense(&self, dataset: &Dataset, cells: Range<usize>) -> Result<SparseRows> {
        let mut rows = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        let step = (PIECE_LEN / self.n_genes).max(1);
        let mut dense = Vec::new();
        for start in cells.clone().step_by(step) {
            dense.clear();
            self.file.read_matrix(
                &self.matrix,
                dataset,
                start..cells.end.min(start + step),
                self.n_genes,
                &mut dense,
            )?;
            for row in dense.chunks_exact(self.n_genes) {
                for (gene, &value) in (0..).zip(row) {
                    if value != 0.0 {
                        rows.genes.push(gene);
                        rows.values.push(value);
                    }
                }
                rows.offsets.push(rows.genes.len());
            }
        }
        Ok(rows)
    }
}

/// Says what the file is instead, where that can be told.
fn no_matrix(file: &File) -> Result<&'static str> {
    Ok(if file.object("matrix/barcodes")?.is_some() {
        "missing: this is a 10x matrix file, which is not read yet; wanted an .h5ad file"
    } else if file.object("row_attrs")?.is_some() {
        "missing: this is a loom file, which is not read yet; wanted an .h5ad file"
    } else {
        "missing, and so are layers/counts and raw/X; wanted an .h5ad file"
    })
}

/// Opens a matrix and checks that its parts fit together and to the names.
fn open_matrix(file: &File, path: &str, (obs, n_cells): (&str, usize), (var, n_genes): (&str, usize)) -> Result<Rows> {
    let object = file.object(path)?.ok_or_else(|| file.wrong(path, "missing"))?;
    let (shape, by_row) = match &object {
        Object::Dataset(dataset) => {
            file.check_type(path, dataset, Kind::Value)?;
            let shape: Vec<i64> = dataset
                .shape()
                .iter()
                .map(|&n| i64::try_from(n).unwrap_or(i64::MAX))
                .collect();
            (shape, None)
        }
        Object::Group(_) => {
            let format = match file.text_attribute(&object, path, "encoding-type")? {
                Some(format) => format,
                None => file.text_attribute(&object, path, "h5sparse_format")?.unwrap_or_default(),
            };
            let by_row = match format.as_str() {
                "csr_matrix" | "csr" => true,
                "csc_matrix" | "csc" => false,
                _ => {
                    return Err(file.wrong(
                        path,
                        format_args!("a group of type `{format}`; wanted csr_matrix, csc_matrix or an array"),
                    ));
                }
            };
            let shape = match file.index_attribute(&object, path, "shape")? {
                Some(shape) => Some(shape),
                None => file.index_attribute(&object, path, "h5sparse_shape")?,
            };
            (shape.ok_or_else(|| file.wrong(path, "no attribute shape"))?, Some(by_row))
        }
    };
    let &[n_rows, n_cols] = shape.as_slice() else {
        return Err(file.wrong(path, format_args!("{} dimensions; wanted two", shape.len())));
    };
    for (n, names, n_names, what) in [(n_rows, obs, n_cells, "rows"), (n_cols, var, n_genes, "columns")] {
        if usize::try_from(n).ok() != Some(n_names) {
            return Err(file.wrong(path, format_args!("{n} {what}, but {names} has {n_names} names")));
        }
    }
    if n_cells == 0 || n_genes == 0 {
        return Err(file.wrong(
            path,
            format_args!("{n_cells} cells × {n_genes} genes; wanted at least one of each"),
        ));
    }
    if u32::try_from(n_genes).is_err() {
        return Err(file.wrong(path, format_args!("{n_genes} genes are too many")));
    }
    match (object, by_row) {
        (Object::Dataset(dataset), _) => Ok(Rows::Dense(dataset)),
        (_, by_row) => {
            let by_row = by_row == Some(true);
            let sparse = Sparse::open(file, path, if by_row { n_cells } else { n_genes })?;
            Ok(if by_row {
                Rows::Csr(sparse)
            } else {
                Rows::Memory(sparse.turned(file, path, n_cells)?)
            })
        }
    }
}

/// The three parts of a compressed sparse matrix.
struct Sparse {
    data: Box<Dataset>,
    indices: Box<Dataset>,
    /// One more than rows (CSR) or columns (CSC); rises from 0 to the number of values.
    indptr: Vec<usize>,
}

impl Sparse {
    /// `n` is the number of rows of CSR, of columns of CSC.
    fn open(file: &File, path: &str, n: usize) -> Result<Self> {
        let (data_path, indices_path, indptr_path) =
            (format!("{path}/data"), format!("{path}/indices"), format!("{path}/indptr"));
        let (data, n_values) = file.numbers(&data_path)?;
        file.check_type(&data_path, &data, Kind::Value)?;
        let (indices, n_indices) = file.numbers(&indices_path)?;
        file.check_type(&indices_path, &indices, Kind::Index)?;
        if n_indices != n_values {
            return Err(file.wrong(
                indices_path,
                format_args!("{n_indices} numbers, but {data_path} has {n_values}"),
            ));
        }
        let offsets = file.all_indices(&indptr_path)?;
        if offsets.len() != n + 1 {
            return Err(file.wrong(
                indptr_path,
                format_args!("{} numbers; wanted {}, one more than {n}", offsets.len(), n + 1),
            ));
        }
        let mut indptr = Vec::with_capacity(offsets.len());
        for (place, &offset) in offsets.iter().enumerate() {
            let before = indptr.last().copied().unwrap_or(0);
            let offset = usize::try_from(offset)
                .ok()
                .filter(|&next| before <= next && next <= n_values && (place > 0 || next == 0));
            let Some(offset) = offset else {
                let found = offsets[place];
                let problem = format!("{found} at {place}, after {before}; wanted numbers that rise from 0 to {n_values}");
                return Err(file.wrong(indptr_path, problem));
            };
            indptr.push(offset);
        }
        match indptr.last() {
            Some(&last) if last == n_values => Ok(Self { data, indices, indptr }),
            last => {
                let last = last.copied().unwrap_or(0);
                Err(file.wrong(
                    indptr_path,
                    format_args!("ends with {last}, but {data_path} has {n_values} numbers"),
                ))
            }
        }
    }

    /// CSC into rows: one pass counts the values of each cell, a second one puts them in place.
    fn turned(&self, file: &File, path: &str, n_cells: usize) -> Result<SparseRows> {
        let n_values = self.indptr.last().copied().unwrap_or(0);
        let size = 8 * n_values as u64 + 8 * n_cells as u64;
        let too_large = || {
            let advice = "store it by rows: adata.X = adata.X.tocsr()";
            file.wrong(
                path,
                format_args!("a CSC matrix of {n_values} values would take {size} bytes of memory; {advice}"),
            )
        };
        if size > MAX_TURNED_SIZE {
            return Err(too_large());
        }
        let indices_path = format!("{path}/indices");
        let read = |range: Range<usize>| -> Result<Vec<u32>> {
            let mut cells = Vec::new();
            file.read_indices(&indices_path, &self.indices, range.clone(), &mut cells)?;
            checked_indices(file, &indices_path, &cells, range.start, n_cells, "cell")
        };
        let pieces = || {
            (0..n_values)
                .step_by(PIECE_LEN)
                .map(|start| start..n_values.min(start + PIECE_LEN))
        };

        let mut offsets = vec![0_usize; n_cells + 1];
        for piece in pieces() {
            for cell in read(piece)? {
                offsets[cell as usize + 1] += 1;
            }
        }
        for cell in 0..n_cells {
            offsets[cell + 1] += offsets[cell];
        }

        let (mut genes, mut values) = (Vec::new(), Vec::new());
        genes.try_reserve_exact(n_values).map_err(|_| too_large())?;
        values.try_reserve_exact(n_values).map_err(|_| too_large())?;
        genes.resize(n_values, 0);
        values.resize(n_values, 0.0);
        let mut next = offsets.clone();
        let mut gene = 0;
        for piece in pieces() {
            let cells = read(piece.clone())?;
            let mut data = Vec::new();
            file.read_values(&format!("{path}/data"), &self.data, piece.clone(), &mut data)?;
            for ((place, cell), value) in piece.zip(cells).zip(data) {
                while self.indptr[gene as usize + 1] <= place {
                    gene += 1;
                }
                let to = next[cell as usize];
                genes[to] = gene;
                values[to] = value;
                next[cell as usize] += 1;
            }
        }
        Ok(SparseRows { offsets, genes, values })
    }
}

/// Indices below `n`; `first` is the place of the first one in the dataset.
fn checked_indices(file: &File, path: &str, indices: &[i64], first: usize, n: usize, what: &str) -> Result<Vec<u32>> {
    let check = |(place, &index): (usize, &i64)| match u32::try_from(index) {
        Ok(small) if (small as usize) < n => Ok(small),
        _ if index < 0 => Err(file.wrong(path, format_args!("index {index} at {place} is negative"))),
        _ => Err(file.wrong(
            path,
            format_args!("index {index} at {place} is past the last {what} ({})", n - 1),
        )),
    };
    (first..).zip(indices).map(check).collect()
}

/// The index of `obs` or `var`.
fn names_of(file: &File, path: &str) -> Result<Vec<String>> {
    let object = file.object(path)?.ok_or_else(|| file.wrong(path, "missing"))?;
    match &object {
        Object::Dataset(dataset) => {
            let columns = file.record_columns(path, dataset)?;
            let place = columns
                .iter()
                .position(|(name, _)| name == "index" || name == "_index")
                .unwrap_or(0);
            columns
                .into_iter()
                .nth(place)
                .map(|(_, names)| names)
                .ok_or_else(|| file.wrong(path, "no column of names"))
        }
        Object::Group(_) => {
            let column = index_column(file, path, &object)?;
            let path = format!("{path}/{column}");
            let column = file.object(&path)?.ok_or_else(|| file.wrong(&path, "missing"))?;
            match file.strings(&path, &column)? {
                Some(names) => Ok(names),
                // Some writers number the cells.
                None => Ok(file.all_indices(&path)?.iter().map(i64::to_string).collect()),
            }
        }
    }
}

/// The name of the column that is the index.
fn index_column(file: &File, path: &str, object: &Object) -> Result<String> {
    let name = file.text_attribute(object, path, "_index")?;
    Ok(name.unwrap_or_else(|| "_index".to_owned()))
}

/// The index of `var` and every other column of text in it.
fn gene_columns(file: &File, path: &str) -> Result<Vec<GeneColumn>> {
    let object = file.object(path)?.ok_or_else(|| file.wrong(path, "missing"))?;
    let index = names_of(file, path)?;
    let n_genes = index.len();
    let (index_name, others) = match &object {
        Object::Dataset(dataset) => ("index".to_owned(), file.record_columns(path, dataset)?),
        Object::Group(group) => {
            let index_name = index_column(file, path, &object)?;
            let mut others = Vec::new();
            for name in file.members(group, path)? {
                if name != index_name && !name.starts_with("__") {
                    let column_path = format!("{path}/{name}");
                    // anndata 0.7 keeps the categories of a column of codes apart.
                    let categories = format!("{path}/__categories/{name}");
                    let column = file.object(&column_path)?;
                    let texts = match column {
                        Some(_) if file.object(&categories)?.is_some() => file.categorical(&column_path, &categories)?,
                        Some(column) => file.strings(&column_path, &column)?,
                        None => None,
                    };
                    others.extend(texts.map(|texts| (name, texts)));
                }
            }
            (index_name, others)
        }
    };
    let mut columns = vec![GeneColumn {
        name: index_name,
        genes: index,
    }];
    for (name, genes) in others {
        if genes.len() != n_genes {
            return Err(file.wrong(
                format_args!("{path}/{name}"),
                format_args!("{} names; wanted {n_genes}", genes.len()),
            ));
        }
        if name != columns[0].name {
            columns.push(GeneColumn { name, genes });
        }
    }
    Ok(columns)
}

//! The `.h5ad` files of anndata: `X` as CSR, CSC or dense, `obs` and `var` as groups, or as the tables of anndata 0.6 and older.

use super::h5_column::Column;
use super::hdf5::{File, Kind, Object};
use super::{OpenOptions, Source};
use crate::cells::{CellColumn, CellEmbedding, CellMatrix, GeneColumn, SparseRows, ValueKind, check_rows, sample_kind};
use crate::error::Result;
use hdf5_reader::{Dataset, Datatype};
use std::fmt::{self, Debug, Formatter};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// What a block of rows of a CSC matrix may take in memory. In a browser 4 GiB is all there is.
const MAX_BLOCK_SIZE: usize = if usize::BITS == 32 { 1 << 28 } else { 1 << 30 };
/// Long ranges are read in pieces of this many values.
const PIECE_LEN: usize = 1 << 22;
/// No organism has as many genes or peaks; what declares more is broken.
const MAX_GENES: usize = 1 << 22;

/// A `.h5ad` file. CSR and dense matrices are read block by block. The cells of a CSC matrix are scattered over the whole file: what is
/// kept of them is how many values each cell has, and a block of rows (at most 1 GiB, in a browser 256 MiB) that is made in one pass.
pub struct H5ad {
    file: Arc<File>,
    matrix: String,
    matrices: Vec<String>,
    notes: Vec<String>,
    rows: Rows,
    obs: Table,
    embeddings: Vec<String>,
    gene_columns: Vec<GeneColumn>,
    n_genes: usize,
}

enum Rows {
    Csr(Sparse),
    Dense(Box<Dataset>),
    Csc(Turned),
}

/// `obs`: its index, and the names of its other columns.
#[derive(Clone)]
struct Table {
    path: String,
    index: Arc<Column>,
    columns: Vec<String>,
}

/// A matrix of the file, and what names its genes.
struct Candidate {
    /// As the user calls it: `X`, `raw/X`, `layers/counts`.
    name: String,
    /// Where it stands: anndata 0.6 has `raw.X`.
    path: String,
    var: &'static str,
}

impl Debug for H5ad {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("H5ad")
            .field("file", &self.file.name())
            .field("matrix", &self.matrix)
            .field("n_cells", &self.n_cells())
            .field("n_genes", &self.n_genes)
            .finish_non_exhaustive()
    }
}

impl H5ad {
    /// Opens a file. Unless `options` name the layer, counts are preferred: the first of `layers/counts`, `layers/raw_counts`, `raw/X` and
    /// `X` that holds counts is taken, or else the first that holds log-normalised values; [`CellMatrix::notes`] say so when it is not `X`.
    ///
    /// # Errors
    /// [`Error::File`] with the path inside the file: cut off or broken, no matrix, no layer of this name, no cells or no genes, sizes
    /// that do not fit together, numbers of a type or compression that cannot be read; [`Error::Io`].
    pub fn open(name: &str, source: Arc<dyn Source>, options: &OpenOptions) -> Result<Self> {
        Self::from_file(File::open(name, source)?, options)
    }

    pub(super) fn from_file(file: File, options: &OpenOptions) -> Result<Self> {
        let candidates = candidates(&file)?;
        let matrices: Vec<String> = candidates.iter().map(|candidate| candidate.name.clone()).collect();
        if matrices.is_empty() {
            return Err(file.wrong(
                "X",
                "missing, and so are raw/X and layers; wanted an .h5ad file, a 10x matrix or a loom file",
            ));
        }
        let file = Arc::new(file);
        let obs = Table::open(&file, "obs")?;
        let with = |candidate: &Candidate| -> Result<Self> {
            let matrix = Self::with_matrix(Arc::clone(&file), candidate, obs.clone())?;
            Ok(Self {
                matrices: matrices.clone(),
                ..matrix
            })
        };
        if let Some(layer) = &options.layer {
            let path = if layer == "raw" { "raw/X" } else { layer };
            let chosen = candidates
                .iter()
                .find(|candidate| candidate.name == path || candidate.name.strip_prefix("layers/") == Some(path));
            return match chosen {
                Some(chosen) => with(chosen),
                None => Err(file.wrong(layer, format_args!("no such matrix; the file has {}", matrices.join(", ")))),
            };
        }
        Self::best(&file, &candidates, with)
    }

    /// The first matrix of counts, or else the first of log-normalised values.
    fn best(file: &File, candidates: &[Candidate], with: impl Fn(&Candidate) -> Result<Self>) -> Result<Self> {
        let preferred = ["layers/counts", "layers/raw_counts", "raw/X", "X"];
        let tried = preferred
            .iter()
            .filter_map(|name| candidates.iter().find(|candidate| candidate.name == *name));
        let (mut passed, mut log, mut unusable) = (Vec::new(), None, None);
        for candidate in tried {
            let found = with(candidate).and_then(|matrix| Ok((sample_kind(&matrix)?, matrix)));
            match found {
                Ok((Ok(ValueKind::Counts), matrix)) => return Ok(matrix.chosen("counts", passed)),
                Ok((Ok(ValueKind::LogNormalised), matrix)) => {
                    log.get_or_insert(matrix);
                }
                Ok((Err(reason), matrix)) => {
                    passed.push((candidate.name.clone(), reason.to_string()));
                    unusable = Some(matrix);
                }
                // X is what every file should have: if it is broken, the file is.
                Err(reason) if candidate.name == "X" && log.is_none() => return Err(reason),
                Err(reason) => passed.push((candidate.name.clone(), reason.to_string())),
            }
        }
        match (log, unusable) {
            (Some(matrix), _) => Ok(matrix.chosen("log-normalised values", passed)),
            // What is wrong with it is said when its values are used.
            (None, Some(matrix)) => Ok(matrix),
            (None, None) => match passed.into_iter().next() {
                Some((name, reason)) => Err(file.wrong(name, reason)),
                None => {
                    let names: Vec<&str> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
                    Err(file.wrong("X", format_args!("missing; choose one of {} as the layer", names.join(", "))))
                }
            },
        }
    }

    /// Says why it is this matrix, and what was passed over.
    fn chosen(mut self, what: &str, passed: Vec<(String, String)>) -> Self {
        if self.matrix != "X" {
            let x = if self.matrices.iter().any(|name| name == "X") {
                "X"
            } else {
                "X, which the file lacks"
            };
            self.notes
                .push(format!("{} was read instead of {x}: it holds {what}", self.matrix));
        }
        self.notes.extend(
            passed
                .into_iter()
                .map(|(name, reason)| format!("{name} was not read: {reason}")),
        );
        self
    }

    fn with_matrix(file: Arc<File>, candidate: &Candidate, obs: Table) -> Result<Self> {
        let gene_columns = gene_columns(&file, candidate.var)?;
        let n_genes = gene_columns.first().map_or(0, |index| index.genes.len());
        let rows = open_matrix(&file, &candidate.path, ("obs", obs.index.len()), (candidate.var, n_genes))?;
        Ok(Self {
            embeddings: embeddings(&file, obs.index.len())?,
            file,
            matrix: candidate.path.clone(),
            matrices: Vec::new(),
            notes: Vec::new(),
            rows,
            obs,
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

    fn matrices(&self) -> &[String] {
        &self.matrices
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn n_cells(&self) -> usize {
        self.obs.index.len()
    }

    fn n_genes(&self) -> usize {
        self.n_genes
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        check_rows(&cells, self.n_cells())?;
        self.obs.index.texts(&self.file, cells)
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        &self.gene_columns
    }

    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        check_rows(&cells, self.n_cells())?;
        match &self.rows {
            Rows::Csr(sparse) => self.read_csr(sparse, cells),
            Rows::Dense(dataset) => self.read_dense(dataset, cells),
            Rows::Csc(turned) => turned.read(&self.file, &self.matrix, cells),
        }
    }

    fn cell_columns(&self) -> &[String] {
        &self.obs.columns
    }

    fn cell_column(&self, name: &str) -> Result<Option<CellColumn>> {
        if !self.obs.columns.iter().any(|column| column == name) {
            return Ok(None);
        }
        let Some(column) = column(&self.file, &self.obs.path, name)? else {
            return Ok(None);
        };
        let path = format!("{}/{name}", self.obs.path);
        if column.len() != self.n_cells() {
            return Err(self
                .file
                .wrong(path, format_args!("{} values; wanted {}", column.len(), self.n_cells())));
        }
        // anndata 0.6 keeps the categories of a column of codes in uns.
        let categories = format!("uns/{name}_categories");
        if matches!(self.file.object("obs")?, Some(Object::Dataset(_))) && self.file.object(&categories)?.is_some() {
            return column
                .read_as_codes(&self.file, Column::names(&self.file, &categories)?)
                .map(Some);
        }
        column.read(&self.file).map(Some)
    }

    fn embeddings(&self) -> &[String] {
        &self.embeddings
    }

    fn embedding(&self, name: &str) -> Result<Option<CellEmbedding>> {
        if !self.embeddings.iter().any(|embedding| embedding == name) {
            return Ok(None);
        }
        let n_cells = self.n_cells();
        let values = match self.file.object("obsm")? {
            Some(Object::Dataset(records)) => {
                let field = self
                    .file
                    .fields("obsm", &records)?
                    .into_iter()
                    .find(|field| field.name == name);
                let Some(field) = field else { return Ok(None) };
                let values = self.file.read_fields("obsm", &records, &field, 0..n_cells)?;
                #[expect(clippy::cast_possible_truncation, reason = "an embedding is kept as f32")]
                values.into_iter().map(|value| value as f32).collect()
            }
            _ => {
                let path = format!("obsm/{name}");
                let dataset = self.file.dataset(&path)?;
                let n_cols = usize::try_from(dataset.shape().get(1).copied().unwrap_or(0)).unwrap_or(usize::MAX);
                let mut values = Vec::new();
                self.file.read_matrix(&path, &dataset, 0..n_cells, n_cols, &mut values)?;
                values
            }
        };
        Ok(Some(CellEmbedding {
            n_cols: values.len() / n_cells,
            values,
        }))
    }
}

impl H5ad {
    fn read_csr(&self, sparse: &Sparse, cells: Range<usize>) -> Result<SparseRows> {
        let indptr = sparse.indptr(&self.file, &self.matrix, cells)?;
        let (Some(&start), Some(&end)) = (indptr.first(), indptr.last()) else {
            return Ok(SparseRows::default());
        };
        let mut values = Vec::new();
        self.file
            .read_values(&format!("{}/data", self.matrix), &sparse.data, start..end, &mut values)?;
        let path = format!("{}/indices", self.matrix);
        let genes = match self.file.read_small_indices(&path, &sparse.indices, start..end)? {
            Some(genes) => checked_indices(&self.file, &path, &genes, start, self.n_genes, "gene")?,
            None => {
                let mut genes = Vec::new();
                self.file.read_indices(&path, &sparse.indices, start..end, &mut genes)?;
                checked_indices(&self.file, &path, &genes, start, self.n_genes, "gene")?
            }
        };
        Ok(SparseRows {
            offsets: indptr.iter().map(|&offset| offset - start).collect(),
            genes,
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
                Rows::Csc(Turned::open(file, path, sparse, n_cells, n_genes)?)
            })
        }
    }
}

/// The three parts of a compressed sparse matrix.
struct Sparse {
    data: Box<Dataset>,
    indices: Box<Dataset>,
    /// One more than rows (CSR) or columns (CSC); rises from 0 to the number of values.
    indptr: Box<Dataset>,
    n_values: usize,
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
        let (indptr, n_offsets) = file.numbers(&indptr_path)?;
        file.check_type(&indptr_path, &indptr, Kind::Index)?;
        if n_offsets != n + 1 {
            return Err(file.wrong(
                indptr_path,
                format_args!("{n_offsets} numbers; wanted {}, one more than {n}", n + 1),
            ));
        }
        let sparse = Self {
            data,
            indices,
            indptr,
            n_values,
        };
        let last = sparse.indptr(file, path, n..n)?.first().copied();
        sparse.indptr(file, path, 0..0)?;
        if last != Some(n_values) {
            let last = last.unwrap_or(0);
            return Err(file.wrong(
                indptr_path,
                format_args!("ends with {last}, but {data_path} has {n_values} numbers"),
            ));
        }
        Ok(sparse)
    }

    /// Where some rows start, and where the last one ends.
    fn indptr(&self, file: &File, path: &str, rows: Range<usize>) -> Result<Vec<usize>> {
        let path = format!("{path}/indptr");
        let mut offsets = Vec::new();
        file.read_indices(&path, &self.indptr, rows.start..rows.end + 1, &mut offsets)?;
        let (mut indptr, n_values) = (Vec::with_capacity(offsets.len()), self.n_values);
        for (place, found) in (rows.start..).zip(offsets) {
            let before = indptr.last().copied().unwrap_or(0);
            let offset = usize::try_from(found)
                .ok()
                .filter(|&next| before <= next && next <= n_values && (place > 0 || next == 0));
            let Some(offset) = offset else {
                let problem = format!("{found} at {place}, after {before}; wanted numbers that rise from 0 to {n_values}");
                return Err(file.wrong(path, problem));
            };
            indptr.push(offset);
        }
        Ok(indptr)
    }
}

/// A CSC matrix, turned into rows a block at a time.
struct Turned {
    sparse: Sparse,
    /// `[n_genes + 1]`
    indptr: Vec<usize>,
    /// `[n_cells + 1]`: where each cell would start if the values stood by rows.
    offsets: Vec<usize>,
    /// The block that was made last, and its first cell.
    block: Mutex<(usize, Arc<SparseRows>)>,
}

impl Turned {
    fn open(file: &File, path: &str, sparse: Sparse, n_cells: usize, n_genes: usize) -> Result<Self> {
        let indptr = sparse.indptr(file, path, 0..n_genes)?;
        let mut turned = Self {
            sparse,
            indptr,
            offsets: vec![0; n_cells + 1],
            block: Mutex::new((0, Arc::new(SparseRows::default()))),
        };
        for piece in turned.pieces() {
            for cell in turned.cells(file, path, piece, n_cells)? {
                turned.offsets[cell as usize + 1] += 1;
            }
        }
        for cell in 0..n_cells {
            turned.offsets[cell + 1] += turned.offsets[cell];
        }
        Ok(turned)
    }

    fn pieces(&self) -> Vec<Range<usize>> {
        let n_values = self.sparse.n_values;
        (0..n_values)
            .step_by(PIECE_LEN)
            .map(|start| start..n_values.min(start + PIECE_LEN))
            .collect()
    }

    fn cells(&self, file: &File, path: &str, piece: Range<usize>, n_cells: usize) -> Result<Vec<u32>> {
        let path = format!("{path}/indices");
        let (start, mut cells) = (piece.start, Vec::new());
        file.read_indices(&path, &self.sparse.indices, piece, &mut cells)?;
        checked_indices(file, &path, &cells, start, n_cells, "cell")
    }

    fn read(&self, file: &File, path: &str, cells: Range<usize>) -> Result<SparseRows> {
        let mut rows = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        let mut last = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = cells.start;
        while next < cells.end {
            let (first, block) = &*last;
            if !(*first..first + block.n_rows()).contains(&next) {
                *last = (next, Arc::new(self.turn(file, path, next)?));
                continue;
            }
            let end = cells.end.min(first + block.n_rows());
            let part = block.slice(next - first..end - first);
            let before = rows.genes.len();
            rows.offsets.extend(part.offsets[1..].iter().map(|offset| before + offset));
            rows.genes.extend(part.genes);
            rows.values.extend(part.values);
            next = end;
        }
        Ok(rows)
    }

    /// As many rows from `first` on as a block may hold, at least one, in one pass over the file.
    fn turn(&self, file: &File, path: &str, first: usize) -> Result<SparseRows> {
        let n_cells = self.offsets.len() - 1;
        let start = self.offsets[first];
        let max_len = MAX_BLOCK_SIZE / 8;
        let end = self
            .offsets
            .partition_point(|&offset| offset <= start.saturating_add(max_len))
            - 1;
        let end = end.max(first + 1);
        let offsets: Vec<usize> = self.offsets[first..=end].iter().map(|offset| offset - start).collect();
        let len = offsets.last().copied().unwrap_or(0);
        let (mut genes, mut values) = (Vec::new(), Vec::new());
        let too_large = |_| file.wrong(path, format_args!("{len} values of a CSC matrix do not fit in memory"));
        genes.try_reserve_exact(len).map_err(too_large)?;
        values.try_reserve_exact(len).map_err(too_large)?;
        genes.resize(len, 0);
        values.resize(len, 0.0);
        let (mut next, mut gene) = (offsets.clone(), 0);
        for piece in self.pieces() {
            let cells = self.cells(file, path, piece.clone(), n_cells)?;
            let mut data = Vec::new();
            file.read_values(&format!("{path}/data"), &self.sparse.data, piece.clone(), &mut data)?;
            for ((place, cell), value) in piece.zip(cells).zip(data) {
                while self.indptr[gene as usize + 1] <= place {
                    gene += 1;
                }
                let cell = cell as usize;
                if (first..end).contains(&cell) {
                    let to = &mut next[cell - first];
                    // Past it only if the file was changed since it was opened.
                    if let (Some(gene_there), Some(value_there)) = (genes.get_mut(*to), values.get_mut(*to)) {
                        *gene_there = gene;
                        *value_there = value;
                        *to += 1;
                    }
                }
            }
        }
        Ok(SparseRows { offsets, genes, values })
    }
}

/// Indices below `n`; `first` is the place of the first one in the dataset.
fn checked_indices<T: Copy + Into<i64>>(
    file: &File,
    path: &str,
    indices: &[T],
    first: usize,
    n: usize,
    what: &str,
) -> Result<Vec<u32>> {
    let check = |(place, &index): (usize, &T)| {
        let index = index.into();
        match u32::try_from(index) {
            Ok(small) if (small as usize) < n => Ok(small),
            _ if index < 0 => Err(file.wrong(path, format_args!("index {index} at {place} is negative"))),
            _ => Err(file.wrong(
                path,
                format_args!("index {index} at {place} is past the last {what} ({})", n - 1),
            )),
        }
    };
    (first..).zip(indices).map(check).collect()
}

/// Every matrix of the file, in the order `X`, `raw/X`, layers.
fn candidates(file: &File) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for (name, path, var) in [
        ("X", "X", "var"),
        ("raw/X", "raw/X", "raw/var"),
        ("raw/X", "raw.X", "raw.var"),
    ] {
        let Some(object) = file.object(path)? else {
            continue;
        };
        if file.text_attribute(&object, path, "encoding-type")?.as_deref() != Some("null") {
            candidates.push(Candidate {
                name: name.to_owned(),
                path: path.to_owned(),
                var,
            });
        }
    }
    if let Some(Object::Group(layers)) = file.object("layers")? {
        for name in file.members(&layers, "layers")? {
            let path = format!("layers/{name}");
            candidates.push(Candidate {
                name: path.clone(),
                path,
                var: "var",
            });
        }
    }
    Ok(candidates)
}

/// The two-dimensional numbers in `obsm`.
fn embeddings(file: &File, n_cells: usize) -> Result<Vec<String>> {
    let mut names = Vec::new();
    match file.object("obsm")? {
        Some(Object::Group(group)) => {
            for name in file.members(&group, "obsm")? {
                if let Some(Object::Dataset(dataset)) = file.object(&format!("obsm/{name}"))? {
                    let fits = matches!(dataset.shape(), &[rows, columns] if rows == n_cells as u64 && columns > 0);
                    if fits && Kind::Value.decodes(dataset.dtype()) {
                        names.push(name);
                    }
                }
            }
        }
        Some(Object::Dataset(records)) if records.shape() == [n_cells as u64] => {
            let fields = file.fields("obsm", &records)?.into_iter();
            let is_list = |dtype: &Datatype| matches!(dtype, Datatype::Array { dims, .. } if dims.len() == 1);
            names.extend(fields.filter(|field| is_list(&field.datatype)).map(|field| field.name));
        }
        _ => {}
    }
    Ok(names)
}

impl Table {
    fn open(file: &File, path: &str) -> Result<Self> {
        let object = file.object(path)?.ok_or_else(|| file.wrong(path, "missing"))?;
        let (index, names) = match &object {
            Object::Dataset(dataset) => {
                let fields = file.fields(path, dataset)?;
                let is_index = |name: &str| name == "index" || name == "_index";
                let index = fields.iter().find(|field| is_index(&field.name)).or(fields.first());
                let index = index.ok_or_else(|| file.wrong(path, "no column of names"))?.name.clone();
                (index, fields.into_iter().map(|field| field.name).collect())
            }
            Object::Group(group) => {
                let index = file.text_attribute(&object, path, "_index")?;
                (index.unwrap_or_else(|| "_index".to_owned()), file.members(group, path)?)
            }
        };
        let names: Vec<String> = names;
        let place = format!("{path}/{index}");
        let Some(names_of_rows) = column(file, path, &index)? else {
            return Err(match file.object(&place)? {
                Some(_) => file.wrong(place, "neither texts nor numbers; wanted names"),
                None => file.wrong(place, "missing"),
            });
        };
        Ok(Self {
            path: path.to_owned(),
            index: Arc::new(names_of_rows),
            columns: names
                .into_iter()
                .filter(|name| *name != index && !name.starts_with("__"))
                .collect(),
        })
    }
}

/// One column of `obs` or `var`.
fn column(file: &File, table: &str, name: &str) -> Result<Option<Column>> {
    match file.object(table)? {
        Some(Object::Dataset(dataset)) => {
            let field = file.fields(table, &dataset)?.into_iter().find(|field| field.name == name);
            field.map(|field| Column::field(file, table, dataset, field)).transpose()
        }
        // anndata 0.7 keeps the categories of a column of codes apart.
        _ => Column::open(file, &format!("{table}/{name}"), &format!("{table}/__categories/{name}")),
    }
}

/// The index of `var` and every other column of text in it.
fn gene_columns(file: &File, path: &str) -> Result<Vec<GeneColumn>> {
    let table = Table::open(file, path)?;
    let n_genes = table.index.len();
    if n_genes > MAX_GENES {
        return Err(file.wrong(path, format_args!("{n_genes} genes; no matrix has more than {MAX_GENES}")));
    }
    let index_name = match file.object(path)? {
        Some(Object::Dataset(_)) => "index".to_owned(),
        Some(object) => file
            .text_attribute(&object, path, "_index")?
            .unwrap_or_else(|| "_index".to_owned()),
        None => return Err(file.wrong(path, "missing")),
    };
    let mut columns = vec![GeneColumn {
        name: index_name,
        genes: table.index.texts(file, 0..n_genes)?,
    }];
    for name in table.columns {
        let Some(column) = column(file, path, &name)?.filter(Column::is_text) else {
            continue;
        };
        if column.len() != n_genes {
            return Err(file.wrong(
                format_args!("{path}/{name}"),
                format_args!("{} names; wanted {n_genes}", column.len()),
            ));
        }
        columns.push(GeneColumn {
            genes: column.texts(file, 0..n_genes)?,
            name,
        });
    }
    Ok(columns)
}

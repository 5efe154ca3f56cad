//! `AnnData` of every age, in whatever contains it: `X` as CSR, CSC or dense, `obs` and `var` as groups, or as the records of anndata 0.6 and
//! older.

use super::column::Column;
use super::container::{Array, Container, Kind, Node, Numbers};
use super::features::{OtherKinds, genes_among, of_genes, rows_of_genes};
use super::sparse::{Sparse, Turned};
use super::{OpenOptions, Source, hdf5};
use crate::cells::{CellColumn, CellEmbedding, CellMatrix, GeneColumn, SparseRows, ValueKind, check_rows, sample_kind};
use crate::error::Result;
use std::fmt::{self, Debug, Formatter};
use std::ops::Range;
use std::sync::Arc;

/// A dense matrix is read in pieces of this many numbers.
const PIECE_LEN: usize = 1 << 22;
/// No organism has as many genes or peaks; what declares more is broken.
const MAX_GENES: usize = 1 << 22;

/// `AnnData`: a `.h5ad` file or a `.zarr` store. Where `var` says of what kind each feature is, and some are `Gene Expression`, only these are genes. CSR and dense matrices are read block by block. The cells of a CSC matrix are scattered over
/// the whole file: what is kept of them is how many values each cell has, and a block of rows (at most 1 GiB, in a browser 256 MiB) that is
/// made in one pass.
pub struct AnnData {
    file: Arc<dyn Container>,
    format: String,
    matrix: String,
    matrices: Vec<String>,
    notes: Vec<String>,
    log_base: Option<f64>,
    rows: Rows,
    obs: Table,
    embeddings: Vec<String>,
    gene_columns: Vec<GeneColumn>,
    /// The gene of each feature, where not all features are genes.
    gene_of: Option<Vec<Option<u32>>>,
    n_features: usize,
    n_genes: usize,
}

enum Rows {
    Csr(Sparse),
    Dense(Arc<dyn Array>),
    Csc(Turned),
}

/// `obs`: its index, and the names of its other columns.
#[derive(Clone)]
struct Table {
    path: &'static str,
    /// The name of the index.
    name: String,
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

impl Debug for AnnData {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("AnnData")
            .field("file", &self.file.name())
            .field("matrix", &self.matrix)
            .field("n_cells", &self.n_cells())
            .field("n_genes", &self.n_genes)
            .finish_non_exhaustive()
    }
}

impl AnnData {
    /// Opens a `.h5ad` file. Unless `options` name the layer, counts are preferred: the first of `layers/counts`, `layers/raw_counts`, `raw/X` and
    /// `X` that holds counts is taken, or else the first that holds values normalised from counts; but `raw/X`, where its scale is known, when it
    /// has 1.5 times as many genes as the counts. [`CellMatrix::notes`] say so when it is not `X`.
    ///
    /// # Errors
    /// [`crate::Error::File`] with the path inside the file: cut off or broken, no matrix, no layer of this name, no cells or no genes, sizes
    /// that do not fit together, numbers of a type or compression that cannot be read; [`crate::Error::Io`].
    pub fn open(name: &str, source: Arc<dyn Source>, options: &OpenOptions) -> Result<Self> {
        Self::from_container(Arc::new(hdf5::File::open(name, source)?), options)
    }

    pub(super) fn from_container(file: Arc<dyn Container>, options: &OpenOptions) -> Result<Self> {
        let candidates = candidates(file.as_ref())?;
        let matrices: Vec<String> = candidates.iter().map(|candidate| candidate.name.clone()).collect();
        if matrices.is_empty() {
            return Err(file.wrong(
                "X",
                "missing, and so are raw/X and layers; wanted AnnData (.h5ad, .zarr), a 10x matrix or a loom file",
            ));
        }
        let obs = Table::open(file.as_ref(), "obs")?;
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
        Self::best(file.as_ref(), &candidates, with)
    }

    /// The first matrix of counts, or else the first of normalised values.
    fn best(file: &dyn Container, candidates: &[Candidate], with: impl Fn(&Candidate) -> Result<Self>) -> Result<Self> {
        let preferred = ["layers/counts", "layers/raw_counts", "raw/X", "X"];
        let tried = preferred
            .iter()
            .filter_map(|name| candidates.iter().find(|candidate| candidate.name == *name));
        let (mut passed, mut log, mut unusable) = (Vec::new(), None, None);
        for candidate in tried {
            let found = with(candidate).and_then(|matrix| Ok((sample_kind(&matrix)?, matrix)));
            match found {
                Ok((Ok((kind, _)), matrix)) if kind.is_counts() => {
                    let raw = candidates.iter().find(|raw| {
                        raw.name == "raw/X" && raw.path != matrix.matrix && passed.iter().all(|(name, _)| *name != raw.name)
                    });
                    return Ok(matrix.unless_more_genes(raw, kind, passed, with));
                }
                Ok((Ok((kind, _)), matrix)) => {
                    log.get_or_insert((kind, matrix));
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
            (Some((kind, matrix)), _) => Ok(matrix.chosen(kind, passed)),
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

    /// This matrix of counts, unless `raw` has clearly more genes on a known scale: the counts of few genes do not tell how many a cell has.
    fn unless_more_genes(
        self,
        raw: Option<&Candidate>,
        kind: ValueKind,
        mut passed: Vec<(String, String)>,
        with: impl Fn(&Candidate) -> Result<Self>,
    ) -> Self {
        let n_genes = self.n_genes;
        let raw = raw.and_then(|raw| Some((raw, Table::open(self.file.as_ref(), raw.var).ok()?.index.len())));
        let Some((raw, n_all)) = raw.filter(|(_, n_all)| 2 * n_all >= 3 * n_genes) else {
            return self.chosen(kind, passed);
        };
        let reason = match with(raw).and_then(|matrix| Ok((sample_kind(&matrix)?, matrix))) {
            Ok((Ok((kind, true)), matrix)) => {
                passed.push((
                    self.matrix,
                    format!("it has {n_genes} genes, {} {}", raw.name, matrix.n_genes),
                ));
                return matrix.chosen(kind, passed);
            }
            Ok((Ok(_), _)) => {
                format!("it has {n_all} genes instead of {n_genes}, but of an unknown scale; choose it as the layer to read it")
            }
            Ok((Err(reason), _)) | Err(reason) => reason.to_string(),
        };
        passed.push((raw.name.clone(), reason));
        self.chosen(kind, passed)
    }

    /// Says why it is this matrix, and what was passed over.
    fn chosen(mut self, kind: ValueKind, passed: Vec<(String, String)>) -> Self {
        if self.matrix != "X" {
            let x = if self.matrices.iter().any(|name| name == "X") {
                "X"
            } else {
                "X, which the file lacks"
            };
            self.notes.push(format!(
                "{} was read instead of {x}: it holds {}",
                self.matrix,
                kind.describe()
            ));
        }
        self.notes.extend(
            passed
                .into_iter()
                .map(|(name, reason)| format!("{name} was not read: {reason}")),
        );
        self
    }

    fn with_matrix(file: Arc<dyn Container>, candidate: &Candidate, obs: Table) -> Result<Self> {
        let mut gene_columns = gene_columns(file.as_ref(), candidate.var)?;
        let n_features = gene_columns.first().map_or(0, |index| index.genes.len());
        let rows = open_matrix(file.as_ref(), &candidate.path, obs.index.len(), (candidate.var, n_features))?;
        let mut others = OtherKinds::default();
        let kinds = gene_columns
            .iter()
            .find(|column| ["feature_types", "feature_type"].contains(&column.name.as_str()));
        let gene_of = kinds.and_then(|kinds| genes_among(&kinds.genes, &mut others));
        for column in &mut gene_columns {
            column.genes = of_genes(std::mem::take(&mut column.genes), gene_of.as_deref());
        }
        Ok(Self {
            embeddings: embeddings(file.as_ref(), obs.index.len())?,
            log_base: log_base(file.as_ref())?,
            format: format!("AnnData ({})", file.ending()),
            file,
            matrix: candidate.path.clone(),
            matrices: Vec::new(),
            notes: gene_of.as_ref().and_then(|_| others.note()).into_iter().collect(),
            rows,
            obs,
            n_genes: gene_columns.first().map_or(0, |index| index.genes.len()),
            gene_columns,
            gene_of,
            n_features,
        })
    }
}

impl CellMatrix for AnnData {
    fn file(&self) -> &str {
        self.file.name()
    }

    fn format(&self) -> &str {
        &self.format
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

    fn log_base(&self) -> Option<f64> {
        self.log_base
    }

    fn n_cells(&self) -> usize {
        self.obs.index.len()
    }

    fn n_genes(&self) -> usize {
        self.n_genes
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        check_rows(&cells, self.n_cells())?;
        self.obs.index.texts(cells)
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        &self.gene_columns
    }

    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        check_rows(&cells, self.n_cells())?;
        let rows = match &self.rows {
            Rows::Csr(sparse) => sparse.rows(cells),
            Rows::Dense(array) => read_dense(array.as_ref(), cells, self.n_features),
            Rows::Csc(turned) => turned.rows(cells),
        };
        Ok(rows_of_genes(rows?, self.gene_of.as_deref()))
    }

    fn cell_columns(&self) -> &[String] {
        &self.obs.columns
    }

    fn cell_column(&self, name: &str) -> Result<Option<CellColumn>> {
        if !self.obs.columns.iter().any(|column| column == name) {
            return Ok(None);
        }
        let Some(column) = column(self.file.as_ref(), self.obs.path, name)? else {
            return Ok(None);
        };
        if column.len() != self.n_cells() {
            let path = format!("{}/{name}", self.obs.path);
            let problem = format_args!("{} values; wanted {}", column.len(), self.n_cells());
            return Err(self.file.wrong(path, problem));
        }
        column.read().map(Some)
    }

    fn embeddings(&self) -> &[String] {
        &self.embeddings
    }

    fn embedding(&self, name: &str) -> Result<Option<CellEmbedding>> {
        if !self.embeddings.iter().any(|embedding| embedding == name) {
            return Ok(None);
        }
        let Some(array) = embedding(self.file.as_ref(), name)? else {
            return Ok(None);
        };
        let n_cols = array.shape().get(1).copied().unwrap_or(0);
        let n_cols = usize::try_from(n_cols).unwrap_or(usize::MAX);
        let mut values = Vec::new();
        array.read(&[0..self.n_cells(), 0..n_cols], Numbers::Values(&mut values))?;
        Ok(Some(CellEmbedding { n_cols, values }))
    }
}

fn read_dense(array: &dyn Array, cells: Range<usize>, n_genes: usize) -> Result<SparseRows> {
    let mut rows = SparseRows {
        offsets: vec![0],
        ..SparseRows::default()
    };
    let step = (PIECE_LEN / n_genes).max(1);
    let mut dense = Vec::new();
    for start in cells.clone().step_by(step) {
        dense.clear();
        let piece = start..cells.end.min(start + step);
        array.read(&[piece, 0..n_genes], Numbers::Values(&mut dense))?;
        for row in dense.chunks_exact(n_genes) {
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

/// Opens a matrix and checks that its parts fit together and to the names.
fn open_matrix(file: &dyn Container, path: &str, n_cells: usize, (var, n_genes): (&str, usize)) -> Result<Rows> {
    let (shape, dense, by_row) = match file.node(path)? {
        None => return Err(file.wrong(path, "missing")),
        Some(Node::Group) => {
            let format = match file.text_attribute(path, "encoding-type")? {
                Some(format) => format,
                None => file.text_attribute(path, "h5sparse_format")?.unwrap_or_default(),
            };
            let by_row = match format.as_str() {
                "csr_matrix" | "csr" => true,
                "csc_matrix" | "csc" => false,
                _ => {
                    let problem = format_args!("a group of type `{format}`; wanted csr_matrix, csc_matrix or an array");
                    return Err(file.wrong(path, problem));
                }
            };
            let shape = match file.index_attribute(path, "shape")? {
                Some(shape) => Some(shape),
                None => file.index_attribute(path, "h5sparse_shape")?,
            };
            (shape.ok_or_else(|| file.wrong(path, "no attribute shape"))?, None, by_row)
        }
        Some(_) => {
            let array = file.array(path)?;
            array.check(Kind::Value)?;
            let size = |&n: &u64| i64::try_from(n).unwrap_or(i64::MAX);
            (array.shape().iter().map(size).collect(), Some(array), true)
        }
    };
    let &[n_rows, n_cols] = shape.as_slice() else {
        return Err(file.wrong(path, format_args!("{} dimensions; wanted two", shape.len())));
    };
    for (n, names, n_names, what) in [(n_rows, "obs", n_cells, "rows"), (n_cols, var, n_genes, "columns")] {
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
    match dense {
        Some(array) => Ok(Rows::Dense(array)),
        None if by_row => Ok(Rows::Csr(Sparse::open(file, path, n_cells, n_genes)?)),
        None => {
            let sparse = Sparse::open(file, path, n_genes, n_cells)?;
            Ok(Rows::Csc(Turned::open(sparse, n_cells, n_genes)?))
        }
    }
}

/// Every matrix of the file, in the order `X`, `raw/X`, layers.
fn candidates(file: &dyn Container) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for (name, path, var) in [
        ("X", "X", "var"),
        ("raw/X", "raw/X", "raw/var"),
        ("raw/X", "raw.X", "raw.var"),
    ] {
        if file.node(path)?.is_some() && file.text_attribute(path, "encoding-type")?.as_deref() != Some("null") {
            candidates.push(Candidate {
                name: name.to_owned(),
                path: path.to_owned(),
                var,
            });
        }
    }
    for name in file.members("layers")? {
        let path = format!("layers/{name}");
        candidates.push(Candidate {
            name: path.clone(),
            path,
            var: "var",
        });
    }
    Ok(candidates)
}

/// The base of the logarithm that scanpy took, where `uns/log1p` says so; without a number there it is the natural one.
fn log_base(file: &dyn Container) -> Result<Option<f64>> {
    if file.node("uns/log1p")?.is_none() {
        return Ok(None);
    }
    let said = match file.node("uns/log1p/base")? {
        Some(Node::Array(array)) => array.number()?,
        _ => None,
    };
    Ok(Some(said.filter(|base| *base > 1.0).unwrap_or(std::f64::consts::E)))
}

/// The two-dimensional numbers in `obsm`.
fn embeddings(file: &dyn Container, n_cells: usize) -> Result<Vec<String>> {
    let names = match file.node("obsm")? {
        Some(Node::Records(fields)) => fields.into_iter().map(|(name, _)| name).collect(),
        _ => file.members("obsm")?,
    };
    let fits = |name: &String| {
        let Some(array) = embedding(file, name)? else {
            return Ok(false);
        };
        let is_matrix = matches!(*array.shape(), [rows, columns] if rows == n_cells as u64 && columns > 0);
        Ok(is_matrix && array.gives(Kind::Value))
    };
    let fitting = names.into_iter().map(|name| Ok(fits(&name)?.then_some(name)));
    fitting.filter_map(Result::transpose).collect()
}

fn embedding(file: &dyn Container, name: &str) -> Result<Option<Arc<dyn Array>>> {
    Ok(match file.node("obsm")? {
        Some(Node::Records(fields)) => fields.into_iter().find(|field| field.0 == name).map(|field| field.1),
        _ => match file.node(&format!("obsm/{name}"))? {
            Some(Node::Array(array)) => Some(array),
            _ => None,
        },
    })
}

impl Table {
    fn open(file: &dyn Container, path: &'static str) -> Result<Self> {
        let (name, names) = match file.node(path)? {
            None => return Err(file.wrong(path, "missing")),
            Some(Node::Array(array)) => {
                return Err(file.wrong(path, format_args!("of type {}; wanted a table", array.type_name())));
            }
            Some(Node::Group) => {
                let index = file.text_attribute(path, "_index")?;
                (index.unwrap_or_else(|| "_index".to_owned()), file.members(path)?)
            }
            Some(Node::Records(fields)) => {
                let names: Vec<String> = fields.into_iter().map(|field| field.0).collect();
                let index = names
                    .iter()
                    .find(|name| *name == "index" || *name == "_index")
                    .or(names.first());
                let index = index.ok_or_else(|| file.wrong(path, "no column of names"))?;
                (index.clone(), names)
            }
        };
        let place = format!("{path}/{name}");
        let Some(index) = column(file, path, &name)? else {
            return Err(match file.node(&place)? {
                Some(_) => file.wrong(place, "neither texts nor numbers; wanted names"),
                None => file.wrong(place, "missing"),
            });
        };
        Ok(Self {
            path,
            index: Arc::new(index),
            columns: names
                .into_iter()
                .filter(|column| *column != name && !column.starts_with("__"))
                .collect(),
            name,
        })
    }
}

/// One column of `obs` or `var`.
fn column(file: &dyn Container, table: &str, name: &str) -> Result<Option<Column>> {
    match file.node(table)? {
        Some(Node::Records(fields)) => {
            let Some((_, array)) = fields.into_iter().find(|field| field.0 == name) else {
                return Ok(None);
            };
            // anndata 0.6 keeps what the codes of a column mean elsewhere.
            let categories = match table {
                "raw.var" => format!("raw.cat/{name}_categories"),
                _ => format!("uns/{name}_categories"),
            };
            Column::of(file, array, Some(&categories))
        }
        // anndata 0.7 keeps it beside the columns.
        _ => Column::open(
            file,
            &format!("{table}/{name}"),
            Some(&format!("{table}/__categories/{name}")),
        ),
    }
}

/// The index of `var` and every other column of text in it.
fn gene_columns(file: &dyn Container, path: &'static str) -> Result<Vec<GeneColumn>> {
    let table = Table::open(file, path)?;
    let n_genes = table.index.len();
    if n_genes > MAX_GENES {
        return Err(file.wrong(path, format_args!("{n_genes} genes; no matrix has more than {MAX_GENES}")));
    }
    let mut columns = vec![GeneColumn {
        name: table.name,
        genes: table.index.texts(0..n_genes)?,
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
            genes: column.texts(0..n_genes)?,
            name,
        });
    }
    Ok(columns)
}

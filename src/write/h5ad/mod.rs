//! `.h5ad` files: the user's own with our answers added, or a new one of any matrix. anndata's on-disk format 0.1.0.

mod column;
mod element;
mod matrix;
mod uns;

use super::columns::{RUN, RUN_COLUMNS, is_own};
use super::hdf5::{Array, Attribute, Existing, Group, Root, SAVE_AGAIN, Space, Type, invalid};
use super::{ResultColumn, ResultEmbedding, TableWriter, check_lengths};
use crate::cells::CellMatrix;
use crate::error::{Error, Result};
use column::Column;
use element::{encode, encoding};
use serde_json::{Map, Value};
use std::fmt::{self, Debug, Formatter};
use std::io::{self, Read, Seek, Write};

/// Columns that the names of `obs` may have: more do not fit into the attribute that lists them.
const MAX_COLUMNS: usize = 4000;
/// A file that declares more is broken.
const MAX_CELLS: u64 = u32::MAX as u64;
/// An embedding of more numbers a cell is none.
const MAX_EMBEDDING_COLS: usize = 1 << 16;

/// What will be added to a file: its names are checked before anything is computed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Additions {
    /// Columns of `obs`, in order; as [`super::columns`] names them.
    pub columns: Vec<String>,
    /// Keys of `obsm`.
    pub embeddings: Vec<String>,
    /// Whether the results of an earlier run of ours, as `uns/scdiva/columns` lists them, are taken out first. Nothing else ever is.
    pub replace_own: bool,
}

/// Writes answers into a `.h5ad` file, over anything that can be read, written and sought: a file, or bytes in memory.
///
/// Answers come in blocks of cells, in the file's order, and go to the file as they come; columns and embeddings need not come at the same
/// time. Up to the last step of [`H5adWriter::complete`] the file is, to every reader, what it was.
///
/// ```
/// use scdiva::read::{self, Files};
/// use scdiva::write::{ResultColumn, ResultValues, TableWriter, h5ad::{Additions, H5adWriter}};
/// use std::{io::Cursor, sync::Arc};
/// let text = "cell,CD3D,MS4A1\nAAAC,3,0\nAAAG,0,5\n";
/// let matrix = read::open(&Files::one("counts.csv", Arc::new(text)), &Default::default(), None)?;
/// let additions = Additions { columns: vec!["scdiva_confidence".into()], ..Default::default() };
/// let mut writer = H5adWriter::create("counts.h5ad", Cursor::new(vec![]), matrix.as_ref(), &additions, &mut |_| Ok(()))?;
/// let confidence = ResultColumn { name: "scdiva_confidence".into(), values: ResultValues::Numbers(vec![0.5, 0.75]) };
/// writer.write_block(&matrix.cell_names(0..2)?, &[confidence])?;
/// let file = writer.complete()?.into_inner();
///
/// let written = read::open(&Files::one("counts.h5ad", Arc::new(file)), &Default::default(), None)?;
/// assert_eq!(written.read_rows(1..2)?.row(0), (&[1][..], &[5.0][..]));
/// assert_eq!(written.cell_columns(), ["scdiva_confidence"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct H5adWriter<F> {
    name: String,
    root_place: Root,
    space: Space<F>,
    n_cells: u64,
    root: Group,
    obs: Group,
    obsm: Group,
    uns: Group,
    /// The attribute `column-order`, where the file has it.
    order: Option<Vec<String>>,
    columns: Vec<(String, Option<Column>)>,
    embeddings: Vec<(String, Option<Array>)>,
    run: Map<String, Value>,
}

impl<F> Debug for H5adWriter<F> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("H5adWriter")
            .field("name", &self.name)
            .field("n_cells", &self.n_cells)
            .finish_non_exhaustive()
    }
}

impl<F: Read + Write + Seek + Send + 'static> H5adWriter<F> {
    /// Opens a `.h5ad` file to add to it. All that stands in it stays to the bit, groups of every layout and age with it; only the tables
    /// of anndata 0.6 and older cannot get new columns. `name` is what the user calls the file.
    ///
    /// # Errors
    /// [`Error::File`] when a name exists already, when the file is not an `.h5ad` or is broken, or when it is one that cannot be added
    /// to, with what the user can do; [`Error::Argument`] for names that `AnnData` or `CELLxGENE` do not allow.
    pub fn open(name: &str, file: F, additions: &Additions) -> Result<Self> {
        additions.check()?;
        let existing = Existing::open(name, file)?;
        let root = existing.root()?;
        for table in ["obs", "obsm", "uns"] {
            if existing.is_dataset(table) {
                let problem = format!("a table of anndata 0.6 or older, to which no column can be added; {SAVE_AGAIN}");
                return Err(existing.wrong(table, problem));
            }
        }
        let obs = existing.group(&root, "obs")?;
        let mut obs = obs.ok_or_else(|| existing.wrong("obs", "missing; wanted an .h5ad file"))?;
        let mut obsm = existing.group(&root, "obsm")?.unwrap_or_default();
        let mut uns = existing.group(&root, "uns")?.unwrap_or_default();
        let list = |name: &str| {
            obs.attribute(name)
                .map(|attribute| existing.texts("obs", attribute))
                .transpose()
        };
        let mut order = list("column-order")?;
        let index = list("_index")?
            .and_then(|names| names.into_iter().next())
            .unwrap_or_else(|| "_index".to_owned());
        let n_cells = existing.len(&index_values(&existing, &format!("obs/{index}")))?;
        if n_cells > MAX_CELLS {
            return Err(existing.wrong(
                format_args!("obs/{index}"),
                format_args!("{n_cells} cells; no file has more than {MAX_CELLS}"),
            ));
        }
        if order.as_ref().map_or(0, Vec::len) + additions.columns.len() > MAX_COLUMNS {
            return Err(existing.wrong("obs", format_args!("more than {MAX_COLUMNS} columns; {SAVE_AGAIN}")));
        }

        if additions.replace_own
            && let Some(run) = existing.group(&uns, "uns/scdiva")?
        {
            let columns = match run.target(RUN_COLUMNS) {
                Some(_) if existing.is_dataset("uns/scdiva/columns") => None,
                _ => existing.group(&run, "uns/scdiva/columns")?,
            };
            let Some(columns) = columns else {
                return Err(existing.wrong(
                    "uns/scdiva",
                    "it does not list columns, so no run of scdiva wrote it; rename or remove it",
                ));
            };
            for own in columns.names().filter(|name| is_own(name)) {
                obs.unlink(own);
                obsm.unlink(own);
                order.iter_mut().for_each(|order| order.retain(|column| column != own));
            }
            uns.unlink(RUN);
        }
        let columns = additions.columns.iter().map(|name| ("obs", &obs, name.as_str()));
        let embeddings = additions.embeddings.iter().map(|name| ("obsm", &obsm, name.as_str()));
        for (place, group, name) in columns.chain(embeddings).chain([("uns", &uns, RUN)]) {
            if group.target(name).is_some() {
                let problem = if additions.replace_own {
                    "exists already, and uns/scdiva/columns does not list it, so it is not of an earlier run of scdiva; rename or remove it"
                } else {
                    "exists already, and nothing is overwritten; if it is the result of an earlier run, ask for it to be replaced (`--replace`)"
                };
                return Err(existing.wrong(format_args!("{place}/{name}"), problem));
            }
        }

        let (root_place, mut space) = existing.into_space()?;
        for (group, is_new) in [
            (&mut obsm, root.target("obsm").is_none()),
            (&mut uns, root.target("uns").is_none()),
        ] {
            if is_new {
                encode(&mut space, group, "dict", "0.1.0").map_err(|source| io_error(name, source))?;
            }
        }
        Ok(Self::new(
            name,
            (root_place, space),
            n_cells,
            [root, obs, obsm, uns],
            order,
            additions,
        ))
    }

    /// Writes a new `.h5ad` of a matrix: `X` as compressed CSR, sorted, `obs` with all that the matrix knows of its cells, `var` with all columns that
    /// name genes, and `obsm`. The matrix is read block by block; `progress` hears how many cells are written and may stop it.
    ///
    /// # Errors
    /// What the matrix and `progress` say; [`Error::Io`] from `file`; [`Error::File`] when the matrix has a column of a name that is to be
    /// added; [`Error::Argument`] for names that `AnnData` or `CELLxGENE` do not allow.
    pub fn create(
        name: &str,
        file: F,
        matrix: &dyn CellMatrix,
        additions: &Additions,
        progress: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Self> {
        additions.check()?;
        for (place, old, new) in [
            ("obs", matrix.cell_columns(), &additions.columns),
            ("obsm", matrix.embeddings(), &additions.embeddings),
        ] {
            if let Some(name) = old.iter().find(|name| new.contains(name)) {
                let problem = "exists already, and nothing is overwritten; add to the file itself instead of writing a new one";
                return Err(Error::file(matrix.file(), format_args!("{place}/{name}"), problem));
            }
        }
        let (root_place, mut space) = Root::new(file);
        let written = matrix::write(name, &mut space, matrix, progress)?;
        let matrix::Written {
            root,
            obs,
            obsm,
            uns,
            order,
        } = written;
        let groups = [root, obs, obsm, uns];
        Ok(Self::new(
            name,
            (root_place, space),
            matrix.n_cells() as u64,
            groups,
            Some(order),
            additions,
        ))
    }

    fn new(
        name: &str,
        (root_place, space): (Root, Space<F>),
        n_cells: u64,
        [root, obs, obsm, uns]: [Group; 4],
        order: Option<Vec<String>>,
        additions: &Additions,
    ) -> Self {
        Self {
            name: name.to_owned(),
            root_place,
            space,
            n_cells,
            root,
            obs,
            obsm,
            uns,
            order,
            columns: additions.columns.iter().map(|name| (name.clone(), None)).collect(),
            embeddings: additions.embeddings.iter().map(|name| (name.clone(), None)).collect(),
            run: Map::new(),
        }
    }

    /// Number of cells in the file, each of which wants its answers.
    #[must_use]
    pub fn n_cells(&self) -> u64 {
        self.n_cells
    }

    /// Writes the embeddings of the next cells.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for an embedding that was not announced, of another width than before, not of whole rows, or of
    /// more cells than the file has; what the file says.
    pub fn write_embedding(&mut self, embedding: &ResultEmbedding<'_>) -> io::Result<()> {
        let ResultEmbedding { name, n_cols, values } = *embedding;
        let Some((_, array)) = self.embeddings.iter_mut().find(|(known, _)| known == name) else {
            return Err(invalid(format!("the embedding {name} was not announced")));
        };
        if !(1..=MAX_EMBEDDING_COLS).contains(&n_cols) || !values.len().is_multiple_of(n_cols) {
            return Err(invalid(format!("{name}: {} numbers are not rows of {n_cols}", values.len())));
        }
        let dims = [self.n_cells, n_cols as u64];
        let array = array.get_or_insert_with(|| Array::reserve(&mut self.space, Type::F32, &dims));
        if array.dims() != dims {
            return Err(invalid(format!(
                "{name}: rows of {n_cols}; they were {} long before",
                array.dims()[1]
            )));
        }
        array.write(&mut self.space, bytemuck::cast_slice(values))
    }

    /// Sets what `uns/scdiva` says of the run: a mapping, possibly nested, of texts, numbers, truths and lists of one of these. A null is left
    /// out. `columns` is added, with the names of what was written.
    pub fn set_run(&mut self, run: Map<String, Value>) {
        self.run = run;
    }

    /// Links all that was written into the file, and gives it back.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when an answer is missing, or for a value in [`H5adWriter::set_run`] that has no place in a file; what
    /// the file says. The file is then as it was, with bytes behind its end that belong to nothing.
    pub fn complete(mut self) -> io::Result<F> {
        let space = &mut self.space;
        let missing = |name: &str, missing: u64| invalid(format!("{name}: {missing} of {} cells have no answer", self.n_cells));
        let mut written = Map::new();
        for (name, column) in self.columns {
            match column {
                Some(column) if column.missing() == 0 => {
                    let address = column.finish(space)?;
                    self.obs.link(&name, address)?;
                }
                column => return Err(missing(&name, column.map_or(self.n_cells, |column| column.missing()))),
            }
            self.order.iter_mut().for_each(|order| order.push(name.clone()));
            written.insert(name, "obs".into());
        }
        for (name, array) in self.embeddings {
            match array {
                Some(array) if array.missing() == 0 => {
                    let attributes = encoding(space, "array", "0.2.0")?;
                    self.obsm.link(&name, array.finish(space, &attributes)?)?;
                }
                array => {
                    let rows = array.map_or(self.n_cells, |array| array.missing() / array.dims()[1]);
                    return Err(missing(&name, rows));
                }
            }
            written.insert(name, "obsm".into());
        }
        if self.run.insert(RUN_COLUMNS.to_owned(), Value::Object(written)).is_some() {
            return Err(invalid(format!("uns/{RUN}/{RUN_COLUMNS} is not the caller's to set")));
        }
        self.uns.link(RUN, uns::write(space, RUN, &Value::Object(self.run))?)?;
        if let Some(order) = &self.order {
            self.obs.set(Attribute::texts(space, "column-order", order)?);
        }
        for (name, group) in [("obs", &self.obs), ("obsm", &self.obsm), ("uns", &self.uns)] {
            let address = group.write(space)?;
            self.root.link(name, address)?;
        }
        let root = self.root.write(space)?;
        self.root_place.publish(self.space, root)
    }
}

impl<F: Read + Write + Seek + Send + 'static> TableWriter for H5adWriter<F> {
    /// Columns may be any of those that were announced; each goes on where its last block ended.
    fn write_block(&mut self, cells: &[String], columns: &[ResultColumn]) -> io::Result<()> {
        check_lengths(cells, columns)?;
        for ResultColumn { name, values } in columns {
            let Some((_, column)) = self.columns.iter_mut().find(|(known, _)| known == name) else {
                return Err(invalid(format!("the column {name} was not announced")));
            };
            let column = match column {
                Some(column) => column,
                none => none.insert(Column::reserve(&mut self.space, self.n_cells, name, values)?),
            };
            column.write(&mut self.space, name, values)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.complete().map(drop)
    }
}

/// Where the values of the index of `obs` stand: a list, or a group with missing values or categories.
fn index_values<F: Read + Write + Seek + Send + 'static>(existing: &Existing<F>, path: &str) -> String {
    let within = ["codes", "values"].map(|part| format!("{path}/{part}"));
    within
        .into_iter()
        .find(|path| existing.is_dataset(path))
        .unwrap_or_else(|| path.to_owned())
}

fn io_error(file: &str, source: io::Error) -> Error {
    Error::Io {
        file: file.to_owned(),
        source,
    }
}

impl Additions {
    /// Names that `AnnData` and `CELLxGENE` allow, each once.
    fn check(&self) -> Result<()> {
        let refuse = |argument, name: &str, wanted: &str| {
            Err(Error::argument(
                "write h5ad",
                argument,
                format_args!("{name:?}; wanted {wanted}"),
            ))
        };
        for (i, name) in self.columns.iter().enumerate() {
            if name.is_empty() || name.starts_with("__") || name == "_index" || name.contains(['/', '\0']) {
                return refuse("columns", name, "a name without / that does not begin with __");
            }
            if self.columns[..i].contains(name) {
                return refuse("columns", name, "each name once");
            }
        }
        for (i, name) in self.embeddings.iter().enumerate() {
            let rest = name.strip_prefix("X_").unwrap_or_default();
            let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) || !rest.chars().all(fits) {
                return refuse("embeddings", name, "X_, a letter, then letters, digits, _, . and -");
            }
            if self.embeddings[..i].contains(name) {
                return refuse("embeddings", name, "each name once");
            }
        }
        Ok(())
    }
}

//! Readers: one file a format. They take a [`Source`], so that the same code reads files, bytes and a browser's blobs.

#[cfg(not(target_arch = "wasm32"))]
mod file;
mod filters;
mod h5_column;
mod h5ad;
mod hdf5;
mod loom;
mod table;
mod tenx_h5;

use crate::cells::{CellMatrix, Vocabulary};
use crate::error::{Error, Result};
use std::fmt::{self, Debug, Formatter};
use std::io;
use std::sync::Arc;

#[cfg(not(target_arch = "wasm32"))]
pub use file::{FileSource, folder};
pub use h5ad::H5ad;
pub use loom::Loom;
pub use table::Table;
pub use tenx_h5::TenxH5;

/// Bytes that can be read from any place: a file, memory, a browser's blob.
pub trait Source: Send + Sync {
    /// Length in bytes.
    fn size(&self) -> u64;
    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the source ends before `out` is full; anything that the system says.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
}

impl<T: AsRef<[u8]> + Send + Sync> Source for T {
    fn size(&self) -> u64 {
        self.as_ref().len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.as_ref();
        let start = usize::try_from(offset).ok().filter(|&start| start <= bytes.len());
        let end = start.and_then(|start| start.checked_add(out.len()));
        match start.zip(end).and_then(|(start, end)| bytes.get(start..end)) {
            Some(part) => {
                out.copy_from_slice(part);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// What the user hands over as one matrix: a file, or several that belong together (a folder, a 10x triplet, what a zip archive holds).
#[derive(Clone)]
pub struct Files {
    name: String,
    files: Vec<(String, Arc<dyn Source>)>,
}

impl Debug for Files {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.files.iter().map(|(name, _)| name.as_str()).collect();
        out.debug_struct("Files")
            .field("name", &self.name)
            .field("files", &names)
            .finish()
    }
}

impl Files {
    /// One file. `name` is how the user calls it, for errors and reports.
    #[must_use]
    pub fn one(name: &str, source: Arc<dyn Source>) -> Self {
        Self {
            name: name.to_owned(),
            files: vec![(name.to_owned(), source)],
        }
    }

    /// Several files; `name` is how the user calls the whole, and each has its own, with `/` between folders.
    #[must_use]
    pub fn many(name: &str, files: Vec<(String, Arc<dyn Source>)>) -> Self {
        Self {
            name: name.to_owned(),
            files,
        }
    }
}

/// What the user decides about how a matrix is read; by default all is found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Which matrix of the file: `X`, `raw/X`, or the name of a layer.
    pub layer: Option<String>,
}

/// Opens a matrix, whatever the format: what the bytes say counts, not what the file is called. `vocabulary` tells a table's genes
/// from its cells.
///
/// # Errors
/// [`Error::File`] when the format is not known; what [`H5ad::open`] and [`Table::open`] say.
///
/// ```
/// use scdiva::read::{self, Files};
/// use std::sync::Arc;
/// let text = "cell,CD3D,MS4A1\nAAAC,3,0\nAAAG,0,5\n";
/// let matrix = read::open(&Files::one("counts.csv", Arc::new(text)), &Default::default(), None)?;
/// assert_eq!((matrix.n_cells(), matrix.n_genes()), (2, 2));
/// assert_eq!(matrix.read_rows(1..2)?.row(0), (&[1][..], &[5.0][..]));
/// # Ok::<(), scdiva::Error>(())
/// ```
pub fn open(files: &Files, options: &OpenOptions, vocabulary: Option<&Vocabulary>) -> Result<Box<dyn CellMatrix>> {
    let [(name, source)] = files.files.as_slice() else {
        let problem = format!("{} files; wanted one", files.files.len());
        return Err(Error::file(&files.name, "files", problem));
    };
    let source = Arc::clone(source);
    let not_read = |what: &str| {
        Err(Error::file(
            name,
            "byte 0",
            format_args!("{what}; wanted .h5ad, .csv or .tsv"),
        ))
    };
    if source.size() == 0 {
        return not_read("the file is empty");
    }
    if is_hdf5(source.as_ref()) {
        return open_hdf5(name, source, options);
    }
    if let Some(layer) = &options.layer {
        return Err(Error::argument(
            "open",
            "layer",
            format_args!("{layer}: only HDF5 files have layers"),
        ));
    }
    let starts_with = |magic: &[u8]| {
        let mut start = [0; 6];
        let start = &mut start[..magic.len()];
        source.read_at(0, start).is_ok() && start == magic
    };
    if starts_with(b"PK\x03\x04") {
        return not_read("a zip archive, which must be unpacked first");
    }
    if [&b"BZh"[..], b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"].into_iter().any(starts_with) {
        return not_read("compressed in a way that is not read (bzip2, xz or Zstandard)");
    }
    if name.to_ascii_lowercase().ends_with(".h5ad") {
        return not_read("not an HDF5 file");
    }
    Ok(Box::new(Table::open(name, source, vocabulary)?))
}

/// What an HDF5 file is, is told by what it holds.
fn open_hdf5(name: &str, source: Arc<dyn Source>, options: &OpenOptions) -> Result<Box<dyn CellMatrix>> {
    let file = hdf5::File::open(name, source)?;
    if file.object("X")?.is_none() {
        if file.object("row_attrs")?.is_some() && file.object("matrix")?.is_some() {
            return Ok(Box::new(Loom::open(file, options)?));
        }
        let groups = TenxH5::groups(&file)?;
        if !groups.is_empty() {
            return Ok(Box::new(TenxH5::open(file, groups, options)?));
        }
        if file.object("assays")?.is_some() && file.object("cell.names")?.is_some() {
            let problem = "an .h5seurat file, which is not read; export it in R: SeuratDisk::Convert(file, dest = \"h5ad\")";
            return Err(file.wrong("assays", problem));
        }
    }
    Ok(Box::new(H5ad::from_file(file, options)?))
}

/// HDF5 starts at byte 0, or, behind a block of the user's, at 512, 1024, 2048, ….
fn is_hdf5(source: &dyn Source) -> bool {
    let places = std::iter::successors(Some(512_u64), |&place| place.checked_mul(2)).take_while(|&place| place < source.size());
    let mut magic = [0; 8];
    std::iter::once(0)
        .chain(places)
        .any(|place| source.read_at(place, &mut magic).is_ok() && magic == *b"\x89HDF\r\n\x1a\n")
}

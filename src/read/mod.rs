//! Readers: one file a format. They take a [`Source`], so that the same code reads files, bytes and a browser's blobs.

mod anndata;
mod blocks;
mod column;
mod container;
mod cursor;
mod features;
#[cfg(not(target_arch = "wasm32"))]
mod file;
mod filters;
mod fingerprint;
mod hdf5;
mod inflate;
mod loom;
mod mtx;
mod no_genes;
mod numbers;
mod sparse;
mod table;
mod tenx_h5;
mod zarr;
mod zip;

use crate::cells::{CellMatrix, Samples, Vocabulary, without_empty_droplets};
use crate::error::{Error, Result};
use container::Container;
use std::fmt::{self, Debug, Formatter};
use std::io;
use std::sync::Arc;

pub use anndata::AnnData;
pub use cursor::SourceCursor;
#[cfg(not(target_arch = "wasm32"))]
pub use file::{FileSource, folder};
pub use loom::Loom;
pub use mtx::Mtx;
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

/// What the user hands over as one matrix: a file, or several that belong together (a folder, a Zarr store, a 10x triplet, what a zip archive
/// holds).
#[derive(Clone)]
pub struct Files {
    name: String,
    files: Vec<(String, Arc<dyn Source>)>,
    /// Each with its name, where these are several matrices; `files` is empty then.
    samples: Vec<(String, Self)>,
}

impl Debug for Files {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.files.iter().map(|(name, _)| name.as_str()).collect();
        out.debug_struct("Files")
            .field("name", &self.name)
            .field("files", &names)
            .field("samples", &self.samples)
            .finish()
    }
}

impl Files {
    /// One file. `name` is how the user calls it, for errors and reports.
    #[must_use]
    pub fn one(name: &str, source: Arc<dyn Source>) -> Self {
        Self::many(name, vec![(name.to_owned(), source)])
    }

    /// Several files; `name` is how the user calls the whole, and each has its own, with `/` between folders.
    #[must_use]
    pub fn many(name: &str, files: Vec<(String, Arc<dyn Source>)>) -> Self {
        Self {
            name: name.to_owned(),
            files,
            samples: Vec::new(),
        }
    }

    /// Several matrices that are looked at together, each with the name of its sample: [`Samples`]. `name` is how the user calls the whole.
    #[must_use]
    pub fn samples(name: &str, samples: Vec<(String, Self)>) -> Self {
        Self {
            name: name.to_owned(),
            files: Vec::new(),
            samples,
        }
    }

    /// The same files as samples: the name of each, and how many are its, in order.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn split(&self, names: Vec<String>, n_files: impl Iterator<Item = usize>) -> Self {
        let mut rest = self.files.iter().cloned();
        let sample = |(name, n): (String, usize)| {
            let own: Vec<_> = rest.by_ref().take(n).collect();
            let whole = match own.as_slice() {
                [(only, _)] => only.clone(),
                _ => name.clone(),
            };
            (name, Self::many(&whole, own))
        };
        Self::samples(&self.name, names.into_iter().zip(n_files).map(sample).collect())
    }

    /// What the user calls the whole.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file, where it is one.
    #[must_use]
    pub fn only(&self) -> Option<(&str, &Arc<dyn Source>)> {
        match self.files.as_slice() {
            [(name, source)] => Some((name, source)),
            _ => None,
        }
    }
}

/// What the user decides about how a matrix is read; by default all is found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Which matrix of the file: `X`, `raw/X`, or the name of a layer.
    pub layer: Option<String>,
    /// The least counts of a cell; barcodes with fewer are left out. By default only the empty droplets of an unfiltered matrix are, and 0
    /// keeps these too: [`without_empty_droplets`].
    pub min_counts: Option<u64>,
}

/// Opens a matrix, whatever the format: what the bytes say counts, not what the file is called. `vocabulary` tells a table's genes
/// from its cells. Empty droplets are left out, which [`CellMatrix::droplets`] tells. Samples are joined: [`Samples`].
///
/// # Errors
/// [`Error::File`] when the format is not known, or there is not exactly one matrix; what [`AnnData::open`], [`Table::open`],
/// [`without_empty_droplets`] and [`Samples::join`] say.
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
    if !files.samples.is_empty() {
        let opened = files.samples.iter();
        let opened = opened.map(|(name, sample)| Ok((name.clone(), open(sample, options, vocabulary)?)));
        return Ok(Box::new(Samples::join(&files.name, opened.collect::<Result<_>>()?)?));
    }
    let genes = no_genes::without_no_genes(open_all(files, options, vocabulary)?);
    without_empty_droplets(genes, options.min_counts)
}

/// With every barcode.
fn open_all(files: &Files, options: &OpenOptions, vocabulary: Option<&Vocabulary>) -> Result<Box<dyn CellMatrix>> {
    match files.files.as_slice() {
        [(name, _)] if ends(name, &[".xlsx"]) => Err(Error::file(
            name,
            "byte 0",
            "an Excel file; save the sheet as .csv, and beware: Excel turns gene names such as SEPT2 into dates",
        )),
        [(_, source)] if starts_with(source.as_ref(), b"PK\x03\x04") => {
            let entries = zip::entries(&files.name, source)?;
            open_several(&files.name, &entries, options, vocabulary)
        }
        [(name, source)] if !matches!(part(name), Some((_, Part::Entries))) && !zarr::is_metadata(name) => {
            open_one(name, source, options, vocabulary)
        }
        several => open_several(&files.name, several, options, vocabulary),
    }
}

/// What a file is to a 10x matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Entries,
    Features,
    Barcodes,
}

/// A file of a 10x matrix, by its name in whatever case: what stands before, and what it is. kallisto's end with `.txt`.
fn part(name: &str) -> Option<(&str, Part)> {
    let lower = name.to_ascii_lowercase();
    let plain = lower.strip_suffix(".gz").unwrap_or(&lower);
    [
        ("matrix.mtx", Part::Entries),
        (".mtx", Part::Entries),
        ("features.tsv", Part::Features),
        ("genes.tsv", Part::Features),
        (".genes.txt", Part::Features),
        ("barcodes.tsv", Part::Barcodes),
        (".barcodes.txt", Part::Barcodes),
    ]
    .into_iter()
    .find_map(|(end, part)| {
        Some((
            name.get(..plain.strip_suffix(end)?.len())?.trim_end_matches(['_', '.', '-']),
            part,
        ))
    })
}

/// Whether a name, in whatever case and with or without `.gz`, ends in one of these ways.
fn ends(name: &str, ends: &[&str]) -> bool {
    let lower = name.to_ascii_lowercase();
    let plain = lower.strip_suffix(".gz").unwrap_or(&lower);
    ends.iter().any(|end| plain.ends_with(end))
}

fn is_text(name: &str) -> bool {
    ends(name, &[".csv", ".tsv", ".txt"])
}

/// Whether a file of a folder or archive may be a matrix or a part of one, by its name.
fn may_be_matrix(name: &str) -> bool {
    let own = name.rsplit('/').next().unwrap_or_default();
    // macOS leaves `._name` beside a file that it packs.
    !own.starts_with('.') && (is_text(name) || ends(name, &[".mtx", ".h5ad", ".h5", ".loom"]))
}

/// Opens the one matrix that several files hold.
fn open_several(
    whole: &str,
    files: &[(String, Arc<dyn Source>)],
    options: &OpenOptions,
    vocabulary: Option<&Vocabulary>,
) -> Result<Box<dyn CellMatrix>> {
    let of = |wanted: Part| {
        let parts = files.iter().filter_map(move |file| Some((part(&file.0)?, file)));
        parts
            .filter(move |((_, part), _)| *part == wanted)
            .map(|((prefix, _), file)| (prefix, file))
    };
    let entries: Vec<_> = of(Part::Entries).collect();
    // Texts beside a `.mtx` are what else is known.
    let is_other = |name: &str| part(name).is_none() && may_be_matrix(name) && (entries.is_empty() || !is_text(name));
    let others: Vec<_> = files.iter().filter(|(name, _)| is_other(name)).collect();
    let stores = zarr::roots(files);
    let names = || {
        let names = entries.iter().map(|(_, file)| file.0.as_str());
        names
            .chain(others.iter().map(|file| file.0.as_str()))
            .chain(stores.iter().map(|root| if root.is_empty() { whole } else { root }))
            .take(8)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (entries.as_slice(), others.as_slice(), stores.as_slice()) {
        ([], [], [root]) => {
            let store = Arc::new(zarr::Store::open(whole, root, files));
            Ok(Box::new(AnnData::from_container(store, options)?))
        }
        (&[(prefix, entries)], [], []) => {
            // Called as the user can find it; a file that was given itself has the name already.
            let called = |(name, source): &(String, Arc<dyn Source>)| {
                let name = if entries.0 == whole {
                    name.clone()
                } else {
                    format!("{whole}/{name}")
                };
                (name, Arc::clone(source))
            };
            // The only one will do, or the one with the same beginning.
            let beside = |wanted: Part, what: &str| {
                let all: Vec<_> = of(wanted).collect();
                let found = match all.as_slice() {
                    [(_, file)] => Some(*file),
                    several => several.iter().find(|(other, _)| *other == prefix).map(|(_, file)| *file),
                };
                found.map(called).ok_or_else(|| {
                    let between = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "_" };
                    let problem =
                        format!("no {what} beside it; wanted {prefix}{between}{what}, or the folder or .zip of all three files");
                    Error::file(&called(entries).0, "10x matrix", problem)
                })
            };
            let features = beside(Part::Features, "features.tsv (or genes.tsv)")?;
            let barcodes = beside(Part::Barcodes, "barcodes.tsv")?;
            if let Some(layer) = options.layer.as_ref().filter(|layer| *layer != "X") {
                let problem = format!("{layer}: a 10x matrix has no layers");
                return Err(Error::argument("open", "layer", problem));
            }
            Ok(Box::new(Mtx::open(whole, called(entries), features, barcodes)?))
        }
        ([], [(name, source)], []) => open_one(&format!("{whole}/{name}"), source, options, vocabulary),
        ([], [], []) if files.iter().any(|(name, _)| zarr::is_metadata(name)) => Err(Error::file(
            whole,
            "obs, var",
            "a Zarr store without them; wanted AnnData, as adata.write_zarr(path) makes it",
        )),
        ([], [], []) => Err(Error::file(
            whole,
            "files",
            format_args!(
                "{} files, none of them a matrix; wanted an .h5ad, .zarr, .csv or .tsv, or matrix.mtx, features.tsv and barcodes.tsv",
                files.len()
            ),
        )),
        _ => Err(Error::file(
            whole,
            "files",
            format_args!(
                "{} matrices ({}); wanted one: give that file itself",
                entries.len() + others.len() + stores.len(),
                names()
            ),
        )),
    }
}

/// The file itself, or what its gzip holds.
fn unpacked((name, source): (String, Arc<dyn Source>)) -> Result<(String, Arc<dyn Source>)> {
    if !starts_with(source.as_ref(), b"\x1f\x8b") {
        return Ok((name, source));
    }
    match inflate::Inflated::open(source, inflate::Wrapping::Gzip) {
        Ok(inflated) => Ok((name, Arc::new(inflated))),
        Err(error) => Err(mtx::read_error(&name, error)),
    }
}

fn starts_with(source: &dyn Source, magic: &[u8]) -> bool {
    let mut start = [0; 6];
    let start = &mut start[..magic.len()];
    source.read_at(0, start).is_ok() && start == magic
}

fn open_one(
    name: &str,
    source: &Arc<dyn Source>,
    options: &OpenOptions,
    vocabulary: Option<&Vocabulary>,
) -> Result<Box<dyn CellMatrix>> {
    let source = Arc::clone(source);
    let not_read = |what: &str| {
        Err(Error::file(
            name,
            "byte 0",
            format_args!("{what}; wanted .h5ad, .h5, .mtx, .loom, .zarr, .csv or .tsv"),
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
            format_args!("{layer}: only HDF5 files and Zarr stores have layers"),
        ));
    }
    let starts_with = |magic: &[u8]| starts_with(source.as_ref(), magic);
    if starts_with(b"PK\x03\x04") {
        return not_read("a zip archive inside another, or an Excel file");
    }
    if ends(name, &[".rds", ".rda", ".rdata"]) || starts_with(b"RDX") || starts_with(b"X\n\0\0\0") {
        return not_read("an R object; save it from R with zellkonverter::writeH5AD, or DropletUtils::write10xCounts");
    }
    if ends(name, &[".tar", ".tgz"]) {
        return not_read("a tar archive; unpack it and give the folder");
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
    let file: Arc<dyn Container> = Arc::new(hdf5::File::open(name, source)?);
    if file.node("X")?.is_none() {
        if file.node("row_attrs")?.is_some() && file.node("matrix")?.is_some() {
            return Ok(Box::new(Loom::open(file, options)?));
        }
        let groups = TenxH5::groups(file.as_ref())?;
        if !groups.is_empty() {
            return Ok(Box::new(TenxH5::open(file, groups, options)?));
        }
        if file.node("assays")?.is_some() && file.node("cell.names")?.is_some() {
            let problem = "an .h5seurat file, which is not read; export it in R: SeuratDisk::Convert(file, dest = \"h5ad\")";
            return Err(file.wrong("assays", problem));
        }
    }
    Ok(Box::new(AnnData::from_container(file, options)?))
}

/// HDF5 starts at byte 0, or, behind a block of the user's, at 512, 1024, 2048, ….
fn is_hdf5(source: &dyn Source) -> bool {
    let places = std::iter::successors(Some(512_u64), |&place| place.checked_mul(2)).take_while(|&place| place < source.size());
    let mut magic = [0; 8];
    std::iter::once(0)
        .chain(places)
        .any(|place| source.read_at(place, &mut magic).is_ok() && magic == *b"\x89HDF\r\n\x1a\n")
}

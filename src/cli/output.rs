//! Files that appear under their name only when they are complete.

use super::interrupt;
use scdiva::write::file::NewFile;
use scdiva::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What stands for stdout where a file is wanted.
pub(super) const STDOUT: &str = "-";

/// Where a result goes: checked before anything long begins, written at the end.
#[derive(Debug, Clone)]
pub(super) struct OutputPath {
    path: PathBuf,
    /// What is replaced; `None` for devices and pipes, which are written to.
    target: Option<PathBuf>,
    /// Whether there was a file before.
    was_there: bool,
}

impl OutputPath {
    /// Looks whether there can be a file.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made there; [`Error::Argument`] when it is a folder by its name, one of `inputs`, or in one.
    pub(super) fn check(path: &Path, inputs: &[&Path]) -> Result<Self> {
        let failed = super::session::io_error(path);
        if path == Path::new(STDOUT) {
            return Err(Error::Argument {
                operation: "write",
                argument: "output",
                problem: format!("{STDOUT}, which is not the name of a file; wanted one (`./{STDOUT}` for a file of this name)"),
            });
        }
        if is_folder(path) {
            return Err(Error::Argument {
                operation: "write",
                argument: "output",
                problem: format!("{} is a folder; wanted the name of a file", path.display()),
            });
        }
        let there = fs::metadata(path).ok();
        if there.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let path = path.to_owned();
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            return Ok(Self {
                path,
                target: None,
                was_there: false,
            });
        }
        // A link stays a link: what it points to is replaced.
        let target = match &there {
            Some(_) => fs::canonicalize(&path).map_err(&failed)?,
            None => path.clone(),
        };
        if there.is_some() && inputs.iter().any(|input| is_read_for(input, &target)) {
            return Err(Error::Argument {
                operation: "write",
                argument: "output",
                problem: format!("{} is the input; wanted another file", path.display()),
            });
        }
        // All that is in a store is the input, so that a result, or what is not complete of it, would change it.
        let is_store = |folder: &Path| [".zgroup", "zarr.json"].iter().any(|name| folder.join(name).is_file());
        let folder = std::path::absolute(&target)
            .ok()
            .and_then(|target| target.parent()?.canonicalize().ok());
        let is_inside = |input: &Path| {
            fs::canonicalize(input).is_ok_and(|input| folder.as_ref().is_some_and(|folder| folder.starts_with(input)))
        };
        let is_in_store = |input: &Path| {
            let mut stores = folders(input).into_iter().filter(|folder| is_store(folder));
            stores.any(|store| is_inside(&store))
        };
        if let Some(input) = inputs.iter().find(|input| is_in_store(input)) {
            return Err(Error::Argument {
                operation: "write",
                argument: "output",
                problem: format!(
                    "{} is inside the input, {}; wanted another folder",
                    path.display(),
                    input.display()
                ),
            });
        }
        if target.file_name().is_none() {
            return Err(failed(io::ErrorKind::InvalidFilename.into()));
        }
        let was_there = there.is_some();
        // A file that may not be written must not be replaced either, although its folder would allow it; to root all may be written.
        if there.is_some_and(|there| there.permissions().readonly()) {
            return Err(failed(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the file is read-only",
            )));
        }
        if target.exists() {
            OpenOptions::new().write(true).open(&target).map_err(&failed)?;
        }
        // Tried, since permissions are not all that may stand in the way; what is not published goes away.
        NewFile::create(&target)?;
        Ok(Self {
            path,
            target: Some(target),
            was_there,
        })
    }

    /// The file's name as the user gave it.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// What is replaced; `None` for a device.
    pub(super) fn target(&self) -> Option<&Path> {
        self.target.as_deref()
    }

    /// Says that the result took the place of a file, which may have been the result of another input.
    pub(super) fn say_if_replaced(&self) {
        if self.was_there {
            say!("{}: replaced", self.path.display());
        }
    }

    /// A file beside this one for what is not complete yet; `None` beside a device.
    pub(super) fn beside(&self, what: &str) -> Option<PathBuf> {
        let target = self.target.as_ref()?;
        let mut name = target.file_name()?.to_owned();
        name.push(".");
        name.push(what);
        Some(target.with_file_name(name))
    }

    /// Begins to write.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn create(&self) -> Result<OutputFile> {
        let failed = super::session::io_error(&self.path);
        let new = self.target.as_deref().map(NewFile::create).transpose()?;
        let file = match &new {
            Some(new) => new.open()?,
            None => OpenOptions::new().write(true).open(&self.path).map_err(failed)?,
        };
        Ok(OutputFile {
            out: BufWriter::new(file),
            place: self.clone(),
            new,
        })
    }
}

/// Names, in whatever case and with or without `.gz`, of what a 10x matrix is read from.
const PARTS_OF_10X: [&str; 6] = [
    ".mtx",
    "features.tsv",
    "genes.tsv",
    ".genes.txt",
    "barcodes.tsv",
    ".barcodes.txt",
];
/// Other matrices that are found in a folder, and texts, which are one only where there is no `.mtx`.
const MATRICES: [&str; 3] = [".h5ad", ".h5", ".loom"];
const TEXTS: [&str; 3] = [".csv", ".tsv", ".txt"];

/// Whether the file at `target`, which leads through no link, is read when `input` is: itself, the file of a folder, or one beside a `.mtx`.
fn is_read_for(input: &Path, target: &Path) -> bool {
    let is_target = |path: &Path| fs::canonicalize(path).is_ok_and(|path| path == target);
    let is_called = |path: &Path, endings: &[&str]| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        endings.iter().any(|ending| plain.ends_with(ending))
    };
    if is_target(input) {
        return true;
    }
    let beside = if input.is_dir() {
        folders(input)
    } else if is_called(input, &[".mtx"]) {
        input.parent().map(Path::to_owned).into_iter().collect()
    } else {
        return false;
    };
    let files: Vec<PathBuf> = beside.iter().flat_map(|folder| entries(folder)).collect();
    let has_10x = files.iter().any(|file| is_called(file, &[".mtx"]));
    let is_read = |file: &Path| {
        is_called(file, &PARTS_OF_10X)
            || (input.is_dir() && (is_called(file, &MATRICES) || (!has_10x && is_called(file, &TEXTS))))
    };
    files.iter().any(|file| is_read(file) && is_target(file))
}

/// A folder and the folders in it, which are all that an input is looked for in.
fn folders(input: &Path) -> Vec<PathBuf> {
    let inner = entries(input).into_iter().filter(|entry| entry.is_dir());
    std::iter::once(input.to_owned()).chain(inner).collect()
}

/// What is in a folder; of what is none, or cannot be read, nothing, which is said when it is opened.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Whether a path says that it is a folder, whatever stands there.
pub(super) fn is_folder(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(std::path::is_separator)
}

/// A file that takes its place at the end: [`NewFile`]. Devices and pipes are written to directly.
#[derive(Debug)]
pub(super) struct OutputFile {
    out: BufWriter<File>,
    place: OutputPath,
    /// `None` for a device.
    new: Option<NewFile>,
}

impl OutputFile {
    /// As [`OutputPath::check`] and [`OutputPath::create`], for results that are written while they are computed.
    ///
    /// # Errors
    /// What they say.
    pub(super) fn create(path: &Path, inputs: &[&Path]) -> Result<Self> {
        OutputPath::check(path, inputs)?.create()
    }

    /// Puts the complete file in its place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn finish(mut self) -> Result<()> {
        self.out.flush().map_err(super::session::io_error(&self.place.path))?;
        self.new.map_or(Ok(()), NewFile::publish)?;
        self.place.say_if_replaced();
        Ok(())
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if interrupt::requested() {
            return Err(io::Error::other("interrupted"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Seek for OutputFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.out.seek(to)
    }
}

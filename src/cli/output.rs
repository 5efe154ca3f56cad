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
            return Ok(Self { path, target: None });
        }
        // A link stays a link: what it points to is replaced.
        let target = match &there {
            Some(_) => fs::canonicalize(&path).map_err(&failed)?,
            None => path.clone(),
        };
        if inputs
            .iter()
            .any(|input| fs::canonicalize(input).is_ok_and(|input| input == target))
        {
            return Err(Error::Argument {
                operation: "write",
                argument: "output",
                problem: format!("{} is the input; wanted another file", path.display()),
            });
        }
        // All that is in a store is the input, so that a result, or what is not complete of it, would change it.
        let is_store = |input: &Path| [".zgroup", "zarr.json"].iter().any(|name| input.join(name).is_file());
        let folder = std::path::absolute(&target)
            .ok()
            .and_then(|target| target.parent()?.canonicalize().ok());
        let is_inside = |input: &Path| {
            fs::canonicalize(input).is_ok_and(|input| folder.as_ref().is_some_and(|folder| folder.starts_with(input)))
        };
        if let Some(input) = inputs.iter().find(|input| is_store(input) && is_inside(input)) {
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
            path: self.path.clone(),
            new,
        })
    }
}

/// Whether a path says that it is a folder, whatever stands there.
pub(super) fn is_folder(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(std::path::is_separator)
}

/// A file that takes its place at the end: [`NewFile`]. Devices and pipes are written to directly.
#[derive(Debug)]
pub(super) struct OutputFile {
    out: BufWriter<File>,
    path: PathBuf,
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
        self.out.flush().map_err(super::session::io_error(&self.path))?;
        self.new.map_or(Ok(()), NewFile::publish)
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

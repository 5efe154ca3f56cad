//! Files that appear under their name only when they are complete.

use super::interrupt;
use scdiva::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

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
    /// [`Error::Io`] when it cannot be made there; [`Error::Argument`] when it is one of `inputs`.
    pub(super) fn check(path: &Path, inputs: &[&Path]) -> Result<Self> {
        let failed = super::session::io_error(path);
        let there = fs::metadata(path).ok();
        if there.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let path = path.to_owned();
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            return Ok(Self { path, target: None });
        }
        // A link stays a link: what it points to is replaced.
        let target = match there {
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
        if target.file_name().is_none() {
            return Err(failed(io::ErrorKind::InvalidFilename.into()));
        }
        // Tried, since permissions are not all that may stand in the way.
        let probe = beside(&target, "part");
        File::create(&probe).map_err(failed)?;
        let _gone = fs::remove_file(probe);
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
        let (file, moves) = match &self.target {
            None => (OpenOptions::new().write(true).open(&self.path).map_err(failed)?, None),
            Some(target) => {
                let temporary = beside(target, "part");
                (File::create(&temporary).map_err(failed)?, Some((temporary, target.clone())))
            }
        };
        Ok(OutputFile {
            out: BufWriter::new(file),
            path: self.path.clone(),
            moves,
        })
    }
}

/// A hidden file beside `target`.
fn beside(target: &Path, what: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{what}"))
}

/// A file that is written beside its place and moved there at the end. Devices and pipes are written to directly.
#[derive(Debug)]
pub(super) struct OutputFile {
    out: BufWriter<File>,
    path: PathBuf,
    /// Where it is until it is complete, and where it goes then.
    moves: Option<(PathBuf, PathBuf)>,
}

impl OutputFile {
    /// As [`OutputPath::check`] and [`OutputPath::create`], for results that are written while they are computed.
    ///
    /// # Errors
    /// What they say.
    pub(super) fn create(path: &Path, inputs: &[&Path]) -> Result<Self> {
        OutputPath::check(path, inputs)?.create()
    }

    /// Moves the complete file to its place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn finish(mut self) -> Result<()> {
        let failed = super::session::io_error(&self.path);
        self.out.flush().map_err(&failed)?;
        if let Some((temporary, target)) = &self.moves {
            fs::rename(temporary, target).map_err(failed)?;
            self.moves = None;
        }
        Ok(())
    }
}

impl Drop for OutputFile {
    /// What was not finished goes away.
    fn drop(&mut self) {
        if let Some((temporary, _)) = self.moves.take() {
            let _gone = fs::remove_file(temporary);
        }
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

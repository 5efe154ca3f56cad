//! Files that appear under their name only when they are complete.

use super::interrupt;
use scdiva::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that is written beside its place and moved there at the end. Devices and pipes are written to directly.
#[derive(Debug)]
pub(super) struct OutputFile {
    out: BufWriter<File>,
    path: PathBuf,
    /// Where it is until it is complete, and where it goes then.
    moves: Option<(PathBuf, PathBuf)>,
}

impl OutputFile {
    /// Makes the file, so that a place that cannot be written to is known before anything long begins.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made there; [`Error::Argument`] when it is one of `inputs`.
    pub(super) fn create(path: &Path, inputs: &[&Path]) -> Result<Self> {
        let failed = super::session::io_error(path);
        let there = fs::metadata(path).ok();
        if there.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
            return Ok(Self {
                out: BufWriter::new(file),
                path: path.to_owned(),
                moves: None,
            });
        }
        // A link stays a link: what it points to is replaced.
        let target = match there {
            Some(_) => fs::canonicalize(path).map_err(&failed)?,
            None => path.to_owned(),
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
        let name = target
            .file_name()
            .ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        let temporary = target.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        let file = File::create_new(&temporary).map_err(failed)?;
        Ok(Self {
            out: BufWriter::new(file),
            path: path.to_owned(),
            moves: Some((temporary, target)),
        })
    }

    /// The file's name as the user gave it.
    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
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

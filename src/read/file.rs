//! Files of the system. The only place of the library that touches them.

use super::Source;
use crate::error::{Error, Result};
use std::fs::File;
use std::io;
use std::path::Path;

/// A file, read at any place without moving a cursor, so that threads can share it.
#[derive(Debug)]
pub struct FileSource {
    #[cfg(any(unix, windows))]
    file: File,
    #[cfg(not(any(unix, windows)))]
    file: std::sync::Mutex<File>,
    size: u64,
}

impl FileSource {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`Error::Io`] when it is not there, may not be read, or is a folder.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source: io::Error| Error::Io {
            file: path.display().to_string(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self {
            size: metadata.len(),
            #[cfg(any(unix, windows))]
            file,
            #[cfg(not(any(unix, windows)))]
            file: std::sync::Mutex::new(file),
        })
    }
}

/// The files directly in some subfolders of a folder (`""` is the folder itself), by their names with `/` between. A subfolder
/// that is not there has no files.
///
/// # Errors
/// [`Error::Io`] when the folder or one of the files cannot be read.
pub fn folder(path: &Path, subfolders: &[&str]) -> Result<Vec<(String, FileSource)>> {
    let mut files = Vec::new();
    for subfolder in subfolders {
        let folder = path.join(subfolder);
        let failed = |source: io::Error| Error::Io {
            file: folder.display().to_string(),
            source,
        };
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !subfolder.is_empty() => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            // Asked of the file, not of the entry, so that links are followed.
            if !entry.path().is_file() {
                continue;
            }
            if let Some(name) = entry.file_name().to_str() {
                let name = if subfolder.is_empty() {
                    name.to_owned()
                } else {
                    format!("{subfolder}/{name}")
                };
                files.push((name, FileSource::open(&entry.path())?));
            }
        }
    }
    Ok(files)
}

impl Source for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, out, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < out.len() {
            match std::os::windows::fs::FileExt::seek_read(&self.file, &mut out[filled..], offset + filled as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[cfg(not(any(unix, windows)))]
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(out)
    }
}

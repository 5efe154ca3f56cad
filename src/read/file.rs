//! Files of the system. The only place of the library that touches them.

use super::{Files, Part, Source, may_be_matrix, part};
use crate::error::{Error, Result};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// [`Error::Io`] when it is not there, may not be read, or is a folder; [`Error::File`] when it is a pipe.
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
        // Its size is 0, and it can be read only once.
        if !metadata.is_file() {
            return Err(Error::file(path.display(), "byte 0", "a pipe or a device; wanted a file"));
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

/// Folders inside a folder that are looked into.
const MAX_FOLDERS: usize = 100;
/// Files of a Zarr store, and folders in folders of it.
const MAX_CHUNKS: usize = 1 << 20;
const MAX_DEPTH: usize = 16;

/// A file that is open only while it is read: a Zarr store has more files than a process may have open.
struct ClosedFile {
    path: PathBuf,
    size: u64,
}

impl Source for ClosedFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(out)
    }
}

impl Files {
    /// What stands at a path: a file; a folder with its subfolders, of which what may be a matrix by its name is taken, and all of a
    /// Zarr store; or, for a `matrix.mtx`, this file and those beside it whose names begin alike.
    ///
    /// # Errors
    /// [`Error::Io`] when it is not there or cannot be read; [`Error::File`] for a folder of more than a hundred folders,
    /// or a store of more than a million files.
    pub fn from_path(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let own = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            return Self::from_folder(&name, path);
        }
        if let Some((prefix, Part::Entries)) = part(own) {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            let mut files = names_in(folder, &[String::new()])?;
            files.retain(|file| {
                file == own || part(file).is_some_and(|(other, part)| part != Part::Entries && is_alike(prefix, other))
            });
            // Of each part the one whose name begins most alike: `a_features.tsv`, or one without `a_` that several share.
            for wanted in [Part::Features, Part::Barcodes] {
                let all = files.iter().filter_map(|file| part(file));
                let longest = all.filter(|(_, part)| *part == wanted).map(|(other, _)| other.len()).max();
                files.retain(|file| part(file).is_none_or(|(other, part)| part != wanted || Some(other.len()) == longest));
            }
            let mut files = Self::some(&name, folder, &files)?;
            for (file, _) in &mut files.files {
                *file = path.with_file_name(&file).display().to_string();
            }
            return Ok(files);
        }
        Ok(Self::one(&name, Arc::new(FileSource::open(path)?)))
    }

    fn from_folder(name: &str, path: &Path) -> Result<Self> {
        let is_store = |folder: &Path| {
            [".zgroup", "zarr.json"]
                .into_iter()
                .any(|metadata| folder.join(metadata).is_file())
        };
        if is_store(path) {
            let mut files = Vec::new();
            all_in(path, "", MAX_DEPTH, &mut files)?;
            return Ok(Self::many(name, files));
        }
        let (mut folders, mut stores) = (vec![String::new()], Vec::new());
        let failed = |source| Error::Io {
            file: name.to_owned(),
            source,
        };
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Some(folder) = entry.file_name().to_str().filter(|_| entry.path().is_dir()) {
                if is_store(&entry.path()) {
                    all_in(&entry.path(), &format!("{folder}/"), MAX_DEPTH, &mut stores)?;
                } else {
                    folders.push(folder.to_owned());
                }
            }
        }
        if folders.len() > MAX_FOLDERS {
            let problem = format!("{} folders inside; wanted the folder of one matrix", folders.len() - 1);
            return Err(Error::file(name, "folder", problem));
        }
        folders.sort();
        let mut files = Self::some(name, path, &names_in(path, &folders)?)?;
        files.files.append(&mut stores);
        Ok(files)
    }

    fn some(name: &str, folder: &Path, files: &[String]) -> Result<Self> {
        let open = |file: &String| {
            Ok((
                file.clone(),
                Arc::new(FileSource::open(&folder.join(file))?) as Arc<dyn Source>,
            ))
        };
        Ok(Self::many(name, files.iter().map(open).collect::<Result<_>>()?))
    }
}

/// Whether `other` is a beginning that the files of the matrix that begins with `prefix` may have.
fn is_alike(prefix: &str, other: &str) -> bool {
    let rest = prefix.strip_prefix(other);
    rest.is_some_and(|rest| other.is_empty() || rest.is_empty() || rest.starts_with(['_', '.', '-']))
}

/// Adds every file of a folder, as deep as `depth` folders; `start` stands before their names.
fn all_in(folder: &Path, start: &str, depth: usize, files: &mut Vec<(String, Arc<dyn Source>)>) -> Result<()> {
    let failed = |source: io::Error| Error::Io {
        file: folder.display().to_string(),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, own) = (entry.path(), entry.file_name());
        let Some(own) = own.to_str() else { continue };
        // Asked of the file, not of the entry, so that links are followed.
        let metadata = std::fs::metadata(&path).map_err(failed)?;
        if metadata.is_dir() && depth > 0 {
            all_in(&path, &format!("{start}{own}/"), depth - 1, files)?;
        } else if metadata.is_dir() || files.len() == MAX_CHUNKS {
            let problem =
                format_args!("more than {MAX_CHUNKS} files, or {MAX_DEPTH} folders in one another; wanted one Zarr store");
            return Err(Error::file(folder.display(), "folder", problem));
        } else if metadata.is_file() {
            let size = metadata.len();
            files.push((format!("{start}{own}"), Arc::new(ClosedFile { path, size })));
        }
    }
    Ok(())
}

/// The names of what may be a matrix in some subfolders, sorted.
fn names_in(path: &Path, subfolders: &[String]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for subfolder in subfolders {
        let folder = path.join(subfolder);
        let failed = |source: io::Error| Error::Io {
            file: folder.display().to_string(),
            source,
        };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Some(name) = entry
                .file_name()
                .to_str()
                .filter(|name| may_be_matrix(name) && entry.path().is_file())
            {
                names.push(if subfolder.is_empty() {
                    name.to_owned()
                } else {
                    format!("{subfolder}/{name}")
                });
            }
        }
    }
    names.sort();
    Ok(names)
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

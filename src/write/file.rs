//! Files of the system: a new file, which appears under its name only when it is whole.

use crate::error::{Error, Result};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that is being written beside the place where it will stand. It takes that place, and with it the place of a file that stands
/// there, in one step: whoever looks, and whatever dies, finds the old file or the new one. Dropped before that, it is removed; a killed
/// process leaves it, under a name that begins with `.` and ends with `.part`. A link stays a link: the file that it leads to is replaced.
#[derive(Debug)]
pub struct NewFile {
    to: PathBuf,
    temporary: NamedTempFile,
    /// What must not change until the file has its place.
    copied: Option<Copied>,
}

/// What is known of the file that was copied.
#[derive(Debug)]
struct Copied {
    from: PathBuf,
    metadata: Metadata,
    /// Whether the copy takes the place of what it is of, and with it its owner and permissions.
    replaces: bool,
}

impl NewFile {
    /// An empty file that will stand at `to`.
    ///
    /// # Errors
    /// [`Error::Io`] when nothing can be written there, or a folder or a device stands there.
    pub fn create(to: &Path) -> Result<Self> {
        Self::beside(to).map_err(|source| failed(to, source))
    }

    /// A copy of a file that will stand at `to`, with the usual permissions of a new file, but open to no one to whom `from` is closed; or with
    /// those of what stands there.
    ///
    /// # Errors
    /// [`Error::Io`] when `from` cannot be read, or nothing can be written at `to`.
    pub fn copy(from: &Path, to: &Path) -> Result<Self> {
        let mut source = File::open(from).map_err(|source| failed(from, source))?;
        let copy = |source: &mut File| -> io::Result<Self> {
            let metadata = source.metadata()?;
            let mut new = Self::beside(to)?;
            io::copy(source, new.temporary.as_file_mut())?;
            new.copied = Some(Copied {
                replaces: from.canonicalize()? == new.to,
                from: from.to_owned(),
                metadata,
            });
            Ok(new)
        };
        copy(&mut source).map_err(|source| failed(to, source))
    }

    /// A copy of a file that will take its place.
    ///
    /// # Errors
    /// [`Error::Io`] when the file may not be read or written, or there is no room for a copy beside it.
    pub fn replace(path: &Path) -> Result<Self> {
        // A file that may not be written must not be replaced either, although its folder would allow it.
        let file = OpenOptions::new().write(true).open(path);
        drop(file.map_err(|source| failed(path, source))?);
        Self::copy(path, path)
    }

    /// The file to be written, at its beginning; one handle after another may be asked for.
    ///
    /// # Errors
    /// [`Error::Io`] when the system gives no handle.
    pub fn open(&self) -> Result<File> {
        self.temporary.reopen().map_err(|source| failed(&self.to, source))
    }

    /// Puts the file in its place, when all of it is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written out or renamed, or the file that was copied has been changed since; what stood there still
    /// does.
    pub fn publish(self) -> Result<()> {
        let to = self.to.clone();
        self.rename().map_err(|source| failed(&to, source))
    }

    fn rename(self) -> io::Result<()> {
        let Self { to, temporary, copied } = self;
        let file = temporary.as_file();
        file.sync_all()?;
        if let Some(Copied { from, metadata, .. }) = &copied {
            let now = from.metadata()?;
            if now.len() != metadata.len() || now.modified().ok() != metadata.modified().ok() {
                return Err(io::Error::other(
                    "the file was changed by another program while it was read; run again",
                ));
            }
        }
        match &copied {
            Some(Copied { metadata, replaces, .. }) if *replaces => {
                keep_owner(file, metadata);
                file.set_permissions(metadata.permissions())?;
            }
            of => usual_permissions(file, &to, of.as_ref().map(|of| &of.metadata))?,
        }
        temporary.persist(&to).map_err(|error| error.error)?;
        sync_folder(&to)
    }

    fn beside(to: &Path) -> io::Result<Self> {
        let to = match to.metadata() {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => return Err(io::Error::other("a device or a pipe; wanted a file")),
            Ok(_) => to.canonicalize()?,
            Err(_) => to.to_owned(),
        };
        let name = to.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
        let temporary = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .tempfile_in(folder(&to))
            .map_err(without_path)?;
        Ok(Self {
            to,
            temporary,
            copied: None,
        })
    }
}

fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// What the system said. The name of a temporary file, which stands behind that, is none that the user knows.
fn without_path(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((said, _)) => io::Error::new(error.kind(), said),
        None => error,
    }
}

/// The owner and group stay where the system allows it; where it does not, the file belongs to who writes it, as after any saving.
#[cfg(unix)]
fn keep_owner(file: &File, metadata: &Metadata) {
    use std::os::unix::fs::{MetadataExt, fchown};
    if fchown(file, Some(metadata.uid()), Some(metadata.gid())).is_err() {
        // A member of the group may still keep the group.
        drop(fchown(file, None, Some(metadata.gid())));
    }
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &Metadata) {}

/// A temporary file is private; what it becomes is not: as the file that stands there, or as the system makes new ones, but open to no one to
/// whom what it is a copy `of` is closed.
#[cfg(unix)]
fn usual_permissions(file: &File, to: &Path, of: Option<&Metadata>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let permissions = match to.metadata() {
        Ok(metadata) => metadata.permissions(),
        Err(_) => {
            // The only safe way to learn the umask is to make a file.
            let probe = tempfile::Builder::new()
                .permissions(std::fs::Permissions::from_mode(0o666))
                .tempfile_in(folder(to))
                .map_err(without_path)?;
            let mut usual = probe.as_file().metadata()?.permissions();
            if let Some(of) = of {
                // Its owner may write it, whatever it is a copy of.
                usual.set_mode(usual.mode() & (of.permissions().mode() | 0o600));
            }
            usual
        }
    };
    file.set_permissions(permissions)
}

#[cfg(not(unix))]
fn usual_permissions(_: &File, _: &Path, _: Option<&Metadata>) -> io::Result<()> {
    Ok(())
}

/// The new name is on the disk only when the folder is.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.flush()
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Io {
        file: path.display().to_string(),
        source,
    }
}

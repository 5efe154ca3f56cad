//! Zip archives: the list of what they hold, each entry a source. Nothing is ever written, so that paths in them are only names.

use super::inflate::{Inflated, Wrapping};
use super::{Source, SourceCursor, filters, may_be_matrix, mtx, zarr};
use crate::error::{Error, Result};
use std::io;
use std::sync::Arc;
use zip::{CompressionMethod, ZipArchive};

/// More entries than any matrix has files, or chunks.
const MAX_ENTRIES: usize = 1 << 18;

/// A stretch of a source.
struct Part {
    source: Arc<dyn Source>,
    start: u64,
    size: u64,
}

impl Source for Part {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.source.read_at(self.start + offset, out)
    }
}

/// A small entry, decoded whole whenever it is read: of a Zarr store most are never read, and each is read whole.
struct Deflated {
    part: Part,
    size: u64,
    crc: u32,
}

impl Source for Deflated {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "the zip entry is broken, or larger than 256 MiB");
        let max_size = filters::MAX_CHUNK_SIZE as u64;
        if self.part.size > max_size || self.size > max_size {
            return Err(broken());
        }
        let mut packed = vec![0; usize::try_from(self.part.size).map_err(|_| broken())?];
        self.part.read_at(0, &mut packed)?;
        let size = usize::try_from(self.size).map_err(|_| broken())?;
        let content = filters::deflate(&packed, size).ok_or_else(broken)?;
        if content.len() != size || crc32fast::hash(&content) != self.crc {
            return Err(broken());
        }
        content.read_at(offset, out)
    }
}

/// What an archive holds that may be a matrix by its name, or all if it holds a Zarr store.
///
/// # Errors
/// [`Error::File`] when the archive is broken or encrypted, or an entry unpacks to something else than it says; [`Error::Io`].
pub(super) fn entries(file: &str, source: &Arc<dyn Source>) -> Result<Vec<(String, Arc<dyn Source>)>> {
    let failed =
        |error: zip::result::ZipError| Error::file(file, "zip archive", format_args!("cannot be read ({error}). Is it cut off?"));
    let cursor = SourceCursor::new(Arc::clone(source));
    let mut archive = ZipArchive::new(cursor).map_err(failed)?;
    if archive.len() > MAX_ENTRIES {
        let problem = format!("{} entries; wanted the files of one matrix", archive.len());
        return Err(Error::file(file, "zip archive", problem));
    }
    let has_store = archive.file_names().flatten().any(|name| zarr::is_metadata(&name));
    let mut entries: Vec<(String, Arc<dyn Source>)> = Vec::new();
    let mut packed = 0_u64;
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i).map_err(failed)?;
        let name = entry.name().map_err(failed)?.into_owned();
        if entry.is_dir() || name.starts_with("__MACOSX/") || !(has_store || may_be_matrix(&name)) {
            continue;
        }
        let refused = |problem: &str| Err(Error::file(file, &name, problem));
        if entry.encrypted() {
            return refused("encrypted; wanted an archive without a password");
        }
        let Some(start) = entry.data_start() else {
            return refused("its place in the archive is not known");
        };
        let part = Part {
            source: Arc::clone(source),
            start,
            size: entry.compressed_size(),
        };
        if start.checked_add(part.size).is_none_or(|end| end > source.size()) {
            return refused("it passes the end of the archive. Is the archive cut off?");
        }
        // Bombs use the same bytes for many entries.
        packed = packed.saturating_add(part.size);
        if packed > source.size() {
            return refused("it overlaps another entry; the archive is broken, or a bomb");
        }
        let method = entry.compression();
        let wrapping = Wrapping::Deflate {
            size: entry.size(),
            crc: entry.crc32(),
        };
        let content: Arc<dyn Source> = if method == CompressionMethod::Stored {
            Arc::new(part)
        } else if method == CompressionMethod::DEFLATE && !may_be_matrix(&name) {
            Arc::new(Deflated {
                part,
                size: entry.size(),
                crc: entry.crc32(),
            })
        } else if method == CompressionMethod::DEFLATE {
            Arc::new(Inflated::open(Arc::new(part), wrapping).map_err(|error| mtx::read_error(&format!("{file}/{name}"), error))?)
        } else {
            return refused(&format!("compressed by {method:?}; wanted deflate or none"));
        };
        entries.push((name, content));
    }
    Ok(entries)
}

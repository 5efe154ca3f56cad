//! A source as the readers of [`std::io`] want it.

use super::Source;
use std::fmt::{self, Debug, Formatter};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

/// A source with a position.
///
/// ```
/// use std::io::{Read, Seek, SeekFrom};
/// let mut cursor = scdiva::read::SourceCursor::new(std::sync::Arc::new("cell,CD3D\n"));
/// let mut text = String::new();
/// cursor.seek(SeekFrom::Start(5))?;
/// cursor.read_to_string(&mut text)?;
/// assert_eq!(text, "CD3D\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SourceCursor {
    source: Arc<dyn Source>,
    position: u64,
}

impl Debug for SourceCursor {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("SourceCursor")
            .field("size", &self.source.size())
            .field("position", &self.position)
            .finish()
    }
}

impl SourceCursor {
    /// At the first byte.
    #[must_use]
    pub fn new(source: Arc<dyn Source>) -> Self {
        Self { source, position: 0 }
    }
}

impl Read for SourceCursor {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.source.size().saturating_sub(self.position)).unwrap_or(usize::MAX);
        let len = out.len().min(left);
        self.source.read_at(self.position, &mut out[..len])?;
        self.position += len as u64;
        Ok(len)
    }
}

impl Seek for SourceCursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.source.size().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

//! Readers: one file a format. They take a [`Source`], so that the same code reads files, bytes and a browser's blobs.

use std::io;

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

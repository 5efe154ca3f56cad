//! The bytes of a file that grows at its end.

use super::heap::Heap;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// A file to which objects are added.
#[derive(Debug)]
pub(crate) struct Space<F> {
    file: F,
    /// Where the next object goes.
    end: u64,
    heap: Heap,
}

impl<F: Read + Write + Seek> Space<F> {
    /// Objects are added from `end` on.
    pub(crate) fn new(file: F, end: u64) -> Self {
        Self {
            file,
            end: end.next_multiple_of(8),
            heap: Heap::default(),
        }
    }

    /// A place for `size` bytes that are written later. libhdf5 likes multiples of 8.
    pub(crate) fn reserve(&mut self, size: u64) -> u64 {
        let at = self.end;
        self.end = (at + size).next_multiple_of(8);
        at
    }

    /// Writes bytes of a place that was reserved.
    pub(crate) fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)
    }

    /// Writes bytes at the end and gives their address.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let at = self.reserve(bytes.len() as u64);
        self.write_at(at, bytes)?;
        Ok(at)
    }

    /// Keeps a text of variable length and gives the 16 bytes that refer to it.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<[u8; 16]> {
        let mut heap = std::mem::take(&mut self.heap);
        let reference = heap.add(self, text);
        self.heap = heap;
        reference
    }

    /// Writes what is still in memory and gives the file and its new length; every byte up to there exists.
    pub(crate) fn finish(mut self) -> io::Result<(F, u64)> {
        let mut heap = std::mem::take(&mut self.heap);
        heap.flush(&mut self)?;
        let end = self.end;
        if self.file.seek(SeekFrom::End(0))? < end {
            self.write_at(end - 1, &[0])?;
        }
        self.file.flush()?;
        Ok((self.file, end))
    }
}

//! Texts of variable length: the global heap, specification section III.E.

use super::invalid;
use super::space::Space;
use std::io::{self, Read, Seek, Write};

/// The least and usual size of a collection; libhdf5 reads it as a whole.
const COLLECTION_SIZE: usize = 4096;
const HEADER_SIZE: usize = 16;
const OBJECT_HEADER_SIZE: usize = 16;

/// The collection that is being filled.
#[derive(Debug, Default)]
pub(super) struct Heap {
    address: u64,
    size: usize,
    /// What it holds so far; empty when there is none.
    bytes: Vec<u8>,
    n_objects: u16,
}

impl Heap {
    pub(super) fn add<F: Read + Write + Seek>(&mut self, space: &mut Space<F>, text: &str) -> io::Result<[u8; 16]> {
        if text.contains('\0') {
            return Err(invalid(format!(
                "the text {text:?} contains a zero, which HDF5 takes as its end"
            )));
        }
        let len = u32::try_from(text.len()).map_err(io::Error::other)?;
        let mut reference = [0; 16];
        reference[..4].copy_from_slice(&len.to_le_bytes());
        if text.is_empty() {
            return Ok(reference);
        }
        let size = OBJECT_HEADER_SIZE + text.len().next_multiple_of(8);
        if self.bytes.is_empty() || self.bytes.len() + size > self.size {
            self.flush(space)?;
            self.size = COLLECTION_SIZE.max(HEADER_SIZE + size);
            self.address = space.reserve(self.size as u64);
            self.bytes.extend_from_slice(b"GCOL\x01\0\0\0");
            self.bytes.extend_from_slice(&(self.size as u64).to_le_bytes());
        }
        self.n_objects += 1;
        // Index, number of references, four reserved bytes, length.
        self.bytes.extend_from_slice(&self.n_objects.to_le_bytes());
        self.bytes.extend_from_slice(&[1, 0, 0, 0, 0, 0]);
        self.bytes.extend_from_slice(&u64::from(len).to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        reference[4..12].copy_from_slice(&self.address.to_le_bytes());
        reference[12..].copy_from_slice(&u32::from(self.n_objects).to_le_bytes());
        Ok(reference)
    }

    /// Writes the collection.
    pub(super) fn flush<F: Read + Write + Seek>(&mut self, space: &mut Space<F>) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        // Free space is object 0, whose length counts its own header; less than a header is left as zeros.
        let free = self.size - self.bytes.len();
        if free >= OBJECT_HEADER_SIZE {
            self.bytes.extend_from_slice(&[0; 8]);
            self.bytes.extend_from_slice(&(free as u64).to_le_bytes());
        }
        self.bytes.resize(self.size, 0);
        space.write_at(self.address, &self.bytes)?;
        self.bytes.clear();
        self.n_objects = 0;
        Ok(())
    }
}

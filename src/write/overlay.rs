//! A file in memory over one that is only read.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::io::{self, Read, Seek, SeekFrom, Write};

const PAGE: usize = 1 << 18;

/// What is written to a file that itself stays as it is, in pages, so that memory grows by what is written and nothing is ever moved. Over
/// [`io::empty()`] it is a file of its own.
///
/// ```
/// use scdiva::write::Overlay;
/// use std::io::{Cursor, Seek, SeekFrom, Write};
/// let mut file = Overlay::new(Cursor::new("old text".as_bytes()))?;
/// file.write_all(b"new")?;
/// file.seek(SeekFrom::End(0))?;
/// file.write_all(b", more")?;
/// assert_eq!(file.into_pieces().collect::<Vec<_>>(), [(0, b"new text, more".to_vec())]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Overlay<R> {
    original: R,
    original_size: u64,
    /// By number.
    pages: BTreeMap<u64, Box<[u8]>>,
    size: u64,
    position: u64,
}

impl<R> Debug for Overlay<R> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("Overlay")
            .field("size", &self.size)
            .field("n_pages", &self.pages.len())
            .finish_non_exhaustive()
    }
}

impl<R: Read + Seek> Overlay<R> {
    /// Over a file.
    ///
    /// # Errors
    /// What the file says.
    pub fn new(mut original: R) -> io::Result<Self> {
        let original_size = original.seek(SeekFrom::End(0))?;
        Ok(Self {
            original,
            original_size,
            pages: BTreeMap::new(),
            size: original_size,
            position: 0,
        })
    }

    /// The length of the whole.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What stands in place of the original, or behind it: where, and the bytes; rising, none overlapping. All else is the original's.
    pub fn into_pieces(self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let size = self.size;
        self.pages.into_iter().map(move |(number, page)| {
            let at = number * PAGE as u64;
            let mut bytes = page.into_vec();
            bytes.truncate(usize::try_from(size - at).unwrap_or(PAGE));
            (at, bytes)
        })
    }

    /// The page at the position, and the place in it.
    fn place(&self) -> (u64, usize) {
        let (page, within) = (self.position / PAGE as u64, self.position % PAGE as u64);
        (page, usize::try_from(within).unwrap_or(0))
    }

    /// Fills `out` with what the original has from `at` on, zeros behind its end.
    fn read_original(&mut self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(self.original_size.saturating_sub(at)).unwrap_or(usize::MAX);
        let (old, new) = out.split_at_mut(there.min(out.len()));
        if !old.is_empty() {
            self.original.seek(SeekFrom::Start(at))?;
            self.original.read_exact(old)?;
        }
        new.fill(0);
        Ok(())
    }
}

impl<R: Read + Seek> Read for Overlay<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (page, within) = self.place();
        let left = usize::try_from(self.size.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let len = out.len().min(PAGE - within).min(left);
        match self.pages.get(&page) {
            Some(page) => out[..len].copy_from_slice(&page[within..within + len]),
            None => self.read_original(self.position, &mut out[..len])?,
        }
        self.position += len as u64;
        Ok(len)
    }
}

impl<R: Read + Seek> Write for Overlay<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (number, within) = self.place();
        let len = bytes.len().min(PAGE - within);
        if !self.pages.contains_key(&number) {
            let mut page = vec![0; PAGE];
            self.read_original(number * PAGE as u64, &mut page)?;
            self.pages.insert(number, page.into_boxed_slice());
        }
        if let Some(page) = self.pages.get_mut(&number) {
            page[within..within + len].copy_from_slice(&bytes[..len]);
        }
        self.position += len as u64;
        self.size = self.size.max(self.position);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<R> Seek for Overlay<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// Writes and reads at places around the borders of pages give what a vector gives.
    #[test]
    fn is_the_file_that_a_vector_would_be() {
        let original: Vec<u8> = (0..2 * PAGE + 700).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut plain = Cursor::new(original.clone());
        let mut overlay = Overlay::new(Cursor::new(&original)).unwrap();
        let page = PAGE as u64;
        for (at, len) in [(40, 8), (page - 3, 7), (2 * page + 690, 30), (4 * page - 1, 2), (page, 1)] {
            let bytes = vec![0xEE; len];
            plain.seek(SeekFrom::Start(at)).unwrap();
            plain.write_all(&bytes).unwrap();
            overlay.seek(SeekFrom::Start(at)).unwrap();
            overlay.write_all(&bytes).unwrap();
        }
        let wanted = plain.into_inner();
        assert_eq!(overlay.size(), wanted.len() as u64);
        let mut got = Vec::new();
        overlay.rewind().unwrap();
        overlay.read_to_end(&mut got).unwrap();
        assert!(got == wanted);

        // Put together again: pieces, and the original between them.
        let (mut whole, size) = (Vec::new(), overlay.size());
        for (at, bytes) in overlay.into_pieces().chain([(size, Vec::new())]) {
            let at = usize::try_from(at).unwrap();
            let end = at.min(original.len()).max(whole.len().min(original.len()));
            whole.extend_from_slice(&original[whole.len().min(original.len())..end]);
            whole.resize(at.max(whole.len()), 0);
            whole.extend(bytes);
        }
        assert!(whole == wanted);
    }
}

//! `.npy` files, as `numpy` reads and writes them: one f32 matrix.

use std::io::{self, Write};

/// Writes a `[n_rows, n_cols]` matrix row by row.
///
/// ```
/// let mut writer = scdiva::write::npy::NpyWriter::new(Vec::new(), 2, 3)?;
/// writer.write_row(&[1.0, 2.0, 3.0])?;
/// writer.write_row(&[4.0, 5.0, 6.0])?;
/// assert_eq!(writer.finish()?.len(), 128 + 2 * 3 * 4);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NpyWriter<W: Write> {
    out: W,
    n_cols: usize,
    n_rows_left: usize,
}

impl<W: Write> NpyWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(mut out: W, n_rows: usize, n_cols: usize) -> io::Result<Self> {
        // Format 1.0: magic, version, length of the header, and a header padded with spaces so that the numbers start at a multiple of 64.
        const BEFORE_HEADER: usize = 10;
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n_rows}, {n_cols}), }}");
        let padded = (BEFORE_HEADER + header.len() + 1).next_multiple_of(64) - BEFORE_HEADER - 1;
        let length = u16::try_from(padded + 1).map_err(io::Error::other)?;
        out.write_all(b"\x93NUMPY\x01\x00")?;
        out.write_all(&length.to_le_bytes())?;
        writeln!(out, "{header:padded$}")?;
        Ok(Self {
            out,
            n_cols,
            n_rows_left: n_rows,
        })
    }

    /// Writes the next row.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when the row has not `n_cols` numbers or there are `n_rows` already; what `out` says.
    pub fn write_row(&mut self, row: &[f32]) -> io::Result<()> {
        let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidInput, problem);
        if row.len() != self.n_cols {
            return Err(invalid(format!("a row of {} numbers; wanted {}", row.len(), self.n_cols)));
        }
        self.n_rows_left = self
            .n_rows_left
            .checked_sub(1)
            .ok_or_else(|| invalid("more rows than the header says".to_owned()))?;
        row.iter().try_for_each(|value| self.out.write_all(&value.to_le_bytes()))
    }

    /// Flushes and gives the inner writer back.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when rows are missing; what `out` says.
    pub fn finish(mut self) -> io::Result<W> {
        if self.n_rows_left > 0 {
            let problem = format!("{} rows less than the header says", self.n_rows_left);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

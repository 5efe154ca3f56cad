//! Rows of a matrix that lies by genes, made a block at a time.

use crate::cells::SparseRows;
use crate::error::Result;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The block of rows that was made last, and its first row: rows are mostly asked for in order.
#[derive(Debug, Default)]
pub(super) struct LastBlock(Mutex<(usize, SparseRows)>);

impl LastBlock {
    /// Some rows. Those that the last block lacks `turn` makes: as many as a block may hold from a row on, at least one.
    pub(super) fn rows(&self, rows: Range<usize>, turn: impl Fn(usize) -> Result<SparseRows>) -> Result<SparseRows> {
        let mut found = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = rows.start;
        while next < rows.end {
            let (first, block) = &*last;
            if !(*first..first + block.n_rows()).contains(&next) {
                // Freed first, so that there is never more than one.
                *last = (0, SparseRows::default());
                *last = (next, turn(next)?);
                continue;
            }
            let end = rows.end.min(first + block.n_rows());
            let part = block.slice(next - first..end - first);
            let before = found.genes.len();
            found.offsets.extend(part.offsets[1..].iter().map(|offset| before + offset));
            found.genes.extend(part.genes);
            found.values.extend(part.values);
            next = end;
        }
        Ok(found)
    }
}

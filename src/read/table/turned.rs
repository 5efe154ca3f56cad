//! Cells that are the columns of a table, turned into rows a block at a time.

use super::super::blocks::LastBlock;
use super::Rows;
use super::number::Numbers;
use crate::cells::SparseRows;
use crate::error::{Error, Result};
use std::ops::{ControlFlow, Range};

/// Values of a block: 256 MiB.
const MAX_BLOCK_LEN: usize = 1 << 25;

/// Where the values of each cell would stand if they stood by cells.
#[derive(Debug)]
pub(super) struct Turned {
    /// `[n_cells + 1]`
    offsets: Vec<usize>,
    block: LastBlock,
}

impl Turned {
    /// `filled`: how many values of each cell are not 0.
    pub(super) fn new(filled: &[u32]) -> Self {
        let mut offsets = Vec::with_capacity(filled.len() + 1);
        let mut offset = 0;
        offsets.push(0);
        offsets.extend(filled.iter().map(|&filled| {
            offset += filled as usize;
            offset
        }));
        Self {
            offsets,
            block: LastBlock::default(),
        }
    }

    pub(super) const fn n_cells(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Some cells; the first stands in column `first_column`.
    pub(super) fn read(&self, rows: &Rows, numbers: &Numbers, first_column: usize, cells: Range<usize>) -> Result<SparseRows> {
        self.block.rows(cells, |first| self.turn(rows, numbers, first_column, first))
    }

    /// As many cells from `first` on as a block may hold, at least one, in one pass over the file.
    fn turn(&self, rows: &Rows, numbers: &Numbers, first_column: usize, first: usize) -> Result<SparseRows> {
        let start = self.offsets[first];
        let end = self
            .offsets
            .partition_point(|&offset| offset - start.min(offset) <= MAX_BLOCK_LEN)
            - 1;
        let cells = first..end.max(first + 1);
        let offsets: Vec<usize> = self.offsets[first..=cells.end].iter().map(|offset| offset - start).collect();
        let len = offsets.last().copied().unwrap_or(0);
        let (mut genes, mut values) = (vec![0; len], vec![0.0; len]);
        let mut next = offsets.clone();
        let columns = first_column + cells.start..first_column + cells.end;
        rows.each(0..rows.n_rows, |gene, place, field| {
            if place.column >= columns.end {
                return Ok(ControlFlow::Break(()));
            }
            if place.column >= columns.start && field != b"0" {
                let value = numbers
                    .parse(field)
                    .map_err(|problem| Error::file(&rows.text.name, place.in_words(), problem))?;
                let cell = place.column - columns.start;
                // Past the next only if the file was changed since it was opened.
                if value != 0.0 && next[cell] < offsets[cell + 1] {
                    genes[next[cell]] = u32::try_from(gene).unwrap_or(u32::MAX);
                    values[next[cell]] = value;
                    next[cell] += 1;
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(SparseRows { offsets, genes, values })
    }
}

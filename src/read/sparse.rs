//! Compressed sparse matrices in a container: CSR as it lies, CSC turned into rows a block at a time.

use super::blocks::LastBlock;
use super::container::{Array, Container, Kind};
use crate::cells::SparseRows;
use crate::error::Result;
use std::ops::Range;
use std::sync::Arc;

/// What a block of rows of a CSC matrix may take in memory. In a browser 4 GiB is all there is.
const MAX_BLOCK_SIZE: usize = if usize::BITS == 32 { 1 << 28 } else { 1 << 30 };
/// Values that are read at a time.
const PIECE_LEN: usize = 1 << 22;

/// The three parts of a compressed sparse matrix.
pub(super) struct Sparse {
    data: Arc<dyn Array>,
    indices: Arc<dyn Array>,
    /// One more than rows (CSR) or columns (CSC); rises from 0 to the number of values.
    indptr: Arc<dyn Array>,
    n_values: usize,
    /// Places in a row of CSR, in a column of CSC.
    width: usize,
}

impl Sparse {
    /// `n` is the number of rows of CSR, of columns of CSC; `width` that of the others.
    pub(super) fn open(file: &dyn Container, path: &str, n: usize, width: usize) -> Result<Self> {
        let (data, n_values) = file.list(&format!("{path}/data"), Kind::Value)?;
        let (indices, n_indices) = file.list(&format!("{path}/indices"), Kind::Index)?;
        if n_indices != n_values {
            let problem = format_args!("{n_indices} numbers, but {} has {n_values}", data.path());
            return Err(indices.wrong(&problem));
        }
        let (indptr, n_offsets) = file.list(&format!("{path}/indptr"), Kind::Index)?;
        if n_offsets != n + 1 {
            let problem = format_args!("{n_offsets} numbers; wanted {}, one more than {n}", n + 1);
            return Err(indptr.wrong(&problem));
        }
        let sparse = Self {
            data,
            indices,
            indptr,
            n_values,
            width,
        };
        let last = sparse.offsets(n..n)?.first().copied();
        sparse.offsets(0..0)?;
        if last != Some(n_values) {
            let last = last.unwrap_or(0);
            let problem = format_args!("ends with {last}, but {} has {n_values} numbers", sparse.data.path());
            return Err(sparse.indptr.wrong(&problem));
        }
        Ok(sparse)
    }

    /// Where some rows start, and where the last one ends.
    fn offsets(&self, rows: Range<usize>) -> Result<Vec<usize>> {
        let numbers = self.indptr.indices(rows.start..rows.end + 1)?;
        let (mut offsets, n_values) = (Vec::with_capacity(numbers.len()), self.n_values);
        for (place, found) in (rows.start..).zip(numbers) {
            let before = offsets.last().copied().unwrap_or(0);
            let offset = usize::try_from(found)
                .ok()
                .filter(|&next| before <= next && next <= n_values && (place > 0 || next == 0));
            let Some(offset) = offset else {
                let problem = format_args!("{found} at {place}, after {before}; wanted numbers that rise from 0 to {n_values}");
                return Err(self.indptr.wrong(&problem));
            };
            // So that no broken file makes a row of all the memory.
            if !offsets.is_empty() && offset - before > self.width {
                let problem = format_args!(
                    "{found} at {place}, after {before}; wanted no more than {} values between",
                    self.width
                );
                return Err(self.indptr.wrong(&problem));
            }
            offsets.push(offset);
        }
        Ok(offsets)
    }

    /// Some rows of CSR.
    pub(super) fn rows(&self, rows: Range<usize>) -> Result<SparseRows> {
        let offsets = self.offsets(rows)?;
        let (Some(&start), Some(&end)) = (offsets.first(), offsets.last()) else {
            return Ok(SparseRows::default());
        };
        Ok(SparseRows {
            offsets: offsets.iter().map(|&offset| offset - start).collect(),
            genes: checked_indices(self.indices.as_ref(), start..end, self.width, "gene")?,
            values: self.data.values(start..end)?,
        })
    }
}

/// A CSC matrix, turned into rows a block at a time.
pub(super) struct Turned {
    sparse: Sparse,
    /// `[n_genes + 1]`
    indptr: Vec<usize>,
    /// `[n_cells + 1]`: where each cell would start if the values stood by rows.
    offsets: Vec<usize>,
    block: LastBlock,
}

impl Turned {
    pub(super) fn open(sparse: Sparse, n_cells: usize, n_genes: usize) -> Result<Self> {
        let indptr = sparse.offsets(0..n_genes)?;
        let mut offsets = Vec::new();
        if offsets.try_reserve_exact(n_cells + 1).is_err() {
            let problem = format_args!("a CSC matrix of {n_cells} cells does not fit in memory");
            return Err(sparse.indices.wrong(&problem).for_lack_of_memory());
        }
        offsets.resize(n_cells + 1, 0);
        let mut turned = Self {
            sparse,
            indptr,
            offsets,
            block: LastBlock::default(),
        };
        for piece in pieces(turned.sparse.n_values) {
            for cell in turned.cells(piece)? {
                turned.offsets[cell as usize + 1] += 1;
            }
        }
        for cell in 0..n_cells {
            turned.offsets[cell + 1] += turned.offsets[cell];
        }
        Ok(turned)
    }

    fn cells(&self, piece: Range<usize>) -> Result<Vec<u32>> {
        checked_indices(self.sparse.indices.as_ref(), piece, self.offsets.len() - 1, "cell")
    }

    pub(super) fn rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        self.block.rows(cells, |first| self.turn(first))
    }

    /// As many rows from `first` on as a block may hold, at least one, in one pass over the file.
    fn turn(&self, first: usize) -> Result<SparseRows> {
        let start = self.offsets[first];
        let max_len = MAX_BLOCK_SIZE / 8;
        let end = self
            .offsets
            .partition_point(|&offset| offset <= start.saturating_add(max_len))
            - 1;
        let end = end.max(first + 1);
        let offsets: Vec<usize> = self.offsets[first..=end].iter().map(|offset| offset - start).collect();
        let len = offsets.last().copied().unwrap_or(0);
        let (mut genes, mut values) = (Vec::new(), Vec::new());
        let no_memory = |_| {
            let problem = format_args!("{len} values of a CSC matrix do not fit in memory");
            self.sparse.data.wrong(&problem).for_lack_of_memory()
        };
        genes.try_reserve_exact(len).map_err(no_memory)?;
        values.try_reserve_exact(len).map_err(no_memory)?;
        genes.resize(len, 0);
        values.resize(len, 0.0);
        let (mut next, mut gene) = (offsets.clone(), 0);
        for piece in pieces(self.sparse.n_values) {
            let cells = self.cells(piece.clone())?;
            let data = self.sparse.data.values(piece.clone())?;
            for ((place, cell), value) in piece.zip(cells).zip(data) {
                while self.indptr[gene as usize + 1] <= place {
                    gene += 1;
                }
                let cell = cell as usize;
                if (first..end).contains(&cell) {
                    let to = &mut next[cell - first];
                    // Past it only if the file was changed since it was opened.
                    if let (Some(gene_there), Some(value_there)) = (genes.get_mut(*to), values.get_mut(*to)) {
                        *gene_there = gene;
                        *value_there = value;
                        *to += 1;
                    }
                }
            }
        }
        Ok(SparseRows { offsets, genes, values })
    }
}

/// All values, some at a time.
fn pieces(n_values: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..n_values).step_by(PIECE_LEN);
    starts.map(move |start| start..n_values.min(start + PIECE_LEN))
}

/// Some of the indices, all below `n`.
fn checked_indices(array: &dyn Array, range: Range<usize>, n: usize, what: &str) -> Result<Vec<u32>> {
    // A whole chunk of zeros would be the first column many times.
    if n > 1 {
        array.check_stored(range.clone())?;
    }
    let first = range.start;
    match array.small_indices(range.clone())? {
        Some(indices) => below(array, &indices, first, n, what),
        None => below(array, &array.indices(range)?, first, n, what),
    }
}

/// Refuses indices that are not below `n`; the first one stands at `first`.
fn below<T: Copy + Into<i64>>(array: &dyn Array, indices: &[T], first: usize, n: usize, what: &str) -> Result<Vec<u32>> {
    let check = |(place, &index): (usize, &T)| {
        let index = index.into();
        match u32::try_from(index) {
            Ok(small) if (small as usize) < n => Ok(small),
            _ if index < 0 => Err(array.wrong(&format_args!("index {index} at {place} is negative"))),
            _ => {
                let last = n - 1;
                Err(array.wrong(&format_args!("index {index} at {place} is past the last {what} ({last})")))
            }
        }
    };
    (first..).zip(indices).map(check).collect()
}

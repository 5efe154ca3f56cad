//! Parts of a run that were computed apart, as one.

use super::header::RunHeader;
use super::journal::Journal;
use crate::error::{Error, Result};
use crate::tasks::{BLOCK, CellBlock};
use std::fmt::{self, Display, Formatter};
use std::io::{Read, Seek, Write};
use std::ops::Range;
use std::str::FromStr;

/// One of several parts of a matrix, `i/n` with `i` from 1 to `n`.
///
/// ```
/// use scdiva::run::Shard;
/// let shard: Shard = "2/3".parse()?;
/// assert_eq!(shard.cells(1_000), 256..512);
/// assert!("4/3".parse::<Shard>().is_err());
/// # Ok::<(), scdiva::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1 on.
    pub number: usize,
    /// Of how many.
    pub n_shards: usize,
}

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self { number: 1, n_shards: 1 };

    /// Its cells. Parts start at multiples of [`BLOCK`], so that each gives the numbers that the whole would; they differ by one block at
    /// the most, and the last ones of a small matrix may be empty.
    #[must_use]
    pub fn cells(self, n_cells: usize) -> Range<usize> {
        let n_blocks = n_cells.div_ceil(BLOCK) as u64;
        let before = |number: usize| {
            let blocks = n_blocks * number as u64 / (self.n_shards as u64).max(1);
            usize::try_from(blocks).map_or(n_cells, |blocks| blocks.saturating_mul(BLOCK).min(n_cells))
        };
        before(self.number.saturating_sub(1))..before(self.number)
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text
            .split_once('/')
            .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            // The product of blocks and shards stays within 64 bits.
            Some((number, n_shards)) if (1..=n_shards).contains(&number) && n_shards <= 1_000_000 => {
                Ok(Self { number, n_shards })
            }
            _ => Err(Error::argument(
                "run",
                "shard",
                format_args!("{text:?}, wanted i/n with i from 1 to n, such as 1/4"),
            )),
        }
    }
}

impl Display for Shard {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.number, self.n_shards)
    }
}

/// The journals of all parts of a run, in the order of their cells.
#[derive(Debug)]
pub struct Parts<F> {
    journals: Vec<Journal<F>>,
}

impl<F: Read + Write + Seek> Parts<F> {
    /// Joins the parts, which may come in any order.
    ///
    /// # Errors
    /// [`Error::File`] that names the part: of another run than the first, not complete, overlapping another; or the cells that no part has.
    /// [`Error::Argument`] when there is none.
    pub fn join(mut journals: Vec<Journal<F>>) -> Result<Self> {
        journals.sort_by_key(|journal| (journal.header().cells.start, journal.header().cells.end));
        let Some(first) = journals.first() else {
            return Err(Error::argument("merge", "parts", "none; wanted at least one"));
        };
        let (header, mut next) = (first.header().clone(), 0);
        for journal in &journals {
            header.expect_same_run(journal.name(), journal.header())?;
        }
        for journal in &journals {
            let cells = &journal.header().cells;
            if !journal.is_complete() {
                let advice = if journal.was_torn() {
                    "are whole, and what follows is damaged or cut off: compute this part again, or give `--resume` if it was under way"
                } else {
                    "are done; `--resume` goes on with it"
                };
                let problem = format!("{} of {} cells {advice}", journal.next_cell() - cells.start, cells.len());
                return Err(Error::file(journal.name(), "cells", problem));
            }
            if cells.start < next {
                let problem = format!("cells {} to {} are in another part too", cells.start, next.min(cells.end));
                return Err(Error::file(journal.name(), "cells", problem));
            }
            if cells.start > next {
                return Err(missing(journal.name(), next..cells.start));
            }
            next = cells.end;
        }
        if next < header.input.n_cells {
            let last = journals.last().map_or("", |journal| journal.name());
            return Err(missing(last, next..header.input.n_cells));
        }
        Ok(Self { journals })
    }

    /// Gives the journals back, in order.
    #[must_use]
    pub fn into_journals(self) -> Vec<Journal<F>> {
        self.journals
    }

    /// What the run is.
    #[must_use]
    pub fn header(&self) -> &RunHeader {
        self.journals[0].header()
    }

    /// Number of blocks in all parts.
    #[must_use]
    pub fn n_blocks(&self) -> usize {
        self.journals.iter().map(Journal::n_blocks).sum()
    }

    /// Hands every block to `take`, in the order of the cells.
    ///
    /// # Errors
    /// What [`Journal::read`] and `take` say.
    pub fn each(&mut self, mut take: impl FnMut(Vec<String>, CellBlock) -> Result<()>) -> Result<()> {
        for journal in &mut self.journals {
            for block in 0..journal.n_blocks() {
                let (names, block) = journal.read(block)?;
                take(names, block)?;
            }
        }
        Ok(())
    }
}

fn missing(file: &str, cells: Range<usize>) -> Error {
    let problem = format!("no part has cells {} to {}", cells.start, cells.end);
    Error::file(file, "parts", problem)
}

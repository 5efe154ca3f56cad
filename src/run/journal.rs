//! The file of a run: a header, then blocks of answers, each whole or not there.
//!
//! ```text
//! scdiva-run 1\n   length of the header, u32   the header, JSON   its CRC-32, u32
//! then for each block of cells:
//! n_cells, u32   length of the payload, u32   the payload   its CRC-32, u32
//! payload: per cell the length of its name, u32; the names, UTF-8; per cell 1 where it is known, u8
//!          with a head, per cell: label, u32 (2³² − 1 for none); probability, f32; second label, u32; its probability, f32; entropy, f32
//!          with embeddings, per cell: D numbers, f32
//! ```
//! All numbers are little-endian. Blocks follow one another in the order of the cells.

use super::header::RunHeader;
use crate::error::{Error, Result};
use crate::model::Prediction;
use crate::tasks::CellBlock;
use serde::de::IgnoredAny;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

const MAGIC: &[u8] = b"scdiva-run 1\n";
/// More than any header or block has: a length that is larger is damage.
const MAX_LEN: u32 = 1 << 30;
/// Longer than any header: a file of this length has more in it.
const MOST_STUB: u64 = 1 << 20;
const NO_LABEL: u32 = u32::MAX;

/// A journal that is open for reading and for appending.
#[derive(Debug)]
pub struct Journal<F> {
    name: String,
    file: F,
    header: RunHeader,
    /// Where each block starts, and its cells.
    blocks: Vec<(u64, Range<usize>)>,
    /// Behind the last whole block.
    end: u64,
    /// Whether something stood behind it: what a kill left half written, or damage.
    torn: bool,
}

impl<F: Read + Write + Seek> Journal<F> {
    /// Starts a journal in an empty file. `name` is how the user calls it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(name: &str, mut file: F, header: RunHeader) -> Result<Self> {
        let failed = |source| Error::Io {
            file: name.to_owned(),
            source,
        };
        let json = serde_json::to_vec(&header).map_err(|error| failed(error.into()))?;
        let mut bytes = MAGIC.to_vec();
        frame(&mut bytes, &json).map_err(failed)?;
        file.rewind().and_then(|()| file.write_all(&bytes)).map_err(failed)?;
        Ok(Self {
            name: name.to_owned(),
            file,
            header,
            blocks: Vec::new(),
            end: bytes.len() as u64,
            torn: false,
        })
    }

    /// Whether a file is the beginning of a journal that was cut off before its header was whole: no answer was ever in it. Damage is not
    /// taken for that.
    ///
    /// # Errors
    /// What the file says.
    pub fn is_stub(file: &mut F) -> io::Result<bool> {
        let size = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut start = Vec::new();
        Read::take(&mut *file, MOST_STUB).read_to_end(&mut start)?;
        let magic = &start[..start.len().min(MAGIC.len())];
        if size >= MOST_STUB || !MAGIC.starts_with(magic) {
            return Ok(false);
        }
        // Not by its length, which may be damaged: the text says where it ends.
        let n_before = MAGIC.len() + 4;
        let mut texts = serde_json::Deserializer::from_slice(start.get(n_before..).unwrap_or_default()).into_iter::<IgnoredAny>();
        Ok(match texts.next() {
            None => true,
            Some(Err(error)) => error.is_eof(),
            Some(Ok(_)) => start.len() < n_before + texts.byte_offset() + 4,
        })
    }

    /// Opens a journal and finds its whole blocks; what a kill left half written at its end is passed over, and overwritten by the next block.
    ///
    /// # Errors
    /// [`Error::File`] when this is no journal or its header is broken; [`Error::Io`].
    pub fn open(name: &str, mut file: F) -> Result<Self> {
        let failed = |source| Error::Io {
            file: name.to_owned(),
            source,
        };
        let size = file.seek(SeekFrom::End(0)).and_then(|size| file.rewind().map(|()| size));
        let mut input = Counted {
            file: &mut file,
            left: size.map_err(failed)?,
        };
        let size = input.left;
        let mut magic = [0; MAGIC.len()];
        if !input.fill(&mut magic).map_err(failed)? || magic != MAGIC {
            return Err(Error::file(name, "byte 0", "not the results of a run of scdiva"));
        }
        let json = input.frame().map_err(failed)?.ok_or_else(|| {
            Error::file(
                name,
                "header",
                "cut off or broken; nothing of the run can be used, so remove this file",
            )
        })?;
        let header: RunHeader = serde_json::from_slice(&json)
            .map_err(|error| Error::file(name, "header", format_args!("{error}; was it made by another version?")))?;
        let mut blocks: Vec<(u64, Range<usize>)> = Vec::new();
        let mut end = size - input.left;
        let mut next = header.cells.start;
        while let Some(n_cells) = input.number().map_err(failed)? {
            let cells = next..next.saturating_add(n_cells as usize);
            if n_cells == 0 || cells.end > header.cells.end || input.frame().map_err(failed)?.is_none() {
                break;
            }
            blocks.push((end, cells.clone()));
            next = cells.end;
            end = size - input.left;
        }
        Ok(Self {
            name: name.to_owned(),
            file,
            header,
            blocks,
            end,
            torn: end < size,
        })
    }

    /// How the user calls the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the run is.
    #[must_use]
    pub const fn header(&self) -> &RunHeader {
        &self.header
    }

    /// Length of what is whole, in bytes: the file may be cut off there.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.end
    }

    /// Whether something stood at the end that is half written, or not as it was written.
    #[must_use]
    pub const fn was_torn(&self) -> bool {
        self.torn
    }

    /// The first cell without an answer.
    #[must_use]
    pub fn next_cell(&self) -> usize {
        self.blocks.last().map_or(self.header.cells.start, |(_, cells)| cells.end)
    }

    /// Whether every cell has its answer.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.next_cell() == self.header.cells.end
    }

    /// Number of blocks.
    #[must_use]
    pub fn n_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The file.
    pub const fn file(&self) -> &F {
        &self.file
    }

    /// Gives the file back.
    pub fn into_file(self) -> F {
        self.file
    }

    /// Writes the next block in one piece. `names` are those of its cells.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is not the next block or not of this run's shape; [`Error::Io`].
    pub fn append(&mut self, names: &[String], block: &CellBlock) -> Result<()> {
        let n = block.cells.len();
        let labels = if self.header.model.head.is_some() { n } else { 0 };
        let fits = block.cells.start == self.next_cell()
            && block.cells.end <= self.header.cells.end
            && n > 0
            && (names.len(), block.known.len(), block.predictions.len()) == (n, n, labels)
            && (self.header.model.n_embedding == 0 || block.embedding.len() == n * self.header.model.n_embedding);
        if !fits {
            let problem = format!(
                "cells {:?}; wanted the next ones from {} on, with one answer each",
                block.cells,
                self.next_cell()
            );
            return Err(Error::argument("append", "block", problem));
        }
        let failed = |source| Error::Io {
            file: self.name.clone(),
            source,
        };
        let mut bytes = Vec::new();
        put_len(&mut bytes, n).map_err(failed)?;
        frame(
            &mut bytes,
            &payload(names, block, self.header.model.n_embedding).map_err(failed)?,
        )
        .map_err(failed)?;
        self.file
            .seek(SeekFrom::Start(self.end))
            .and_then(|_| self.file.write_all(&bytes))
            .map_err(failed)?;
        self.blocks.push((self.end, block.cells.clone()));
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Reads a block again: the names of its cells, and the answers.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such block; [`Error::File`] when it is not as it was written; [`Error::Io`].
    pub fn read(&mut self, block: usize) -> Result<(Vec<String>, CellBlock)> {
        let Some((start, cells)) = self.blocks.get(block).cloned() else {
            return Err(Error::argument(
                "read",
                "block",
                format_args!("{block}; there are {}", self.blocks.len()),
            ));
        };
        let failed = |source| Error::Io {
            file: self.name.clone(),
            source,
        };
        self.file.seek(SeekFrom::Start(start)).map_err(failed)?;
        let mut input = Counted {
            file: &mut self.file,
            left: self.end - start,
        };
        let n_cells = input.number().map_err(failed)?;
        let payload = input.frame().map_err(failed)?;
        payload
            .filter(|_| n_cells.is_some_and(|n| n as usize == cells.len()))
            .and_then(|payload| parse(&payload, cells.clone(), &self.header))
            .ok_or_else(|| {
                let place = format!("cells {} to {}", cells.start, cells.end);
                Error::file(&self.name, place, "broken: not as it was written")
            })
    }
}

/// A file of which `left` bytes are to come.
struct Counted<'a, F> {
    file: &'a mut F,
    left: u64,
}

impl<F: Read> Counted<'_, F> {
    /// Fills `out`, or says that the file ends before.
    fn fill(&mut self, out: &mut [u8]) -> io::Result<bool> {
        if self.left < out.len() as u64 {
            return Ok(false);
        }
        self.file.read_exact(out)?;
        self.left -= out.len() as u64;
        Ok(true)
    }

    fn number(&mut self) -> io::Result<Option<u32>> {
        let mut bytes = [0; 4];
        Ok(self.fill(&mut bytes)?.then(|| u32::from_le_bytes(bytes)))
    }

    /// Bytes with their length before and their CRC behind them; `None` when they are cut off or damaged.
    fn frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(len) = self.number()?.filter(|&len| len <= MAX_LEN && u64::from(len) <= self.left) else {
            return Ok(None);
        };
        let mut bytes = vec![0; len as usize];
        if !self.fill(&mut bytes)? {
            return Ok(None);
        }
        let crc = self.number()?;
        Ok((crc == Some(crc32fast::hash(&bytes))).then_some(bytes))
    }
}

fn put_len(out: &mut Vec<u8>, len: usize) -> io::Result<()> {
    let len = u32::try_from(len).ok().filter(|&len| len <= MAX_LEN);
    let len = len.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a block of more than 1 GiB"))?;
    out.extend(len.to_le_bytes());
    Ok(())
}

fn frame(out: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    put_len(out, bytes.len())?;
    out.extend(bytes);
    out.extend(crc32fast::hash(bytes).to_le_bytes());
    Ok(())
}

fn payload(names: &[String], block: &CellBlock, n_embedding: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for name in names {
        put_len(&mut out, name.len())?;
    }
    for name in names {
        out.extend(name.as_bytes());
    }
    out.extend(block.known.iter().map(|&known| u8::from(known)));
    let label = |label: usize| u32::try_from(label).unwrap_or(NO_LABEL).to_le_bytes();
    for prediction in &block.predictions {
        let (first, second, numbers) = prediction.map_or((NO_LABEL.to_le_bytes(), NO_LABEL.to_le_bytes(), [f32::NAN; 3]), |p| {
            (
                label(p.label),
                label(p.second_label),
                [p.probability, p.second_probability, p.entropy],
            )
        });
        out.extend(first);
        out.extend(numbers[0].to_le_bytes());
        out.extend(second);
        out.extend(numbers[1].to_le_bytes());
        out.extend(numbers[2].to_le_bytes());
    }
    if n_embedding > 0 {
        out.extend(block.embedding.iter().flat_map(|number| number.to_le_bytes()));
    }
    Ok(out)
}

/// What stands at the front of `rest`, taken off.
fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (front, back) = rest.split_at_checked(len)?;
    *rest = back;
    Some(front)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?))
}

fn take_f32(rest: &mut &[u8]) -> Option<f32> {
    take_u32(rest).map(f32::from_bits)
}

fn parse(mut rest: &[u8], cells: Range<usize>, header: &RunHeader) -> Option<(Vec<String>, CellBlock)> {
    let rest = &mut rest;
    let n = cells.len();
    let lengths = (0..n).map(|_| take_u32(rest)).collect::<Option<Vec<u32>>>()?;
    let names = lengths
        .into_iter()
        .map(|len| String::from_utf8(take(rest, len as usize)?.to_vec()).ok())
        .collect::<Option<Vec<String>>>()?;
    let known = take(rest, n)?.iter().map(|&known| known == 1).collect();
    let n_labels = header.model.labels.len();
    let prediction = |rest: &mut &[u8]| {
        let (label, probability) = (take_u32(rest)?, take_f32(rest)?);
        let (second_label, second_probability) = (take_u32(rest)?, take_f32(rest)?);
        let entropy = take_f32(rest)?;
        if label == NO_LABEL {
            return Some(None);
        }
        let prediction = Prediction {
            label: label as usize,
            probability,
            second_label: second_label as usize,
            second_probability,
            entropy,
        };
        (prediction.label.max(prediction.second_label) < n_labels).then_some(Some(prediction))
    };
    let n_predictions = if header.model.head.is_some() { n } else { 0 };
    let predictions = (0..n_predictions).map(|_| prediction(rest)).collect::<Option<_>>()?;
    let embedding = (0..n * header.model.n_embedding)
        .map(|_| take_f32(rest))
        .collect::<Option<_>>()?;
    rest.is_empty().then_some((
        names,
        CellBlock {
            cells,
            known,
            predictions,
            embedding,
        },
    ))
}

//! What gzip or a zip archive compressed, as a source that can be read from any place.

use super::Source;
use crc32fast::Hasher;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes between two stored states at first; doubled whenever there are [`MAX_POINTS`] of them.
const SPACING: u64 = 4 << 20;
/// A stored state takes about 45 kB.
const MAX_POINTS: usize = 256;
/// Bytes that are decoded at a time, and kept.
const BLOCK: usize = 256 << 10;
/// Nothing that people measure is smaller compressed than this, once it is larger than a gigabyte.
const MAX_RATIO: u64 = 1000;
const ALWAYS_ALLOWED: u64 = 1 << 30;

/// How the compressed bytes are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// One gzip member or several, as `gzip`, `bgzip` and `cat` make them.
    Gzip,
    /// A bare stream of which a zip archive says the length and the CRC-32 of what comes out.
    Deflate { size: u64, crc: u32 },
}

/// A compressed source. All of it is decoded once when it is opened, which verifies the checksums; states of the decoder are kept every
/// few MiB, so that any place can be decoded again from the state before it.
pub(super) struct Inflated {
    source: Arc<dyn Source>,
    size: u64,
    /// By what they give next; the first at 0.
    points: Vec<Decoder>,
    last: Mutex<Last>,
}

/// The block that was decoded last, and the decoder behind it.
struct Last {
    decoder: Decoder,
    input: Input,
    block: Vec<u8>,
}

/// Compressed bytes that were read ahead.
#[derive(Default)]
struct Input {
    start: u64,
    bytes: Vec<u8>,
}

impl Input {
    /// Some bytes from `offset` on; none at the end.
    fn at(&mut self, source: &dyn Source, offset: u64) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset >= end {
            let len = usize::try_from(source.size().saturating_sub(offset)).unwrap_or(usize::MAX);
            self.bytes.resize(len.min(64 << 10), 0);
            self.start = offset;
            source.read_at(offset, &mut self.bytes)?;
        }
        let skip = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skip..).unwrap_or_default())
    }

    fn exact<const N: usize>(&mut self, source: &dyn Source, offset: &mut u64) -> io::Result<[u8; N]> {
        let mut out = [0; N];
        for byte in &mut out {
            *byte = *self.at(source, *offset)?.first().ok_or_else(cut_off)?;
            *offset += 1;
        }
        Ok(out)
    }

    /// Passes a text that ends with a zero byte.
    fn skip_text(&mut self, source: &dyn Source, offset: &mut u64) -> io::Result<()> {
        while self.exact(source, offset)? != [0] {}
        Ok(())
    }
}

#[derive(Clone)]
struct Decoder {
    wrapping: Wrapping,
    /// Compressed bytes that were taken.
    taken: u64,
    /// Bytes that were given.
    given: u64,
    /// `None` between two members.
    state: Option<Box<InflateState>>,
    crc: Hasher,
    /// Bytes that this member gave.
    member: u64,
}

fn cut_off() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the compressed file is cut off")
}

fn broken(problem: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the compressed file is broken: {problem}"))
}

impl Decoder {
    fn new(wrapping: Wrapping) -> Self {
        Self {
            wrapping,
            taken: 0,
            given: 0,
            state: matches!(wrapping, Wrapping::Deflate { .. }).then(|| InflateState::new_boxed(DataFormat::Raw)),
            crc: Hasher::new(),
            member: 0,
        }
    }

    /// Fills `out` as far as there is something.
    fn read(&mut self, source: &dyn Source, input: &mut Input, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < out.len() {
            let Some(state) = &mut self.state else {
                if !self.next_member(source, input)? {
                    break;
                }
                continue;
            };
            let bytes = input.at(source, self.taken)?;
            let result = inflate(state, bytes, &mut out[filled..], MZFlush::None);
            let given = &out[filled..filled + result.bytes_written];
            self.crc.update(given);
            self.taken += result.bytes_consumed as u64;
            self.given += given.len() as u64;
            self.member += given.len() as u64;
            filled += given.len();
            match result.status {
                Ok(MZStatus::StreamEnd) => {
                    self.state = None;
                    self.end_member(source, input)?;
                }
                Ok(_) if result.bytes_consumed > 0 || result.bytes_written > 0 => {}
                Ok(_) | Err(MZError::Buf) => return Err(cut_off()),
                Err(_) => return Err(broken("no deflate stream")),
            }
        }
        Ok(filled)
    }

    /// Begins the next member, if there is one. Zeros behind the last are padding, as `tar` and tapes leave it.
    fn next_member(&mut self, source: &dyn Source, input: &mut Input) -> io::Result<bool> {
        if self.wrapping != Wrapping::Gzip {
            return Ok(false);
        }
        while self.given > 0 && input.at(source, self.taken)?.first() == Some(&0) {
            self.taken += 1;
        }
        if self.taken >= source.size() {
            return Ok(false);
        }
        let mut at = self.taken;
        let [one, two, method, flags, ..] = input.exact::<10>(source, &mut at)?;
        if [one, two, method] != [0x1f, 0x8b, 8] {
            return Err(broken("something that is not gzip follows"));
        }
        if flags & 4 != 0 {
            let extra = u16::from_le_bytes(input.exact(source, &mut at)?);
            at += u64::from(extra);
        }
        for text in [8, 16] {
            if flags & text != 0 {
                input.skip_text(source, &mut at)?;
            }
        }
        if flags & 2 != 0 {
            at += 2;
        }
        if at > source.size() {
            return Err(cut_off());
        }
        self.taken = at;
        self.member = 0;
        self.crc = Hasher::new();
        self.state = Some(InflateState::new_boxed(DataFormat::Raw));
        Ok(true)
    }

    fn end_member(&mut self, source: &dyn Source, input: &mut Input) -> io::Result<()> {
        let (crc, same_size) = match self.wrapping {
            Wrapping::Gzip => {
                let crc = u32::from_le_bytes(input.exact(source, &mut self.taken)?);
                let size = u32::from_le_bytes(input.exact(source, &mut self.taken)?);
                (crc, u64::from(size) == self.member & u64::from(u32::MAX))
            }
            Wrapping::Deflate { size, crc } => (crc, size == self.member),
        };
        if !same_size {
            return Err(broken("its length is not the one it says"));
        }
        if crc != self.crc.clone().finalize() {
            return Err(broken("its checksum is not the one it says"));
        }
        Ok(())
    }
}

impl Inflated {
    /// Decodes all of it once.
    ///
    /// # Errors
    /// Kind `UnexpectedEof` when it is cut off, `InvalidData` when it is broken or unpacks to more than anything sensible.
    pub(super) fn open(source: Arc<dyn Source>, wrapping: Wrapping) -> io::Result<Self> {
        let most = source.size().saturating_mul(MAX_RATIO).max(ALWAYS_ALLOWED);
        if let Wrapping::Deflate { size, .. } = wrapping
            && size > most
        {
            return Err(bomb());
        }
        let mut decoder = Decoder::new(wrapping);
        let mut input = Input::default();
        let mut points = vec![decoder.clone()];
        let mut spacing = SPACING;
        let mut block = vec![0; BLOCK];
        while decoder.read(source.as_ref(), &mut input, &mut block)? > 0 {
            let over = match wrapping {
                Wrapping::Gzip => decoder.given > most,
                Wrapping::Deflate { size, .. } => decoder.given > size,
            };
            if over {
                return Err(bomb());
            }
            if points.last().is_some_and(|point| decoder.given >= point.given + spacing) {
                points.push(decoder.clone());
            }
            if points.len() >= MAX_POINTS {
                points = points.into_iter().step_by(2).collect();
                spacing *= 2;
            }
        }
        let size = decoder.given;
        block.clear();
        Ok(Self {
            source,
            size,
            points,
            last: Mutex::new(Last { decoder, input, block }),
        })
    }
}

fn bomb() -> io::Error {
    broken("it unpacks to more than 1000 times its size, or more than it says")
}

impl Source for Inflated {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut guard = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Last { decoder, input, block } = &mut *guard;
        while !out.is_empty() {
            let start = decoder.given - block.len() as u64;
            if offset >= start && offset < decoder.given {
                let skip = usize::try_from(offset - start).unwrap_or(usize::MAX);
                let part = &block[skip..];
                let len = part.len().min(out.len());
                let (now, later) = out.split_at_mut(len);
                now.copy_from_slice(&part[..len]);
                out = later;
                offset += len as u64;
                continue;
            }
            let point = &self.points[self.points.partition_point(|point| point.given <= offset) - 1];
            if offset < start || point.given > decoder.given {
                *decoder = point.clone();
            }
            block.resize(BLOCK, 0);
            let result = decoder.read(self.source.as_ref(), input, block);
            block.truncate(*result.as_ref().unwrap_or(&0));
            // Only a source that changed under way ends early.
            if result? == 0 {
                return Err(cut_off());
            }
        }
        Ok(())
    }
}

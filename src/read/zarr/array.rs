//! Blocks of a Zarr array from its chunks, each read and decoded whole, and kept for a while.

use super::cache::Key;
use super::metadata::{Fill, Layout, Shards, Stored, TRUTH};
use super::{Files, codecs};
use crate::error::{Error, Result};
use crate::read::Source;
use crate::read::container::{Array, Element, Numbers};
use crate::read::filters::{MAX_CHUNK_SIZE, Undecoded};
use crate::read::numbers::{self, Number};
use std::fmt::Display;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

/// More chunks than any shard holds.
const MAX_CHUNKS_OF_SHARD: u64 = 1 << 22;

pub(super) struct ZarrArray {
    files: Arc<Files>,
    path: Arc<str>,
    layout: Layout,
}

/// A chunk as it is decoded; nothing where it holds the fill value alone.
type Chunk = Option<Arc<Vec<u8>>>;

impl ZarrArray {
    pub(super) fn new(files: Arc<Files>, path: &str, layout: Layout) -> Self {
        Self {
            files,
            path: path.into(),
            layout,
        }
    }

    /// The file in which a chunk or shard stands.
    fn file(&self, place: &[u64]) -> String {
        let mut key = format!("{}/{}", self.path, self.layout.key_start);
        for (i, coordinate) in place.iter().enumerate() {
            if i > 0 || !self.layout.key_start.is_empty() {
                key.push(self.layout.key_separator);
            }
            key += &coordinate.to_string();
        }
        if place.is_empty() && self.layout.key_start.is_empty() {
            key.push('0');
        }
        key
    }

    fn at(&self, file: &str, problem: impl Display) -> Error {
        Error::file(&self.files.name, file, problem)
    }

    /// What was decoded before, or what `read` gives.
    fn kept(&self, key: Key, read: impl FnOnce() -> Result<Chunk>) -> Result<Chunk> {
        let cache = || self.files.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = cache().get(&key) {
            return Ok(Some(chunk));
        }
        let chunk = read()?;
        if let Some(chunk) = &chunk {
            cache().put(key, Arc::clone(chunk));
        }
        Ok(chunk)
    }

    fn chunk(&self, place: &[u64]) -> Result<Chunk> {
        self.kept((Arc::clone(&self.path), place.to_vec()), || {
            let size = self.chunk_size()?;
            let Some((file, start, stored_size)) = self.located(place)? else {
                return Ok(None);
            };
            let mut bytes = self.bytes(&file, start, stored_size)?;
            for codec in &self.layout.codecs {
                bytes = codec.decode(&bytes).map_err(|undecoded| self.undecoded(&file, &undecoded))?;
            }
            // It is kept, and decoders leave up to as much again behind it.
            bytes.shrink_to_fit();
            match size {
                Some(size) if bytes.len() != size => {
                    Err(self.at(&file, format_args!("a chunk of {} bytes; wanted {size}", bytes.len())))
                }
                _ => Ok(Some(Arc::new(bytes))),
            }
        })
    }

    fn undecoded(&self, file: &str, undecoded: &Undecoded) -> Error {
        match undecoded {
            Undecoded::Broken(codec) => self.at(file, format_args!("the chunk is broken ({codec}). Was it copied whole?")),
            Undecoded::Unknown(codec) => {
                let problem = format_args!(
                    "compressed with {codec}, which cannot be read; write it again as anndata does by default: adata.write_zarr(path)"
                );
                Error::file(&self.files.name, &self.path, problem)
            }
        }
    }

    /// Bytes of a decoded chunk, where its elements have one size.
    fn chunk_size(&self) -> Result<Option<usize>> {
        let Some(element_size) = self.layout.stored.size() else {
            return Ok(None);
        };
        let mut sides = self.layout.chunk.iter();
        let size = sides.try_fold(element_size, |size, &n| size.checked_mul(usize::try_from(n).ok()?));
        match size.filter(|&size| size <= MAX_CHUNK_SIZE) {
            Some(size) => Ok(Some(size)),
            None => Err(self.wrong(&format_args!(
                "chunks of {:?} elements; wanted no more than {} MiB a chunk: write it again in smaller ones",
                self.layout.chunk,
                MAX_CHUNK_SIZE >> 20
            ))),
        }
    }

    /// The file that holds a chunk, and where it begins there and how long it is; nothing if no file does.
    fn located(&self, place: &[u64]) -> Result<Option<(String, u64, u64)>> {
        let Some(shards) = &self.layout.shards else {
            let file = self.file(place);
            let size = self.files.files.get(&file).map(|source| source.size());
            return Ok(size.map(|size| (file, 0, size)));
        };
        let shard: Vec<u64> = place.iter().zip(&shards.counts).map(|(place, count)| place / count).collect();
        let file = self.file(&shard);
        let Some(source) = self.files.files.get(&file) else {
            return Ok(None);
        };
        let index = self.kept((format!("{}/", self.path).into(), shard), || {
            self.shard_index(&file, source.as_ref(), shards).map(Some)
        })?;
        let inside = place.iter().zip(&shards.counts);
        let number = inside.fold(0, |number, (place, count)| number * count + place % count);
        let entry = usize::try_from(number).ok().zip(index).and_then(|(number, index)| {
            let entries = index.as_chunks::<8>().0;
            let number_at = |i: usize| {
                let &bytes = entries.get(2 * number + i)?;
                Some(if shards.index_big_endian {
                    u64::from_be_bytes(bytes)
                } else {
                    u64::from_le_bytes(bytes)
                })
            };
            number_at(0).zip(number_at(1))
        });
        match entry {
            // So it marks a chunk that is not there.
            Some((u64::MAX, u64::MAX)) => Ok(None),
            Some((start, size)) => Ok(Some((file, start, size))),
            None => Err(self.at(&file, "its list of chunks is too short")),
        }
    }

    /// Where the chunks of a shard begin and how long they are, two numbers of 8 bytes each.
    fn shard_index(&self, file: &str, source: &dyn Source, shards: &Shards) -> Result<Arc<Vec<u8>>> {
        let n_chunks = shards.counts.iter().try_fold(1_u64, |n, &count| n.checked_mul(count));
        let Some(n_chunks) = n_chunks.filter(|&n| n <= MAX_CHUNKS_OF_SHARD) else {
            return Err(self.wrong(&format_args!("{:?} chunks in a shard are too many", shards.counts)));
        };
        let size = 16 * n_chunks + if shards.index_has_checksum { 4 } else { 0 };
        let start = match source.size().checked_sub(size) {
            Some(_) if shards.index_at_start => 0,
            Some(start) => start,
            None => {
                return Err(self.at(
                    file,
                    format_args!("{} bytes are too few for a list of {n_chunks} chunks", source.size()),
                ));
            }
        };
        let mut index = self.bytes(file, start, size)?;
        if shards.index_has_checksum {
            let content = codecs::checked(&index)
                .ok_or_else(|| self.at(file, "its list of chunks is broken"))?
                .len();
            index.truncate(content);
        }
        Ok(Arc::new(index))
    }

    fn bytes(&self, file: &str, start: u64, size: u64) -> Result<Vec<u8>> {
        let Some(source) = self.files.files.get(file) else {
            return Err(self.at(file, "missing"));
        };
        let fits = start.checked_add(size).is_some_and(|end| end <= source.size());
        match usize::try_from(size).ok().filter(|&size| fits && size <= MAX_CHUNK_SIZE) {
            Some(size) => {
                let mut bytes = vec![0; size];
                source
                    .read_at(start, &mut bytes)
                    .map_err(|error| self.files.unreadable(file, error))?;
                Ok(bytes)
            }
            None => Err(self.at(
                file,
                format_args!(
                    "a chunk of {size} bytes at {start}, but the file has {}, and no more than {MAX_CHUNK_SIZE} are read",
                    source.size()
                ),
            )),
        }
    }

    /// A chunk that is not there must be meant to be filled with something known.
    fn no_fill(&self, fill: &Fill) -> Error {
        let shown = match fill {
            Fill::Number(bytes) => format!("{bytes:?}"),
            Fill::Text(text) | Fill::Unknown(text) => text.clone(),
        };
        self.wrong(&format_args!(
            "a chunk is missing, and the fill value {shown} is not understood"
        ))
    }

    fn read_as<T: Number>(&self, block: &[Range<usize>], out: &mut Vec<T>) -> Result<()> {
        let number_type = match self.element() {
            Element::Number(number_type) => number_type,
            Element::Truth => TRUTH,
            _ => return Err(self.wrong(&format_args!("{}; wanted numbers", self.type_name()))),
        };
        let size = usize::from(number_type.size);
        let sides: Vec<usize> = self
            .layout
            .chunk
            .iter()
            .map(|&side| usize::try_from(side).unwrap_or(usize::MAX))
            .collect();
        // A list is one row; its columns are the dimension that the chunks divide.
        let (rows, columns, row_side, column_side) = match (block, sides.as_slice()) {
            ([columns], &[side]) => (0..1, columns.clone(), 1, side),
            ([], []) => (0..1, 0..1, 1, 1),
            ([rows, columns], &[row_side, column_side]) => (rows.clone(), columns.clone(), row_side, column_side),
            _ => return Err(self.wrong(&format_args!("{} dimensions; wanted no more than two", sides.len()))),
        };
        let (row_stride, column_stride) = match self.layout.order.as_slice() {
            [1, 0] => (1, row_side),
            _ => (column_side, 1),
        };
        let too_large = || {
            self.wrong(&format_args!(
                "{} × {} numbers at once are too many for this machine",
                rows.len(),
                columns.len()
            ))
        };
        let len = rows.len().checked_mul(columns.len()).ok_or_else(too_large)?;
        out.try_reserve(len).map_err(|_| too_large().for_lack_of_memory())?;
        let first = out.len();
        out.resize(first + len, T::from_i64(0));
        let out = &mut out[first..];

        let (mut numbers, mut gathered) = (Vec::new(), Vec::new());
        for (chunk_row, rows_there) in pieces(&rows, row_side) {
            for (chunk_column, columns_there) in pieces(&columns, column_side) {
                let place = [chunk_row, chunk_column];
                let chunk = self.chunk(&place[2 - block.len()..])?;
                if chunk.is_none() {
                    numbers.clear();
                    let decoded = match &self.layout.fill {
                        Fill::Number(bytes) => numbers::decode(bytes, number_type, &mut numbers),
                        _ => None,
                    };
                    decoded.ok_or_else(|| self.no_fill(&self.layout.fill))?;
                }
                for row in rows_there.clone() {
                    let to = (row - rows.start) * columns.len() + columns_there.start - columns.start;
                    let to = &mut out[to..to + columns_there.len()];
                    let Some(chunk) = &chunk else {
                        to.fill(numbers.first().copied().unwrap_or(T::from_i64(0)));
                        continue;
                    };
                    let line = (row % row_side) * row_stride + (columns_there.start % column_side) * column_stride;
                    // The chunk has as many bytes as its shape says, so that every place is in it.
                    let raw = if column_stride == 1 {
                        &chunk[line * size..(line + to.len()) * size]
                    } else {
                        gathered.clear();
                        for column in 0..to.len() {
                            let place = (line + column * column_stride) * size;
                            gathered.extend_from_slice(&chunk[place..place + size]);
                        }
                        &gathered
                    };
                    numbers.clear();
                    numbers::decode(raw, number_type, &mut numbers)
                        .filter(|()| numbers.len() == to.len())
                        .ok_or_else(|| self.wrong(&format_args!("{}; wanted numbers", self.type_name())))?;
                    to.copy_from_slice(&numbers);
                }
            }
        }
        Ok(())
    }

    /// The texts of a decoded chunk, those at some places.
    fn texts_of(&self, chunk: &[u8], places: Range<usize>, out: &mut Vec<String>) -> Result<()> {
        let broken = || self.wrong(&"a chunk of texts is broken");
        let no_utf8 = || self.wrong(&"text that is not UTF-8");
        let fixed = |size: usize| chunk.chunks_exact(size).skip(places.start).take(places.len());
        let before = out.len();
        match self.layout.stored {
            Stored::FixedText(size) => {
                for bytes in fixed(size) {
                    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                    out.push(String::from_utf8(bytes[..end].to_vec()).map_err(|_| no_utf8())?);
                }
            }
            Stored::FixedUtf32 { size, big_endian } => {
                for bytes in fixed(size) {
                    let codes = bytes.as_chunks::<4>().0.iter().map(|&code| {
                        let code = if big_endian {
                            u32::from_be_bytes(code)
                        } else {
                            u32::from_le_bytes(code)
                        };
                        char::from_u32(code).ok_or_else(no_utf8)
                    });
                    let text: String = codes.collect::<Result<_>>()?;
                    out.push(text.trim_end_matches('\0').to_owned());
                }
            }
            Stored::Text => {
                let mut rest = chunk.get(4..).ok_or_else(broken)?;
                for place in 0..places.end {
                    let (&len, after) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
                    let len = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
                    let (text, after) = after.split_at_checked(len).ok_or_else(broken)?;
                    if place >= places.start {
                        out.push(String::from_utf8(text.to_vec()).map_err(|_| no_utf8())?);
                    }
                    rest = after;
                }
            }
            Stored::Number(_) | Stored::Truth | Stored::Other(_) => {}
        }
        match out.len() - before {
            n if n == places.len() => Ok(()),
            _ => Err(broken()),
        }
    }
}

/// The chunks that hold a range: their numbers, and the part of the range in each.
fn pieces(range: &Range<usize>, side: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    let (start, end) = (range.start, range.end);
    let first = start / side;
    let after = if start < end { (end - 1) / side + 1 } else { first };
    (first..after).map(move |chunk| {
        let from = chunk * side;
        (chunk as u64, start.max(from)..end.min(from.saturating_add(side)))
    })
}

impl Array for ZarrArray {
    fn path(&self) -> &str {
        &self.path
    }

    fn shape(&self) -> &[u64] {
        &self.layout.shape
    }

    fn element(&self) -> Element {
        self.layout.stored.element()
    }

    fn type_name(&self) -> String {
        match &self.layout.stored {
            Stored::Number(number_type) => number_type.to_string(),
            Stored::Truth => "bool".to_owned(),
            Stored::Text | Stored::FixedText(_) | Stored::FixedUtf32 { .. } => "string".to_owned(),
            Stored::Other(name) => name.clone(),
        }
    }

    fn wrong(&self, problem: &dyn Display) -> Error {
        Error::file(&self.files.name, &self.path, problem)
    }

    fn read(&self, block: &[Range<usize>], out: Numbers<'_>) -> Result<()> {
        match out {
            Numbers::Values(out) => self.read_as(block, out),
            Numbers::Indices(out) => self.read_as(block, out),
            Numbers::Doubles(out) => self.read_as(block, out),
        }
    }

    fn check_stored(&self, range: Range<usize>) -> Result<()> {
        let (&[side], &[len]) = (self.layout.chunk.as_slice(), self.shape()) else {
            return Ok(());
        };
        for (place, _) in pieces(&range, usize::try_from(side).unwrap_or(usize::MAX)) {
            let holds_several = len - place * side > 1 && side > 1;
            if holds_several && self.located(&[place])?.is_none() {
                return Err(self.wrong(&format_args!("chunk {place} is missing. Was the store copied whole?")));
            }
        }
        Ok(())
    }

    fn texts(&self, range: Range<usize>) -> Result<Vec<String>> {
        let &[side] = self.layout.chunk.as_slice() else {
            return Err(self.wrong(&format_args!("{} dimensions; wanted one", self.layout.chunk.len())));
        };
        let (side, mut texts) = (usize::try_from(side).unwrap_or(usize::MAX), Vec::new());
        for (place, part) in pieces(&range, side) {
            match (self.chunk(&[place])?, &self.layout.fill) {
                (Some(chunk), _) => {
                    let first = part.start % side;
                    self.texts_of(&chunk, first..first + part.len(), &mut texts)?;
                }
                (None, Fill::Text(text)) => texts.resize(texts.len() + part.len(), text.clone()),
                (None, fill) => return Err(self.no_fill(fill)),
            }
        }
        Ok(texts)
    }
}

//! The compressions that matrices are met with: of Zarr, and those that HDF5 leaves to plugins: LZF (of h5py), Zstandard, Blosc and Bitshuffle.
//! What they decode is not to be trusted: no output grows past what the file may hold in one chunk, and every index is checked.

use hdf5_reader::FilterRegistry;
use hdf5_reader::error::Error;
use std::io::Read;

const LZF: u16 = 32000;
const BLOSC: u16 = 32001;
const BITSHUFFLE: u16 = 32008;
const ZSTANDARD: u16 = 32015;

/// No chunk may decode to more: h5py's are below 1 MiB, Zarr's below 64 MiB unless somebody chose otherwise.
pub(super) const MAX_CHUNK_SIZE: usize = 1 << 28;

/// hdf5-reader's own filters and ours.
pub(super) fn registry() -> FilterRegistry {
    let mut registry = FilterRegistry::new();
    registry.register(
        LZF,
        Box::new(|filter, data, _| whole(lzf(data, declared(&filter.client_data, 2)), "LZF")),
    );
    registry.register(
        ZSTANDARD,
        Box::new(|_, data, _| whole(zstandard(data, MAX_CHUNK_SIZE), "Zstandard")),
    );
    registry.register(
        BLOSC,
        Box::new(|filter, data, _| Ok(blosc(data, declared(&filter.client_data, 3))?)),
    );
    registry.register(
        BITSHUFFLE,
        Box::new(|filter, data, _| Ok(bitshuffle(data, &filter.client_data)?)),
    );
    registry
}

/// Why a chunk could not be decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Undecoded {
    /// What was compressed with this is not what it should be.
    Broken(&'static str),
    /// What it is compressed with, in words.
    Unknown(String),
}

impl From<Undecoded> for Error {
    fn from(undecoded: Undecoded) -> Self {
        match undecoded {
            Undecoded::Broken(filter) => Self::FilterError(format!("a chunk compressed with {filter} is broken")),
            Undecoded::Unknown(filter) => Self::UnsupportedFilter(filter),
        }
    }
}

/// The decoded bytes, or that this compression's are broken.
fn whole(decoded: Option<Vec<u8>>, filter: &'static str) -> Result<Vec<u8>, Error> {
    decoded.ok_or(Undecoded::Broken(filter)).map_err(Error::from)
}

/// The size of a chunk in bytes, which some filters keep among their parameters.
fn declared(parameters: &[u32], place: usize) -> usize {
    match parameters.get(place) {
        Some(&size) if size > 0 => MAX_CHUNK_SIZE.min(size as usize),
        _ => MAX_CHUNK_SIZE,
    }
}

/// Appends `len` bytes from `distance` before the end, which may overlap what is being written.
fn repeat(out: &mut Vec<u8>, distance: usize, len: usize, max_size: usize) -> Option<()> {
    let start = out.len().checked_sub(distance)?;
    if distance == 0 || len > max_size - out.len().min(max_size) {
        return None;
    }
    for place in start..start + len {
        out.push(out[place]);
    }
    Some(())
}

fn literal(out: &mut Vec<u8>, data: &mut &[u8], len: usize, max_size: usize) -> Option<()> {
    let (bytes, rest) = data.split_at_checked(len)?;
    if len > max_size - out.len().min(max_size) {
        return None;
    }
    out.extend_from_slice(bytes);
    *data = rest;
    Some(())
}

fn byte(data: &mut &[u8]) -> Option<usize> {
    let (&first, rest) = data.split_first()?;
    *data = rest;
    Some(first.into())
}

/// Four bytes as a size.
fn size(data: &mut &[u8], from_bytes: fn([u8; 4]) -> u32) -> Option<usize> {
    let (&bytes, rest) = data.split_first_chunk::<4>()?;
    *data = rest;
    usize::try_from(from_bytes(bytes)).ok()
}

/// The format of `LibLZF`: runs of literals, and repeats of what was less than 8 KiB before.
fn lzf(mut data: &[u8], max_size: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while !data.is_empty() {
        let control = byte(&mut data)?;
        if control < 32 {
            literal(&mut out, &mut data, control + 1, max_size)?;
            continue;
        }
        let mut len = control >> 5;
        if len == 7 {
            len += byte(&mut data)?;
        }
        let distance = ((control & 31) << 8) + byte(&mut data)? + 1;
        repeat(&mut out, distance, len + 2, max_size)?;
    }
    Some(out)
}

pub(super) fn zstandard(data: &[u8], max_size: usize) -> Option<Vec<u8>> {
    let decoder = ruzstd::decoding::StreamingDecoder::new(data).ok()?;
    limited(decoder, max_size)
}

pub(super) fn zlib(data: &[u8], max_size: usize) -> Option<Vec<u8>> {
    limited(flate2::read::ZlibDecoder::new(data), max_size)
}

/// A zip entry's kind of it: neither header nor checksum.
pub(super) fn deflate(data: &[u8], max_size: usize) -> Option<Vec<u8>> {
    limited(flate2::read::DeflateDecoder::new(data), max_size)
}

pub(super) fn gzip(data: &[u8], max_size: usize) -> Option<Vec<u8>> {
    limited(flate2::read::MultiGzDecoder::new(data), max_size)
}

fn limited(decoder: impl Read, max_size: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    decoder.take(max_size as u64 + 1).read_to_end(&mut out).ok()?;
    (out.len() <= max_size).then_some(out)
}

/// `size` comes from the file; LZ4 makes at most 255 bytes of one.
pub(super) fn lz4(data: &[u8], size: usize) -> Option<Vec<u8>> {
    if size > data.len().saturating_mul(255) {
        return None;
    }
    let mut out = vec![0; size];
    let len = lz4_flex::block::decompress_into(data, &mut out).ok()?;
    (len == size).then_some(out)
}

/// Blosc's own codec, a `FastLZ` with distances of up to 72 KiB.
fn blosclz(mut data: &[u8], size: usize) -> Option<Vec<u8>> {
    const NEAR: usize = 8191;
    let mut out = Vec::new();
    let mut control = byte(&mut data)? & 31;
    loop {
        if control < 32 {
            literal(&mut out, &mut data, control + 1, size)?;
        } else {
            let mut len = (control >> 5) - 1;
            let high = (control & 31) << 8;
            if len == 6 {
                loop {
                    let more = byte(&mut data)?;
                    len += more;
                    if more != 255 {
                        break;
                    }
                }
            }
            let low = byte(&mut data)?;
            let distance = if low == 255 && high == 31 << 8 {
                (byte(&mut data)? << 8) + byte(&mut data)? + NEAR
            } else {
                high + low
            };
            repeat(&mut out, distance + 1, len + 3, size)?;
        }
        if data.is_empty() {
            return Some(out);
        }
        control = byte(&mut data)?;
    }
}

/// Blosc 1: a header, where each block starts, and blocks of one stream, or of one for each byte of a number.
pub(super) fn blosc(data: &[u8], max_size: usize) -> Result<Vec<u8>, Undecoded> {
    let codec = data.get(2).map_or(0, |flags| flags >> 5);
    match codec {
        2 => Err(Undecoded::Unknown("Blosc with Snappy".to_owned())),
        5.. => Err(Undecoded::Unknown(format!("Blosc with codec {codec}"))),
        _ => blosc_blocks(data, codec, max_size).ok_or(Undecoded::Broken("Blosc")),
    }
}

fn blosc_blocks(data: &[u8], codec: u8, max_size: usize) -> Option<Vec<u8>> {
    let &[_, _, flags, type_size, ..] = data else {
        return None;
    };
    let mut rest = data.get(4..)?;
    let n_bytes = size(&mut rest, u32::from_le_bytes)?;
    let block_size = size(&mut rest, u32::from_le_bytes)?;
    size(&mut rest, u32::from_le_bytes)?;
    if n_bytes > max_size {
        return None;
    }
    if flags & 2 != 0 {
        return rest.get(..n_bytes).map(<[u8]>::to_vec);
    }
    let (type_size, mut out) = (usize::from(type_size), Vec::new());
    while out.len() < n_bytes {
        let len = block_size.min(n_bytes - out.len());
        let mut block = data.get(size(&mut rest, u32::from_le_bytes)?..)?;
        let is_split = flags & 0x10 == 0 && (1..=16).contains(&type_size) && block_size / type_size >= 128 && len == block_size;
        let n_streams = if is_split { type_size } else { 1 };
        let stream_len = len / n_streams;
        let mut bytes = Vec::new();
        for _ in 0..n_streams {
            let (stream, others) = {
                let stream_size = size(&mut block, u32::from_le_bytes)?;
                block.split_at_checked(stream_size)?
            };
            block = others;
            let decoded = match codec {
                _ if stream.len() == stream_len => stream.to_vec(),
                0 => blosclz(stream, stream_len)?,
                1 => lz4(stream, stream_len)?,
                3 => zlib(stream, stream_len)?,
                _ => zstandard(stream, stream_len)?,
            };
            if decoded.len() != stream_len {
                return None;
            }
            bytes.extend(decoded);
        }
        if bytes.len() != len || len == 0 {
            return None;
        }
        if flags & 1 != 0 && type_size > 1 {
            bytes = unshuffled(&bytes, type_size);
        } else if flags & 4 != 0 && type_size > 0 && (len / type_size).is_multiple_of(8) {
            bytes = bits_unshuffled(&bytes, type_size);
        }
        out.extend(bytes);
    }
    Some(out)
}

/// First bytes of all numbers, then second ones, …: back into numbers. A rest that is no whole number stays.
pub(super) fn unshuffled(bytes: &[u8], type_size: usize) -> Vec<u8> {
    let n = bytes.len() / type_size;
    let mut out = bytes.to_vec();
    for (place, number) in out.chunks_exact_mut(type_size).enumerate() {
        for (byte, to) in number.iter_mut().enumerate() {
            *to = bytes[byte * n + place];
        }
    }
    out
}

/// First bits of all numbers, then second ones, …: back into numbers. Of numbers that do not fill bytes, a multiple of eight, the rest stays.
fn bits_unshuffled(bytes: &[u8], type_size: usize) -> Vec<u8> {
    let n = bytes.len() / type_size / 8 * 8;
    let (mut out, row_len) = (bytes.to_vec(), n / 8);
    out[..n * type_size].fill(0);
    for bit in 0..8 * type_size {
        let row = &bytes[bit * row_len..(bit + 1) * row_len];
        for (place, &eight) in row.iter().enumerate() {
            for number in 0..8 {
                out[(8 * place + number) * type_size + bit / 8] |= (eight >> number & 1) << (bit % 8);
            }
        }
    }
    out
}

/// Bitshuffle, in blocks that are compressed with LZ4 or Zstandard or not at all; its parameters are: version (two), size of a number, length
/// of a block, codec.
fn bitshuffle(mut data: &[u8], parameters: &[u32]) -> Result<Vec<u8>, Undecoded> {
    let parameter = |place: usize| parameters.get(place).map_or(0, |&number| number as usize);
    let (type_size, codec) = (parameter(2), parameter(4));
    let blocks = match (type_size, codec) {
        (1..=64, 0) => {
            let default = (8192 / type_size / 8 * 8).max(128);
            let len = if parameter(3) == 0 { default } else { parameter(3) };
            len.checked_mul(type_size)
                .and_then(|block_size| bit_blocks(data, data.len(), type_size, block_size, codec))
        }
        (1..=64, 2 | 3) => (|| {
            let n_bytes = data.split_off(..8)?;
            let n_bytes = usize::try_from(u64::from_be_bytes(n_bytes.try_into().ok()?)).ok()?;
            let block_size = size(&mut data, u32::from_be_bytes)?;
            bit_blocks(data, n_bytes, type_size, block_size, codec)
        })(),
        (1..=64, _) => {
            return Err(Undecoded::Unknown(format!("Bitshuffle with codec {codec}")));
        }
        _ => None,
    };
    blocks.ok_or(Undecoded::Broken("Bitshuffle"))
}

fn bit_blocks(mut data: &[u8], n_bytes: usize, type_size: usize, block_size: usize, codec: usize) -> Option<Vec<u8>> {
    let unit = 8 * type_size;
    if n_bytes > MAX_CHUNK_SIZE || block_size == 0 || !block_size.is_multiple_of(unit) {
        return None;
    }
    let mut out = Vec::new();
    while n_bytes - out.len() >= unit {
        let len = block_size.min((n_bytes - out.len()) / unit * unit);
        let stream_size = if codec == 0 {
            len
        } else {
            size(&mut data, u32::from_be_bytes)?
        };
        let (stream, rest) = data.split_at_checked(stream_size)?;
        data = rest;
        let bytes = match codec {
            0 => stream.to_vec(),
            2 => lz4(stream, len)?,
            _ => zstandard(stream, len)?,
        };
        if bytes.len() != len {
            return None;
        }
        out.extend(bits_unshuffled(&bytes, type_size));
    }
    // Fewer than eight numbers are kept as they are.
    let len = n_bytes - out.len();
    literal(&mut out, &mut data, len, n_bytes)?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lzf_repeats_and_refuses_what_it_does_not_hold() {
        // Three literals, then five bytes from three before.
        let packed = [2, b'a', b'b', b'c', 3 << 5, 2];
        assert_eq!(lzf(&packed, 8), Some(b"abcabcab".to_vec()));
        for (broken, max_size) in [(&packed[..], 7), (&packed[..5], 8), (&[1 << 5, 0][..], 8), (&[5, 1][..], 8)] {
            assert_eq!(lzf(broken, max_size), None, "{broken:?} {max_size}");
        }
    }

    #[test]
    fn bits_come_back() {
        // Eight numbers of one byte: row k holds bit k of each.
        assert_eq!(
            bits_unshuffled(&[0b1010_1010, 0, 0, 0, 0, 0, 0, 1], 1),
            [128, 1, 0, 1, 0, 1, 0, 1]
        );
    }
}

//! The codecs of Zarr's chunks, decoded one after another; the compressions themselves are in `filters.rs`.

use super::metadata::{named, size};
use crate::read::filters::{self, MAX_CHUNK_SIZE, Undecoded};
use crate::read::numbers::{self, NumberFormat, NumberType};
use serde_json::Value;

/// A step of decoding a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Codec {
    Blosc,
    Zstandard,
    Gzip,
    Zlib,
    Lz4,
    /// Four bytes behind the rest.
    Crc32c,
    /// First bytes of all elements, then second ones; bytes of an element.
    Shuffle(usize),
    /// Differences of whole numbers, as the second type.
    Delta {
        from: NumberType,
        to: NumberType,
    },
    /// What cannot be decoded, by its name.
    Unknown(String),
}

impl Codec {
    /// As format 2 writes it, with its parameters beside the id.
    pub(super) fn of_v2(codec: &Value) -> Self {
        let name = codec.get("id").and_then(Value::as_str).unwrap_or_default();
        Self::of(name, codec)
    }

    /// As format 3 writes it, with a configuration.
    pub(super) fn of_v3(codec: &Value) -> Self {
        let name = named(codec).unwrap_or_default();
        let configuration = codec.get("configuration").unwrap_or(&Value::Null);
        Self::of(name.strip_prefix("numcodecs.").unwrap_or(name), configuration)
    }

    fn of(name: &str, parameters: &Value) -> Self {
        let unknown = || Self::Unknown(name.to_owned());
        match name {
            "blosc" => Self::Blosc,
            "zstd" => Self::Zstandard,
            "gzip" => Self::Gzip,
            "zlib" => Self::Zlib,
            "lz4" => Self::Lz4,
            "crc32c" if parameters.get("location").is_none_or(|location| location == "end") => Self::Crc32c,
            "shuffle" => parameters
                .get("elementsize")
                .and_then(size)
                .map_or_else(unknown, Self::Shuffle),
            "delta" => {
                let integers = |name: &str| parameters.get(name).and_then(Value::as_str).and_then(integers);
                match (integers("dtype"), integers("astype").or_else(|| integers("dtype"))) {
                    (Some(to), Some(from)) => Self::Delta { from, to },
                    _ => Self::Unknown(format!("{name} of {parameters}")),
                }
            }
            _ => unknown(),
        }
    }

    pub(super) fn decode(&self, data: &[u8]) -> Result<Vec<u8>, Undecoded> {
        let whole = |decoded: Option<Vec<u8>>, name| decoded.ok_or(Undecoded::Broken(name));
        match self {
            Self::Blosc => filters::blosc(data, MAX_CHUNK_SIZE),
            Self::Zstandard => whole(filters::zstandard(data, MAX_CHUNK_SIZE), "Zstandard"),
            Self::Gzip => whole(filters::gzip(data, MAX_CHUNK_SIZE), "gzip"),
            Self::Zlib => whole(filters::zlib(data, MAX_CHUNK_SIZE), "zlib"),
            Self::Lz4 => whole(lz4(data), "LZ4"),
            Self::Crc32c => whole(checked(data).map(<[u8]>::to_vec), "crc32c"),
            Self::Shuffle(1) => Ok(data.to_vec()),
            Self::Shuffle(0) => Err(Undecoded::Broken("shuffle")),
            Self::Shuffle(element_size) => Ok(filters::unshuffled(data, *element_size)),
            Self::Delta { from, to } => whole(sums(data, *from, *to), "delta"),
            Self::Unknown(name) => Err(Undecoded::Unknown(name.clone())),
        }
    }
}

/// A type of whole numbers as numpy writes it: `<i4`. Sums of floats would depend on how they round.
fn integers(name: &str) -> Option<NumberType> {
    let (order, rest) = name.split_at_checked(1)?;
    let (format, size) = rest.split_at_checked(1)?;
    let number_type = NumberType {
        format: match format {
            "i" => NumberFormat::Signed,
            "u" => NumberFormat::Unsigned,
            _ => return None,
        },
        size: size.parse().ok()?,
        big_endian: order == ">",
    };
    number_type.is_known().then_some(number_type)
}

/// numcodecs writes the size before the block.
fn lz4(data: &[u8]) -> Option<Vec<u8>> {
    let (&size, block) = data.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(size)).ok()?;
    (size <= MAX_CHUNK_SIZE).then(|| filters::lz4(block, size)).flatten()
}

/// What stands before the CRC-32C of it, if it is right.
pub(super) fn checked(data: &[u8]) -> Option<&[u8]> {
    const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    let (content, &sum) = data.split_last_chunk::<4>()?;
    (CRC.checksum(content) == u32::from_le_bytes(sum)).then_some(content)
}

/// Whole numbers from the differences between them, which wrap as they do in numpy.
fn sums(data: &[u8], from: NumberType, to: NumberType) -> Option<Vec<u8>> {
    // All bits count, and u64 has more than are kept of it as a number.
    let format = if from.size == 8 { NumberFormat::Signed } else { from.format };
    let mut differences = Vec::<i64>::new();
    numbers::decode(data, NumberType { format, ..from }, &mut differences)?;
    let (mut sum, size, mut out) = (0_i64, usize::from(to.size), Vec::new());
    for difference in differences {
        sum = sum.wrapping_add(difference);
        let mut bytes = sum.to_le_bytes();
        let bytes = &mut bytes[..size];
        if to.big_endian {
            bytes.reverse();
        }
        out.extend_from_slice(bytes);
    }
    Some(out)
}

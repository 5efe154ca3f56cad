//! What the metadata of a Zarr array say, of format 2 (`.zarray`) and 3 (`zarr.json`): shape, chunks, type and codecs.

use super::codecs::Codec;
use crate::read::container::Element;
use crate::read::numbers::{NumberFormat, NumberType};
use serde_json::Value;

/// How the elements of an array are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored {
    Number(NumberType),
    /// One byte, 0 or 1.
    Truth,
    /// A length and UTF-8, one after another.
    Text,
    /// Texts of one size in bytes, ended by zeros.
    FixedText(usize),
    /// Texts of one size in bytes, four of them a character.
    FixedUtf32 {
        size: usize,
        big_endian: bool,
    },
    /// Something else, as the file calls it.
    Other(String),
}

/// One byte, 0 or 1.
pub(super) const TRUTH: NumberType = NumberType {
    format: NumberFormat::Unsigned,
    size: 1,
    big_endian: false,
};

impl Stored {
    pub(super) fn element(&self) -> Element {
        match self {
            Self::Number(number_type) => Element::Number(*number_type),
            Self::Truth => Element::Truth,
            Self::Text | Self::FixedText(_) | Self::FixedUtf32 { .. } => Element::Text,
            Self::Other(_) => Element::Other,
        }
    }

    /// Bytes of one element, where they all have as many.
    pub(super) fn size(&self) -> Option<usize> {
        match self {
            Self::Number(number_type) => Some(number_type.size.into()),
            Self::Truth => Some(1),
            Self::FixedText(size) | Self::FixedUtf32 { size, .. } => Some(*size),
            Self::Text | Self::Other(_) => None,
        }
    }

    /// Format 2: `<f4`, `|b1`, `|S12`, `<U8`, `|O`.
    fn of_v2(name: &str) -> Self {
        let (order, rest) = name.split_at_checked(1).unwrap_or_default();
        let (format, size) = rest.split_at_checked(1).unwrap_or_default();
        let (big_endian, size) = (order == ">", size.parse::<usize>().ok());
        let number = |format| {
            let size = u8::try_from(size?).ok()?;
            let number_type = NumberType {
                format,
                size,
                big_endian: big_endian && size > 1,
            };
            number_type.is_known().then_some(Self::Number(number_type))
        };
        let known = match (format, size) {
            ("f", _) => number(NumberFormat::Float),
            ("i", _) => number(NumberFormat::Signed),
            ("u", _) => number(NumberFormat::Unsigned),
            ("b", Some(1)) => Some(Self::Truth),
            ("S", Some(size @ 1..)) => Some(Self::FixedText(size)),
            ("U", Some(length @ 1..)) => length.checked_mul(4).map(|size| Self::FixedUtf32 { size, big_endian }),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Other(name.to_owned()))
    }

    /// Format 3: `float32`, `bool`, `string`, or an object with a name.
    fn of_v3(data_type: &Value, big_endian: bool) -> Self {
        let name = named(data_type).unwrap_or_default();
        let size = data_type.pointer("/configuration/length_bytes").and_then(size);
        let number = |start: &str, format| {
            let bits = name.strip_prefix(start)?.parse::<u8>().ok()?;
            let size = bits / 8;
            let number_type = NumberType {
                format,
                size,
                big_endian: big_endian && size > 1,
            };
            (bits.is_multiple_of(8) && number_type.is_known()).then_some(Self::Number(number_type))
        };
        let known = match (name, size) {
            ("bool", _) => Some(Self::Truth),
            ("string", _) => Some(Self::Text),
            ("null_terminated_bytes", Some(size @ 1..)) => Some(Self::FixedText(size)),
            ("fixed_length_utf32", Some(size @ 1..)) => Some(Self::FixedUtf32 { size, big_endian }),
            _ => number("float", NumberFormat::Float)
                .or_else(|| number("int", NumberFormat::Signed))
                .or_else(|| number("uint", NumberFormat::Unsigned)),
        };
        known.unwrap_or_else(|| {
            Self::Other(if name.is_empty() {
                data_type.to_string()
            } else {
                name.to_owned()
            })
        })
    }
}

/// A text that stands for every one that is not there; a longer one would fill the memory.
const MAX_FILL_SIZE: usize = 256;

/// What a chunk that is not there holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fill {
    /// The bytes of one element.
    Number(Vec<u8>),
    Text(String),
    /// Something that is not understood, as the file has it.
    Unknown(String),
}

/// Several chunks in one file, with a list of where each begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shards {
    /// Chunks a shard, in each dimension.
    pub(super) counts: Vec<u64>,
    pub(super) index_at_start: bool,
    pub(super) index_big_endian: bool,
    pub(super) index_has_checksum: bool,
}

/// What is known of an array before any of it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) shape: Vec<u64>,
    /// The shape of what is decoded at once, no dimension 0.
    pub(super) chunk: Vec<u64>,
    pub(super) shards: Option<Shards>,
    pub(super) stored: Stored,
    pub(super) fill: Fill,
    /// The dimension that each stored dimension is, the slowest first.
    pub(super) order: Vec<usize>,
    /// In the order in which they decode.
    pub(super) codecs: Vec<Codec>,
    pub(super) key_start: &'static str,
    pub(super) key_separator: char,
}

/// The name of a codec, type or grid: itself, or in an object.
pub(super) fn named(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("name")?.as_str())
}

pub(super) fn size(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|size| usize::try_from(size).ok())
}

fn sizes(value: Option<&Value>) -> Option<Vec<u64>> {
    value?.as_array()?.iter().map(Value::as_u64).collect()
}

impl Layout {
    /// From `.zarray`. What is wrong with it is said in words.
    pub(super) fn of_v2(metadata: &Value) -> Result<Self, String> {
        let shape = sizes(metadata.get("shape")).ok_or("no shape")?;
        let chunk = sizes(metadata.get("chunks")).ok_or("no chunks")?;
        let dtype = metadata.get("dtype").ok_or("no dtype")?;
        let mut stored = match dtype.as_str() {
            Some(name) => Stored::of_v2(name),
            None => Stored::Other("records".to_owned()),
        };
        let list = |name: &str| match metadata.get(name) {
            Some(Value::Array(list)) => list.clone(),
            Some(Value::Null) | None => Vec::new(),
            Some(one) => vec![one.clone()],
        };
        let mut codecs: Vec<Codec> = list("compressor").iter().map(Codec::of_v2).collect();
        for filter in list("filters").iter().rev() {
            match filter.get("id").and_then(Value::as_str) {
                // It says how objects are stored, and comes first when they are written.
                Some("vlen-utf8") if dtype == "|O" => stored = Stored::Text,
                _ => codecs.push(Codec::of_v2(filter)),
            }
        }
        let mut order: Vec<usize> = (0..shape.len()).collect();
        match metadata.get("order").and_then(Value::as_str) {
            Some("F") => order.reverse(),
            Some("C") | None => {}
            Some(other) => return Err(format!("order {other}; wanted C or F")),
        }
        let layout = Self {
            key_start: "",
            key_separator: separator(metadata.get("dimension_separator"), '.')?,
            fill: fill(metadata.get("fill_value"), &stored),
            shape,
            chunk,
            shards: None,
            stored,
            order,
            codecs,
        };
        layout.checked()
    }

    /// From `zarr.json`.
    pub(super) fn of_v3(metadata: &Value) -> Result<Self, String> {
        let shape = sizes(metadata.get("shape")).ok_or("no shape")?;
        let grid = metadata.get("chunk_grid").ok_or("no chunk_grid")?;
        if named(grid) != Some("regular") {
            return Err(format!("chunk_grid {grid}; wanted regular"));
        }
        let mut chunk = sizes(grid.pointer("/configuration/chunk_shape")).ok_or("no chunk_shape")?;
        let no_codecs = Vec::new();
        let mut codecs = metadata
            .get("codecs")
            .and_then(Value::as_array)
            .unwrap_or(&no_codecs)
            .as_slice();
        let shards = match codecs {
            [only] if named(only) == Some("sharding_indexed") => {
                let inner = sizes(only.pointer("/configuration/chunk_shape")).ok_or("no chunk_shape in its shards")?;
                codecs = only
                    .pointer("/configuration/codecs")
                    .and_then(Value::as_array)
                    .unwrap_or(&no_codecs);
                let shards = Shards::of(only, &chunk, &inner)?;
                chunk = inner;
                Some(shards)
            }
            _ => None,
        };
        let (mut order, mut big_endian): (Vec<usize>, _) = ((0..shape.len()).collect(), false);
        let mut decoding = Vec::new();
        for codec in codecs {
            match named(codec) {
                Some("bytes") => big_endian = codec.pointer("/configuration/endian").and_then(Value::as_str) == Some("big"),
                Some("vlen-utf8") => {}
                Some("transpose") => order = transposed(codec, &order)?,
                _ => decoding.push(Codec::of_v3(codec)),
            }
        }
        decoding.reverse();
        let stored = Stored::of_v3(metadata.get("data_type").ok_or("no data_type")?, big_endian);
        let keys = metadata.get("chunk_key_encoding").ok_or("no chunk_key_encoding")?;
        let key_separator = keys.pointer("/configuration/separator");
        let (key_start, key_separator) = match named(keys) {
            Some("default") => ("c", separator(key_separator, '/')?),
            Some("v2") => ("", separator(key_separator, '.')?),
            _ => return Err(format!("chunk_key_encoding {keys}; wanted default or v2")),
        };
        let layout = Self {
            fill: fill(metadata.get("fill_value"), &stored),
            shape,
            chunk,
            shards,
            stored,
            order,
            codecs: decoding,
            key_start,
            key_separator,
        };
        layout.checked()
    }

    fn checked(self) -> Result<Self, String> {
        let n = self.shape.len();
        if self.chunk.len() != n || self.chunk.contains(&0) {
            return Err(format!("chunks of {:?}, but a shape of {:?}", self.chunk, self.shape));
        }
        Ok(self)
    }
}

impl Shards {
    fn of(codec: &Value, shard: &[u64], chunk: &[u64]) -> Result<Self, String> {
        let fits = shard.len() == chunk.len()
            && shard
                .iter()
                .zip(chunk)
                .all(|(&shard, &chunk)| chunk > 0 && shard.is_multiple_of(chunk));
        if !fits || shard.contains(&0) {
            return Err(format!("shards of {shard:?}, but chunks of {chunk:?}"));
        }
        let index_codecs = codec.pointer("/configuration/index_codecs").and_then(Value::as_array);
        let (big_endian, has_checksum) = match index_codecs.map(Vec::as_slice) {
            Some([bytes, rest @ ..])
                if named(bytes) == Some("bytes") && rest.iter().all(|codec| named(codec) == Some("crc32c")) =>
            {
                let endian = bytes.pointer("/configuration/endian").and_then(Value::as_str);
                (endian == Some("big"), !rest.is_empty())
            }
            _ => return Err("index_codecs of its shards that are not bytes and crc32c".to_owned()),
        };
        let location = codec.pointer("/configuration/index_location").and_then(Value::as_str);
        Ok(Self {
            counts: shard.iter().zip(chunk).map(|(shard, chunk)| shard / chunk).collect(),
            index_at_start: location == Some("start"),
            index_big_endian: big_endian,
            index_has_checksum: has_checksum,
        })
    }
}

fn transposed(codec: &Value, before: &[usize]) -> Result<Vec<usize>, String> {
    let wrong = || format!("{codec}; wanted an order of {} dimensions", before.len());
    let order = match codec.pointer("/configuration/order").ok_or_else(wrong)? {
        Value::String(order) if order == "C" => return Ok(before.to_vec()),
        Value::String(order) if order == "F" => return Ok(before.iter().rev().copied().collect()),
        Value::Array(list) => list.iter().map(size).collect::<Option<Vec<_>>>().ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..before.len()) {
        return Err(wrong());
    }
    Ok(order.iter().map(|&dimension| before[dimension]).collect())
}

fn separator(value: Option<&Value>, default: char) -> Result<char, String> {
    match value {
        None | Some(Value::Null) => Ok(default),
        Some(value) if value == "/" => Ok('/'),
        Some(value) if value == "." => Ok('.'),
        Some(other) => Err(format!("chunk keys separated by {other}; wanted `/` or `.`")),
    }
}

fn fill(value: Option<&Value>, stored: &Stored) -> Fill {
    let value = value.unwrap_or(&Value::Null);
    let unknown = || Fill::Unknown(value.to_string());
    let bytes = match stored {
        Stored::Text => {
            return match value {
                Value::String(text) if text.len() <= MAX_FILL_SIZE => Fill::Text(text.clone()),
                Value::Null | Value::Number(_) => Fill::Text(String::new()),
                _ => unknown(),
            };
        }
        Stored::FixedText(_) | Stored::FixedUtf32 { .. } if value.is_null() || value == "" || value == 0 => {
            return Fill::Text(String::new());
        }
        Stored::FixedText(_) | Stored::FixedUtf32 { .. } | Stored::Other(_) => return unknown(),
        Stored::Truth => value
            .as_bool()
            .or(value.is_null().then_some(false))
            .map(|truth| vec![u8::from(truth)]),
        Stored::Number(number_type) => number_bytes(value, *number_type),
    };
    bytes.map_or_else(unknown, Fill::Number)
}

/// A number of the metadata as the chunks would hold it.
fn number_bytes(value: &Value, number_type: NumberType) -> Option<Vec<u8>> {
    let size = usize::from(number_type.size);
    let mut bytes = match (number_type.format, value) {
        (_, Value::Null) => vec![0; size],
        (NumberFormat::Float, _) => {
            let number = match value.as_str() {
                Some("NaN") => f64::NAN,
                Some("Infinity") => f64::INFINITY,
                Some("-Infinity") => f64::NEG_INFINITY,
                _ => value.as_f64()?,
            };
            match size {
                2 => half::f16::from_f64(number).to_le_bytes().to_vec(),
                #[expect(clippy::cast_possible_truncation, reason = "the chunks hold f32 too")]
                4 => (number as f32).to_le_bytes().to_vec(),
                _ => number.to_le_bytes().to_vec(),
            }
        }
        (NumberFormat::Signed, _) => value.as_i64()?.to_le_bytes()[..size].to_vec(),
        (NumberFormat::Unsigned, _) => value.as_u64()?.to_le_bytes()[..size].to_vec(),
    };
    if number_type.big_endian {
        bytes.reverse();
    }
    Some(bytes)
}

//! Object headers, and what stands in them: types, shapes, attributes, layouts. Specification section IV.A.

use super::space::Space;
use super::{UNDEFINED, invalid};
use hdf5_reader::checksum::jenkins_lookup3;
use std::io::{self, Read, Seek, Write};

/// The types of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    /// As h5py writes numpy's bool: an enumeration of FALSE and TRUE over i8.
    Truth,
    /// UTF-8 of variable length; values are references into the heap.
    Text,
}

impl Type {
    /// Size of a value in bytes.
    pub(crate) const fn size(self) -> u8 {
        match self {
            Self::I8 | Self::Truth => 1,
            Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
            Self::Text => 16,
        }
    }

    /// The datatype message.
    fn message(self) -> Vec<u8> {
        // Class and version, 24 bits of flags, size.
        let head = |class: u8, flags: [u8; 3]| {
            let mut bytes = vec![0x10 | class];
            bytes.extend_from_slice(&flags);
            bytes.extend_from_slice(&u32::from(self.size()).to_le_bytes());
            bytes
        };
        // Signed; its bits begin at 0 and there are as many as fit.
        let integer = || {
            let mut bytes = head(0, [8, 0, 0]);
            bytes.extend_from_slice(&[0, 0]);
            bytes.extend_from_slice(&[8 * self.size(), 0]);
            bytes
        };
        // Precision; place and size of exponent and mantissa; bias. The mantissa's first 1 is implied, the sign stands in the last bit.
        let float = |precision: u8, exponent: [u8; 2], mantissa: u8, bias: u32| {
            let mut bytes = head(1, [0x20, precision - 1, 0]);
            bytes.extend_from_slice(&[0, 0, precision, 0, exponent[0], exponent[1], 0, mantissa]);
            bytes.extend_from_slice(&bias.to_le_bytes());
            bytes
        };
        match self {
            Self::F32 => float(32, [23, 8], 23, 127),
            Self::F64 => float(64, [52, 11], 52, 1023),
            Self::I8 | Self::I16 | Self::I32 | Self::I64 => integer(),
            Self::Truth => {
                let mut bytes = head(8, [2, 0, 0]);
                bytes.extend_from_slice(&Self::I8.message());
                bytes.extend_from_slice(b"FALSE\0\0\0TRUE\0\0\0\0\x00\x01");
                bytes
            }
            Self::Text => {
                let mut bytes = head(9, [1, 1, 0]);
                bytes.extend_from_slice(&[0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0]);
                bytes
            }
        }
    }
}

/// A shape: `dims` is `None` where there is no value at all, and empty for a single one.
pub(super) fn dataspace(dims: Option<&[u64]>, max_dims: Option<&[u64]>) -> io::Result<Vec<u8>> {
    let rank = u8::try_from(dims.map_or(0, <[u64]>::len)).map_err(io::Error::other)?;
    let kind = match dims {
        None => 2,
        Some([]) => 0,
        Some(_) => 1,
    };
    let mut bytes = vec![2, rank, u8::from(max_dims.is_some()), kind];
    for dim in dims.into_iter().flatten().chain(max_dims.into_iter().flatten()) {
        bytes.extend_from_slice(&dim.to_le_bytes());
    }
    Ok(bytes)
}

/// An attribute, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(super) name: String,
    pub(super) datatype: Vec<u8>,
    pub(super) dataspace: Vec<u8>,
    pub(super) data: Vec<u8>,
}

impl Attribute {
    /// A single text.
    pub(crate) fn text<F: Read + Write + Seek>(space: &mut Space<F>, name: &str, text: &str) -> io::Result<Self> {
        Self::new(name, Type::Text, Some(&[]), space.text(text)?.to_vec())
    }

    /// A list of texts.
    pub(crate) fn texts<F: Read + Write + Seek>(space: &mut Space<F>, name: &str, texts: &[String]) -> io::Result<Self> {
        let mut data = Vec::with_capacity(16 * texts.len());
        for text in texts {
            data.extend_from_slice(&space.text(text)?);
        }
        Self::new(name, Type::Text, Some(&[texts.len() as u64]), data)
    }

    /// A list of whole numbers.
    pub(crate) fn integers(name: &str, numbers: &[i64]) -> io::Result<Self> {
        let data = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Self::new(name, Type::I64, Some(&[numbers.len() as u64]), data)
    }

    /// A single truth.
    pub(crate) fn truth(name: &str, truth: bool) -> io::Result<Self> {
        Self::new(name, Type::Truth, Some(&[]), vec![u8::from(truth)])
    }

    fn new(name: &str, datatype: Type, dims: Option<&[u64]>, data: Vec<u8>) -> io::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            datatype: datatype.message(),
            dataspace: dataspace(dims, None)?,
            data,
        })
    }

    fn message(&self) -> io::Result<Vec<u8>> {
        let size = |len: usize| {
            let problem = |_| {
                invalid(format!(
                    "the attribute {} is larger than the 64 KiB that HDF5 allows",
                    self.name
                ))
            };
            u16::try_from(len).map(u16::to_le_bytes).map_err(problem)
        };
        let mut bytes = vec![3, 0];
        bytes.extend_from_slice(&size(self.name.len() + 1)?);
        bytes.extend_from_slice(&size(self.datatype.len())?);
        bytes.extend_from_slice(&size(self.dataspace.len())?);
        bytes.push(u8::from(!self.name.is_ascii()));
        bytes.extend_from_slice(self.name.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&self.datatype);
        bytes.extend_from_slice(&self.dataspace);
        bytes.extend_from_slice(&self.data);
        size(bytes.len())?;
        Ok(bytes)
    }
}

/// The messages of an object, from which its header is made.
#[derive(Debug, Default)]
pub(super) struct Messages(Vec<u8>);

impl Messages {
    pub(super) fn push(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let size = u16::try_from(body.len()).map_err(io::Error::other)?;
        self.0.push(kind);
        self.0.extend_from_slice(&size.to_le_bytes());
        self.0.push(0);
        self.0.extend_from_slice(body);
        Ok(())
    }

    pub(super) fn attributes(&mut self, attributes: &[Attribute]) -> io::Result<()> {
        attributes
            .iter()
            .try_for_each(|attribute| self.push(0x0C, &attribute.message()?))
    }

    /// Writes the header, version 2, in one piece.
    pub(super) fn write<F: Read + Write + Seek>(&self, space: &mut Space<F>) -> io::Result<u64> {
        let size = u32::try_from(self.0.len()).map_err(io::Error::other)?;
        // Flag 2: the size of the piece has four bytes.
        let mut bytes = b"OHDR\x02\x02".to_vec();
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&self.0);
        let checksum = jenkins_lookup3(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        space.append(&bytes)
    }
}

/// Where the numbers of a dataset stand.
#[derive(Debug, Clone)]
pub(super) enum Layout {
    Contiguous {
        address: u64,
        size: u64,
    },
    /// Compressed chunks under a tree.
    Chunked {
        tree: u64,
        chunk_len: u32,
    },
}

/// Writes the header of a dataset whose numbers stand in the file.
pub(super) fn dataset_of<F: Read + Write + Seek>(
    space: &mut Space<F>,
    datatype: Type,
    dims: &[u64],
    layout: &Layout,
    filters: &[u8],
    attributes: &[Attribute],
) -> io::Result<u64> {
    let mut messages = Messages::default();
    messages.push(0x01, &dataspace(Some(dims), None)?)?;
    messages.push(0x03, &datatype.message())?;
    // Fill value: version 3, allocated late or chunk by chunk, written if set, and not set.
    messages.push(
        0x05,
        &[
            3,
            if matches!(layout, Layout::Contiguous { .. }) {
                0x0A
            } else {
                0x0B
            },
        ],
    )?;
    let mut body = vec![3];
    match *layout {
        Layout::Contiguous { address, size } => {
            body.push(1);
            body.extend_from_slice(&if size == 0 { UNDEFINED } else { address }.to_le_bytes());
            body.extend_from_slice(&size.to_le_bytes());
        }
        Layout::Chunked { tree, chunk_len } => {
            body.extend_from_slice(&[2, 2]);
            body.extend_from_slice(&tree.to_le_bytes());
            body.extend_from_slice(&chunk_len.to_le_bytes());
            body.extend_from_slice(&(datatype.size() as u32).to_le_bytes());
        }
    }
    messages.push(0x08, &body)?;
    if !filters.is_empty() {
        messages.push(0x0B, filters)?;
    }
    messages.attributes(attributes)?;
    messages.write(space)
}

/// Writes a dataset whose values are at hand; gives the address of its header.
pub(crate) fn dataset<F: Read + Write + Seek>(
    space: &mut Space<F>,
    datatype: Type,
    dims: &[u64],
    data: &[u8],
    attributes: &[Attribute],
) -> io::Result<u64> {
    let mut array = Array::reserve(space, datatype, dims);
    array.write(space, data)?;
    array.finish(space, attributes)
}

/// Writes a single text.
pub(crate) fn text<F: Read + Write + Seek>(space: &mut Space<F>, text: &str, attributes: &[Attribute]) -> io::Result<u64> {
    let reference = space.text(text)?;
    dataset(space, Type::Text, &[], &reference, attributes)
}

/// Writes a list of texts.
pub(crate) fn text_array<F: Read + Write + Seek>(
    space: &mut Space<F>,
    texts: &[String],
    attributes: &[Attribute],
) -> io::Result<u64> {
    let mut array = Array::reserve(space, Type::Text, &[texts.len() as u64]);
    array.write_texts(space, texts)?;
    array.finish(space, attributes)
}

/// A dataset of known shape whose values are written from the first to the last, in as many pieces as one likes.
#[derive(Debug)]
pub(crate) struct Array {
    datatype: Type,
    dims: Vec<u64>,
    start: u64,
    next: u64,
    end: u64,
}

impl Array {
    /// A place for all values.
    pub(crate) fn reserve<F: Read + Write + Seek>(space: &mut Space<F>, datatype: Type, dims: &[u64]) -> Self {
        let size = dims.iter().product::<u64>() * u64::from(datatype.size());
        let start = space.reserve(size);
        Self {
            datatype,
            dims: dims.to_vec(),
            start,
            next: start,
            end: start + size,
        }
    }

    /// The shape.
    pub(crate) fn dims(&self) -> &[u64] {
        &self.dims
    }

    /// Values that are still missing.
    pub(crate) fn missing(&self) -> u64 {
        (self.end - self.next) / u64::from(self.datatype.size())
    }

    /// Writes the next values, as little-endian bytes.
    pub(crate) fn write<F: Read + Write + Seek>(&mut self, space: &mut Space<F>, data: &[u8]) -> io::Result<()> {
        if data.len() as u64 > self.end - self.next {
            return Err(invalid(format!(
                "{} values more than {:?}",
                (data.len() as u64 - (self.end - self.next)) / u64::from(self.datatype.size()),
                self.dims
            )));
        }
        space.write_at(self.next, data)?;
        self.next += data.len() as u64;
        Ok(())
    }

    /// Writes the next texts.
    pub(crate) fn write_texts<F: Read + Write + Seek>(&mut self, space: &mut Space<F>, texts: &[String]) -> io::Result<()> {
        let mut references = Vec::with_capacity(16 * texts.len());
        for text in texts {
            references.extend_from_slice(&space.text(text)?);
        }
        self.write(space, &references)
    }

    /// Writes the header; gives its address.
    pub(crate) fn finish<F: Read + Write + Seek>(self, space: &mut Space<F>, attributes: &[Attribute]) -> io::Result<u64> {
        if self.missing() > 0 {
            return Err(invalid(format!("{} values of {:?} are missing", self.missing(), self.dims)));
        }
        let layout = Layout::Contiguous {
            address: self.start,
            size: self.end - self.start,
        };
        dataset_of(space, self.datatype, &self.dims, &layout, &[], attributes)
    }
}

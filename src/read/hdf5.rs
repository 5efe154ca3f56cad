//! HDF5 as the readers need it: objects by path, names, numbers of any type, and errors that name file and place.

use super::{Source, filters};
use crate::error::{Error, Result};
use hdf5_reader::error::{ByteOrder, Error as Hdf5Error};
use hdf5_reader::group::Group;
use hdf5_reader::{
    Attribute, BlockCacheStorage, CompoundField, Dataset, Datatype, H5Type, Hdf5File, OpenOptions, SliceInfo, SliceInfoElem,
    Storage, StorageBuffer, StringSize, VarLenKind, dtype_element_size,
};
use std::fmt::Display;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Files are read in blocks of this size, since HDF5 asks for tens of thousands of small pieces.
const BLOCK_SIZE: usize = 1 << 20;
const N_BLOCKS: usize = 32;
/// Every read of part of a dataset goes through the whole index of its chunks, small nodes all over the file: they are kept apart, or
/// each would cost a block every time.
const PAGE_SIZE: usize = 1 << 12;
const N_PAGES: usize = 1 << 12;
/// What one dataset read may allocate. Sizes come from the file, so a broken one could ask for anything.
const MAX_READ_SIZE: usize = 1 << 30;
/// What a file declares can be no more than this many times its size, and what is small anyway: the rest would be numbers that were never
/// written, which a few bytes can declare without end.
const MAX_RATIO: u64 = 1100;
const ALWAYS_ALLOWED: u64 = 1 << 26;
/// Long ranges are read in pieces of this many numbers.
const PIECE_LEN: usize = 1 << 22;

/// A [`Source`] as hdf5-reader wants it.
struct SourceStorage(Arc<dyn Source>);

impl Storage for SourceStorage {
    fn len(&self) -> u64 {
        self.0.size()
    }

    fn read_range(&self, offset: u64, len: usize) -> hdf5_reader::error::Result<StorageBuffer> {
        let available = self.len().saturating_sub(offset);
        // Checked before anything of a size that the file gives is allocated.
        if available < len as u64 {
            return Err(Hdf5Error::UnexpectedEof {
                offset,
                needed: len as u64,
                available,
            });
        }
        let mut bytes = vec![0; len];
        self.0.read_at(offset, &mut bytes)?;
        Ok(StorageBuffer::from_vec(bytes))
    }
}

/// An open HDF5 file.
pub(super) struct File {
    name: String,
    size: u64,
    file: Hdf5File,
}

/// What stands at a path.
pub(super) enum Object {
    Group(Group),
    Dataset(Box<Dataset>),
}

impl File {
    pub(super) fn open(name: &str, source: Arc<dyn Source>) -> Result<Self> {
        let size = source.size();
        let blocks = BlockCacheStorage::new(Arc::new(SourceStorage(source)), BLOCK_SIZE, N_BLOCKS);
        let storage = BlockCacheStorage::new(Arc::new(blocks), PAGE_SIZE, N_PAGES);
        let mut options = OpenOptions::default().with_max_read_bytes(MAX_READ_SIZE);
        options.filter_registry = Some(filters::registry());
        let file = Hdf5File::from_storage_with_options(Arc::new(storage), options)
            .map_err(|error| explain(name, "HDF5 superblock", error))?;
        let wanted = file.superblock().eof_address;
        if size < wanted {
            let problem = format!("the file is cut off: {size} bytes of {wanted}");
            return Err(Error::file(name, format_args!("byte {size}"), problem));
        }
        Ok(Self {
            name: name.to_owned(),
            size,
            file,
        })
    }

    /// The file's name as the user gave it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the HDF5 reader said, with file and place.
    pub(super) fn explain(&self, place: impl Display, error: Hdf5Error) -> Error {
        explain(&self.name, place, error)
    }

    /// A [`Error::File`] in this file.
    pub(super) fn wrong(&self, place: impl Display, problem: impl Display) -> Error {
        Error::file(&self.name, place, problem)
    }

    /// What stands at a path such as `raw/var`, if anything; the root at an empty one.
    pub(super) fn object(&self, path: &str) -> Result<Option<Object>> {
        let mut object = Object::Group(self.file.root_group().map_err(|error| self.explain("/", error))?);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Object::Group(group) = &object else {
                return Ok(None);
            };
            match self.child(group, name, path)? {
                Some(child) => object = child,
                None => return Ok(None),
            }
        }
        Ok(Some(object))
    }

    fn child(&self, group: &Group, name: &str, path: &str) -> Result<Option<Object>> {
        match group.dataset(name) {
            Ok(dataset) => return Ok(Some(Object::Dataset(Box::new(dataset)))),
            Err(Hdf5Error::DatasetNotFound(_)) => {}
            Err(error) => return Err(self.explain(path, error)),
        }
        match group.group(name) {
            Ok(group) => Ok(Some(Object::Group(group))),
            Err(Hdf5Error::GroupNotFound(_)) => Ok(None),
            Err(error) => Err(self.explain(path, error)),
        }
    }

    /// A dataset that must be there.
    pub(super) fn dataset(&self, path: &str) -> Result<Box<Dataset>> {
        match self.object(path)? {
            Some(Object::Dataset(dataset)) => Ok(dataset),
            Some(Object::Group(_)) => Err(self.wrong(path, "a group; wanted a dataset")),
            None => Err(self.wrong(path, "missing")),
        }
    }

    fn attribute(&self, object: &Object, path: &str, name: &str) -> Result<Option<Attribute>> {
        let attribute = match object {
            Object::Group(group) => group.attribute(name),
            Object::Dataset(dataset) => dataset.attribute(name),
        };
        match attribute {
            Ok(attribute) => Ok(Some(attribute)),
            Err(Hdf5Error::AttributeNotFound(_)) => Ok(None),
            Err(error) => Err(self.explain(format_args!("{path}, attribute {name}"), error)),
        }
    }

    /// An attribute that is one string, if it is there.
    pub(super) fn text_attribute(&self, object: &Object, path: &str, name: &str) -> Result<Option<String>> {
        self.attribute(object, path, name)?
            .map(|attribute| {
                attribute
                    .read_string()
                    .map_err(|error| self.explain(format_args!("{path}, attribute {name}"), error))
            })
            .transpose()
    }

    /// An attribute that is a list of whole numbers, if it is there.
    pub(super) fn index_attribute(&self, object: &Object, path: &str, name: &str) -> Result<Option<Vec<i64>>> {
        let read = |attribute: Attribute| attribute.read_1d::<Index>();
        match self.attribute(object, path, name)?.map(read).transpose() {
            Ok(list) => Ok(list.map(|list| list.into_iter().map(|index| index.0).collect())),
            Err(error) => Err(self.explain(format_args!("{path}, attribute {name}"), error)),
        }
    }

    /// The names of the datasets and groups in a group.
    pub(super) fn members(&self, group: &Group, path: &str) -> Result<Vec<String>> {
        let (mut groups, datasets) = group.member_names().map_err(|error| self.explain(path, error))?;
        groups.extend(datasets);
        Ok(groups)
    }

    /// A one-dimensional dataset of numbers, and its length.
    pub(super) fn numbers(&self, path: &str) -> Result<(Box<Dataset>, usize)> {
        let dataset = self.dataset(path)?;
        let len = self.len(path, &dataset)?;
        Ok((dataset, len))
    }

    /// Refuses datasets that hold no integers or floats.
    pub(super) fn check_type(&self, path: &str, dataset: &Dataset, kind: Kind) -> Result<()> {
        if kind.decodes(dataset.dtype()) {
            return Ok(());
        }
        let found = describe(dataset.dtype());
        Err(self.wrong(path, format_args!("numbers of type {found}; wanted {}", kind.wanted())))
    }

    /// Adds part of a one-dimensional dataset to `out`.
    pub(super) fn read_values(&self, path: &str, dataset: &Dataset, range: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        // What lies in the file as in memory is not decoded one by one.
        if <f32 as H5Type>::native_copy_compatible(dataset.dtype()) {
            return self.read(path, dataset, range, &[], out, |value: f32| value);
        }
        self.read(path, dataset, range, &[], out, |Value(value)| value)
    }

    /// Part of a one-dimensional dataset of whole numbers, where it lies in the file as in memory; `None` elsewhere.
    pub(super) fn read_small_indices(&self, path: &str, dataset: &Dataset, range: Range<usize>) -> Result<Option<Vec<i32>>> {
        if !<i32 as H5Type>::native_copy_compatible(dataset.dtype()) {
            return Ok(None);
        }
        let mut indices = Vec::new();
        self.read(path, dataset, range, &[], &mut indices, |index: i32| index)?;
        Ok(Some(indices))
    }

    /// Adds part of a one-dimensional dataset of whole numbers to `out`.
    pub(super) fn read_indices(&self, path: &str, dataset: &Dataset, range: Range<usize>, out: &mut Vec<i64>) -> Result<()> {
        self.read(path, dataset, range, &[], out, |Index(index)| index)
    }

    /// Adds rows of a two-dimensional dataset to `out`.
    pub(super) fn read_matrix(
        &self,
        path: &str,
        dataset: &Dataset,
        rows: Range<usize>,
        n_cols: usize,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        self.read(path, dataset, rows, &[n_cols], out, |Value(value)| value)
    }

    /// Adds some columns of a two-dimensional dataset to `out`: `columns` numbers a row. The caller sees to it that they are not too many.
    pub(super) fn read_block(
        &self,
        path: &str,
        dataset: &Dataset,
        n_rows: usize,
        columns: Range<usize>,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let slice = |range: Range<usize>| SliceInfoElem::Slice {
            start: range.start as u64,
            end: range.end as u64,
            step: 1,
        };
        let (wanted, selections) = (n_rows * columns.len(), vec![slice(0..n_rows), slice(columns)]);
        let numbers = dataset
            .read_slice::<Value>(&SliceInfo { selections })
            .map_err(|error| self.explain(path, error))?;
        if numbers.len() != wanted {
            return Err(self.wrong(path, format_args!("{} numbers; wanted {wanted}", numbers.len())));
        }
        match numbers.as_slice() {
            Some(numbers) => out.extend(numbers.iter().map(|&Value(value)| value)),
            None => out.extend(numbers.into_iter().map(|Value(value)| value)),
        }
        Ok(())
    }

    /// Reads rows piece by piece; `row_shape` is the shape of one.
    fn read<T: H5Type, U>(
        &self,
        path: &str,
        dataset: &Dataset,
        rows: Range<usize>,
        row_shape: &[usize],
        out: &mut Vec<U>,
        convert: fn(T) -> U,
    ) -> Result<()> {
        let row_len: usize = row_shape.iter().product();
        let too_large = || {
            self.wrong(
                path,
                format_args!("{} × {row_len} numbers at once are too many for this machine", rows.len()),
            )
        };
        let len = rows.len().checked_mul(row_len).ok_or_else(too_large)?;
        let most = self.size.saturating_mul(MAX_RATIO).saturating_add(ALWAYS_ALLOWED);
        if (len as u64).saturating_mul(size_of::<U>() as u64) > most {
            return Err(too_large());
        }
        out.try_reserve(len).map_err(|_| too_large())?;
        let step = (PIECE_LEN / row_len.max(1)).max(1);
        for start in rows.clone().step_by(step) {
            let piece = start..rows.end.min(start + step);
            let slice = |range: Range<usize>| SliceInfoElem::Slice {
                start: range.start as u64,
                end: range.end as u64,
                step: 1,
            };
            let selections = std::iter::once(slice(piece.clone()))
                .chain(row_shape.iter().map(|&len| slice(0..len)))
                .collect();
            let selection = SliceInfo { selections };
            #[cfg(not(target_arch = "wasm32"))]
            let numbers = dataset.read_slice_parallel::<T>(&selection);
            #[cfg(target_arch = "wasm32")]
            let numbers = dataset.read_slice::<T>(&selection);
            let numbers = numbers.map_err(|error| self.explain(path, error))?;
            if numbers.len() != piece.len() * row_len {
                return Err(self.wrong(
                    path,
                    format_args!(
                        "{} numbers at {}; wanted {}",
                        numbers.len(),
                        piece.start,
                        piece.len() * row_len
                    ),
                ));
            }
            // The array's own iterator counts through every dimension: several times slower than a slice.
            match numbers.as_slice() {
                Some(numbers) => out.extend(numbers.iter().cloned().map(convert)),
                None => out.extend(numbers.into_iter().map(convert)),
            }
        }
        Ok(())
    }

    /// The fields of a table of compound records.
    pub(super) fn fields(&self, path: &str, dataset: &Dataset) -> Result<Vec<CompoundField>> {
        match dataset.dtype() {
            Datatype::Compound { fields, .. } => Ok(fields.clone()),
            other => Err(self.wrong(path, format_args!("of type {}; wanted a table", describe(other)))),
        }
    }

    /// Part of a dataset of strings, or of one field of its records. A missing string is empty.
    pub(super) fn read_texts(
        &self,
        path: &str,
        dataset: &Dataset,
        field: Option<&CompoundField>,
        range: Range<usize>,
    ) -> Result<Vec<String>> {
        let (dtype, offset) = match field {
            Some(field) => (&field.datatype, field.byte_offset as usize),
            None => (dataset.dtype(), 0),
        };
        let mut elements = Vec::new();
        self.read(path, dataset, range, &[], &mut elements, |Raw(bytes)| bytes)?;
        elements
            .iter()
            .map(|element| self.text(path, dataset, dtype, element.get(offset..).unwrap_or_default()))
            .collect()
    }

    /// Part of a dataset of numbers.
    pub(super) fn read_numbers(&self, path: &str, dataset: &Dataset, range: Range<usize>, out: &mut Vec<f64>) -> Result<()> {
        self.read(path, dataset, range, &[], out, |Double(number)| number)
    }

    /// Part of one field of a dataset of records, the numbers of each after one another where it is an array; no numbers are NaN.
    pub(super) fn read_fields(
        &self,
        path: &str,
        dataset: &Dataset,
        field: &CompoundField,
        range: Range<usize>,
    ) -> Result<Vec<f64>> {
        let mut elements = Vec::new();
        self.read(path, dataset, range, &[], &mut elements, |Raw(bytes)| bytes)?;
        let (dtype, n) = match &field.datatype {
            Datatype::Array { base, dims } => (&**base, dims.iter().try_fold(1_u64, |n, &dim| n.checked_mul(dim))),
            other => (other, Some(1)),
        };
        let size = dtype_element_size(dtype).ok();
        let n = n.and_then(|n| usize::try_from(n).ok());
        let len = size.zip(n).and_then(|(size, n)| size.checked_mul(n));
        let mut numbers = Vec::new();
        for element in elements {
            let bytes = len.and_then(|len| element.get(field.byte_offset as usize..)?.get(..len));
            let Some(bytes) = bytes else {
                return Err(self.wrong(path, "the field passes the end of its record"));
            };
            match decode_doubles(bytes, dtype) {
                Some(decoded) => numbers.extend(decoded.into_iter().map(|Double(number)| number)),
                None => numbers.push(f64::NAN),
            }
        }
        Ok(numbers)
    }

    /// The length of a one-dimensional dataset.
    pub(super) fn len(&self, path: &str, dataset: &Dataset) -> Result<usize> {
        let &[len] = dataset.shape() else {
            return Err(self.wrong(path, format_args!("{} dimensions; wanted one", dataset.ndim())));
        };
        usize::try_from(len).map_err(|_| self.wrong(path, format_args!("{len} numbers are too many for this machine")))
    }

    fn text(&self, place: &str, dataset: &Dataset, dtype: &Datatype, rest: &[u8]) -> Result<String> {
        let bytes = match *dtype {
            Datatype::String {
                size: StringSize::Fixed(size),
                ..
            } => rest.get(..size as usize).map(<[u8]>::to_vec),
            _ => match rest.get(..dataset.vlen_reference_size()) {
                Some(reference) => Some(
                    dataset
                        .resolve_vlen_reference_bytes(reference, 1)
                        .map_err(|error| self.explain(place, error))?,
                ),
                None => None,
            },
        };
        let mut bytes = bytes.ok_or_else(|| self.wrong(place, "the field passes the end of its record"))?;
        if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
            bytes.truncate(end);
        }
        String::from_utf8(bytes).map_err(|_| self.wrong(place, "text that is not UTF-8"))
    }
}

fn explain(name: &str, place: impl Display, mut error: Hdf5Error) -> Error {
    while let Hdf5Error::Context { source, .. } = error {
        error = *source;
    }
    match error {
        Hdf5Error::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => Error::Io {
            file: name.to_owned(),
            source,
        },
        Hdf5Error::UnsupportedFilter(filter) => {
            let filter = filter_name(&filter);
            Error::file(
                name,
                place,
                format_args!(
                    "compressed with {filter}, which cannot be read; write it again with gzip: adata.write_h5ad(path, compression=\"gzip\")"
                ),
            )
        }
        Hdf5Error::InvalidMagic => Error::file(name, place, "not an HDF5 file"),
        error => Error::file(name, place, error),
    }
}

/// The filters that users of h5py and hdf5plugin meet, by the number that they are registered under.
fn filter_name(filter: &str) -> String {
    let name = match filter.rsplit(' ').next() {
        Some("32000") => "LZF",
        Some("32001") => "Blosc",
        Some("32008") => "Bitshuffle",
        Some("32013") => "ZFP",
        Some("32015") => "Zstandard",
        Some("32026") => "Blosc2",
        Some("307") => "bzip2",
        _ => return filter.to_owned(),
    };
    format!("{name} ({filter})")
}

pub(super) fn is_text(dtype: &Datatype) -> bool {
    matches!(
        dtype,
        Datatype::String { .. }
            | Datatype::VarLen {
                kind: VarLenKind::String,
                ..
            }
    )
}

fn describe(dtype: &Datatype) -> String {
    match dtype {
        Datatype::FixedPoint { size, signed, .. } => format!("{}int{}", if *signed { "" } else { "u" }, 8 * u32::from(*size)),
        Datatype::FloatingPoint { size, .. } => format!("float{}", 8 * u32::from(*size)),
        Datatype::String { .. } => "string".to_owned(),
        Datatype::Compound { .. } => "compound".to_owned(),
        Datatype::Array { .. } => "array".to_owned(),
        Datatype::Enum { .. } => "enum".to_owned(),
        Datatype::VarLen { .. } => "variable-length list".to_owned(),
        Datatype::Opaque { .. } => "opaque".to_owned(),
        Datatype::Reference { .. } => "reference".to_owned(),
        Datatype::Bitfield { .. } => "bitfield".to_owned(),
    }
}

/// What numbers are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// f32.
    Value,
    /// i64.
    Index,
}

impl Kind {
    pub(super) fn decodes(self, dtype: &Datatype) -> bool {
        match self {
            Self::Value => decode_values(&[], dtype).is_some(),
            Self::Index => decode_indices(&[], dtype).is_some(),
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Value => "integers or floats of 16, 32 or 64 bits",
            Self::Index => "integers",
        }
    }
}

/// A number of any type, as f32.
#[derive(Clone, Copy)]
struct Value(f32);

/// A number of any type, as f64.
#[derive(Clone, Copy)]
struct Double(f64);

/// An element as the file has it.
#[derive(Clone)]
struct Raw(Vec<u8>);

impl H5Type for Raw {
    fn hdf5_type() -> Datatype {
        <u8 as H5Type>::hdf5_type()
    }

    fn from_bytes(bytes: &[u8], _: &Datatype) -> hdf5_reader::error::Result<Self> {
        Ok(Self(bytes.to_vec()))
    }

    fn element_size(dtype: &Datatype) -> usize {
        dtype_element_size(dtype).unwrap_or(1)
    }
}

/// A whole number of any type, as i64. What is past i64 saturates, and so is past the end of everything.
#[derive(Clone, Copy)]
struct Index(i64);

fn decode<const N: usize, T>(raw: &[u8], order: ByteOrder, convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    let elements = raw.as_chunks::<N>().0.iter();
    match order {
        ByteOrder::LittleEndian => elements.map(|&bytes| convert(bytes)).collect(),
        ByteOrder::BigEndian => elements
            .map(|&bytes| {
                let mut bytes = bytes;
                bytes.reverse();
                convert(bytes)
            })
            .collect(),
    }
}

/// `None` for types that are no numbers.
#[expect(
    clippy::cast_possible_truncation,
    reason = "past f32 is infinite, which is refused later with cell and gene"
)]
fn decode_values(raw: &[u8], dtype: &Datatype) -> Option<Vec<Value>> {
    Some(match *dtype {
        Datatype::FloatingPoint { size: 2, byte_order } => {
            decode(raw, byte_order, |bytes| Value(half::f16::from_le_bytes(bytes).to_f32()))
        }
        Datatype::FloatingPoint { size: 4, byte_order } => decode(raw, byte_order, |bytes| Value(f32::from_le_bytes(bytes))),
        Datatype::FloatingPoint { size: 8, byte_order } => {
            decode(raw, byte_order, |bytes| Value(f64::from_le_bytes(bytes) as f32))
        }
        Datatype::FixedPoint { .. } | Datatype::Enum { .. } => decode_indices(raw, dtype)?
            .into_iter()
            .map(|Index(index)| Value(index as f32))
            .collect(),
        _ => return None,
    })
}

/// `None` for types that are no numbers.
fn decode_doubles(raw: &[u8], dtype: &Datatype) -> Option<Vec<Double>> {
    Some(match *dtype {
        Datatype::FloatingPoint { size: 8, byte_order } => decode(raw, byte_order, |bytes| Double(f64::from_le_bytes(bytes))),
        Datatype::FloatingPoint { .. } => decode_values(raw, dtype)?
            .into_iter()
            .map(|Value(value)| Double(value.into()))
            .collect(),
        _ => decode_indices(raw, dtype)?
            .into_iter()
            .map(|Index(index)| Double(index as f64))
            .collect(),
    })
}

/// `None` for types that are no whole numbers.
fn decode_indices(raw: &[u8], dtype: &Datatype) -> Option<Vec<Index>> {
    let (size, signed, order) = match *dtype {
        Datatype::FixedPoint {
            size,
            signed,
            byte_order,
        } => (size, signed, byte_order),
        // Booleans are an enum over i8.
        Datatype::Enum { ref base, .. } => return decode_indices(raw, base),
        _ => return None,
    };
    Some(match (size, signed) {
        (1, true) => decode(raw, order, |bytes| Index(i8::from_le_bytes(bytes).into())),
        (1, false) => decode(raw, order, |bytes| Index(u8::from_le_bytes(bytes).into())),
        (2, true) => decode(raw, order, |bytes| Index(i16::from_le_bytes(bytes).into())),
        (2, false) => decode(raw, order, |bytes| Index(u16::from_le_bytes(bytes).into())),
        (4, true) => decode(raw, order, |bytes| Index(i32::from_le_bytes(bytes).into())),
        (4, false) => decode(raw, order, |bytes| Index(u32::from_le_bytes(bytes).into())),
        (8, true) => decode(raw, order, |bytes| Index(i64::from_le_bytes(bytes))),
        (8, false) => decode(raw, order, |bytes| {
            Index(i64::try_from(u64::from_le_bytes(bytes)).unwrap_or(i64::MAX))
        }),
        _ => return None,
    })
}

macro_rules! read_as {
    ($type:ident, $decode:ident, $native:ty) => {
        impl H5Type for $type {
            fn hdf5_type() -> Datatype {
                <$native as H5Type>::hdf5_type()
            }

            fn from_bytes(bytes: &[u8], dtype: &Datatype) -> hdf5_reader::error::Result<Self> {
                let first = $decode(bytes, dtype).and_then(|numbers| numbers.first().copied());
                first.ok_or_else(|| Hdf5Error::TypeMismatch {
                    expected: stringify!($native).to_owned(),
                    actual: describe(dtype),
                })
            }

            fn element_size(dtype: &Datatype) -> usize {
                dtype_element_size(dtype).unwrap_or(size_of::<$native>())
            }

            fn decode_vec(raw: &[u8], dtype: &Datatype, count: usize) -> Option<hdf5_reader::error::Result<Vec<Self>>> {
                let size = count.checked_mul(Self::element_size(dtype))?;
                $decode(raw.get(..size)?, dtype).map(Ok)
            }
        }
    };
}

read_as!(Value, decode_values, f32);
read_as!(Index, decode_indices, i64);
read_as!(Double, decode_doubles, f64);

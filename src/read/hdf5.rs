//! HDF5 as a [`Container`]: objects by path, numbers of any type, texts, fields of records, and errors that name file and place.

use super::container::{Array, Container, Element, Node, Numbers};
use super::numbers::{self, Number, NumberFormat, NumberType};
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
    name: Arc<str>,
    /// The most bytes that one read may give.
    most: u64,
    file: Hdf5File,
}

enum Object {
    Group(Group),
    Dataset(Box<Dataset>),
}

impl File {
    pub(super) fn open(name: &str, source: Arc<dyn Source>) -> Result<Self> {
        let size = source.size();
        let blocks = BlockCacheStorage::new(Arc::new(SourceStorage(source)), BLOCK_SIZE, N_BLOCKS);
        let storage = BlockCacheStorage::new(Arc::new(blocks), PAGE_SIZE, N_PAGES);
        let most = size.saturating_mul(MAX_RATIO).saturating_add(ALWAYS_ALLOWED);
        let most_at_once = usize::try_from(most).unwrap_or(MAX_READ_SIZE).min(MAX_READ_SIZE);
        let mut options = OpenOptions::default().with_max_read_bytes(most_at_once);
        options.filter_registry = Some(filters::registry());
        let file = Hdf5File::from_storage_with_options(Arc::new(storage), options)
            .map_err(|error| explain(name, "HDF5 superblock", error))?;
        let wanted = file.superblock().eof_address;
        if size < wanted {
            let problem = format!("the file is cut off: {size} bytes of {wanted}");
            return Err(Error::file(name, format_args!("byte {size}"), problem));
        }
        Ok(Self {
            name: name.into(),
            most,
            file,
        })
    }

    fn explain(&self, place: impl Display, error: Hdf5Error) -> Error {
        explain(&self.name, place, error)
    }

    fn object(&self, path: &str) -> Result<Option<Object>> {
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

    fn attribute(&self, path: &str, name: &str) -> Result<Option<Attribute>> {
        let attribute = match self.object(path)? {
            Some(Object::Group(group)) => group.attribute(name),
            Some(Object::Dataset(dataset)) => dataset.attribute(name),
            None => return Ok(None),
        };
        match attribute {
            Ok(attribute) => Ok(Some(attribute)),
            Err(Hdf5Error::AttributeNotFound(_)) => Ok(None),
            Err(error) => Err(self.explain(format_args!("{path}, attribute {name}"), error)),
        }
    }
}

impl Container for File {
    fn name(&self) -> &str {
        &self.name
    }

    fn ending(&self) -> &'static str {
        ".h5ad"
    }

    fn node(&self, path: &str) -> Result<Option<Node>> {
        let dataset = match self.object(path)? {
            None => return Ok(None),
            Some(Object::Group(_)) => return Ok(Some(Node::Group)),
            // Of no elements and no dimensions: how anndata writes `None`.
            Some(Object::Dataset(dataset)) if dataset.shape().is_empty() && matches!(dataset.num_elements(), Ok(0)) => {
                return Ok(None);
            }
            Some(Object::Dataset(dataset)) => Arc::<Dataset>::from(dataset),
        };
        let name = &self.name;
        let Datatype::Compound { fields, .. } = dataset.dtype() else {
            return Ok(Some(Node::Array(Arc::new(DatasetArray {
                name: Arc::clone(name),
                path: path.to_owned(),
                most: self.most,
                dataset,
            }))));
        };
        let field = |field: &CompoundField| {
            let array = FieldArray::new((name, path), self.most, &dataset, field.clone());
            (field.name.clone(), Arc::new(array) as Arc<dyn Array>)
        };
        Ok(Some(Node::Records(fields.iter().map(field).collect())))
    }

    fn members(&self, path: &str) -> Result<Vec<String>> {
        let Some(Object::Group(group)) = self.object(path)? else {
            return Ok(Vec::new());
        };
        let (mut groups, datasets) = group.member_names().map_err(|error| self.explain(path, error))?;
        groups.extend(datasets);
        Ok(groups)
    }

    fn text_attribute(&self, path: &str, name: &str) -> Result<Option<String>> {
        let read = |attribute: Attribute| attribute.read_string();
        let text = self.attribute(path, name)?.map(read).transpose();
        text.map_err(|error| self.explain(format_args!("{path}, attribute {name}"), error))
    }

    fn index_attribute(&self, path: &str, name: &str) -> Result<Option<Vec<i64>>> {
        let read = |attribute: Attribute| attribute.read_1d::<Of<i64>>();
        match self.attribute(path, name)?.map(read).transpose() {
            Ok(list) => Ok(list.map(|list| list.into_iter().map(|Of(index)| index).collect())),
            Err(error) => Err(self.explain(format_args!("{path}, attribute {name}"), error)),
        }
    }
}

/// Adds a block to `out`, in pieces of some of its rows.
fn read<T: H5Type, U>(
    (name, path): (&str, &str),
    most: u64,
    dataset: &Dataset,
    block: &[Range<usize>],
    out: &mut Vec<U>,
    convert: fn(T) -> U,
) -> Result<()> {
    let Some((rows, rest)) = block.split_first() else {
        // A single number has no dimension to take a slice of.
        let numbers = dataset.read_array::<T>().map_err(|error| explain(name, path, error))?;
        out.extend(numbers.into_iter().map(convert));
        return Ok(());
    };
    let row_len: usize = rest.iter().map(ExactSizeIterator::len).product();
    let too_large = || {
        let problem = format_args!("{} × {row_len} numbers at once are too many for this machine", rows.len());
        Error::file(name, path, problem)
    };
    let len = rows.len().checked_mul(row_len).ok_or_else(too_large)?;
    if (len as u64).saturating_mul(size_of::<U>() as u64) > most {
        return Err(too_large());
    }
    let step = (PIECE_LEN / row_len.max(1)).max(1);
    for start in rows.clone().step_by(step) {
        let piece = start..rows.end.min(start + step);
        let slice = |range: &Range<usize>| SliceInfoElem::Slice {
            start: range.start as u64,
            end: range.end as u64,
            step: 1,
        };
        let selections = std::iter::once(&piece).chain(rest).map(slice).collect();
        let selection = SliceInfo { selections };
        #[cfg(not(target_arch = "wasm32"))]
        let numbers = dataset.read_slice_parallel::<T>(&selection);
        #[cfg(target_arch = "wasm32")]
        let numbers = dataset.read_slice::<T>(&selection);
        let numbers = numbers.map_err(|error| {
            // There are no more than the file can hold. The crate has no kind of error for it.
            let is_memory = error.to_string().contains("cannot allocate");
            let error = explain(name, path, error);
            if is_memory { error.for_lack_of_memory() } else { error }
        })?;
        let wanted = piece.len() * row_len;
        if numbers.len() != wanted {
            let problem = format_args!("{} numbers at {start}; wanted {wanted}", numbers.len());
            return Err(Error::file(name, path, problem));
        }
        // Only now: the sizes are the file's word, and what is not there cannot be read.
        out.try_reserve(numbers.len()).map_err(|_| too_large().for_lack_of_memory())?;
        // The array's own iterator counts through every dimension: several times slower than a slice.
        match numbers.as_slice() {
            Some(numbers) => out.extend(numbers.iter().cloned().map(convert)),
            None => out.extend(numbers.into_iter().map(convert)),
        }
    }
    Ok(())
}

/// A text, from where its element begins.
fn text((name, path): (&str, &str), dataset: &Dataset, dtype: &Datatype, element: &[u8]) -> Result<String> {
    let wrong = |problem: &str| Error::file(name, path, problem);
    let bytes = match *dtype {
        Datatype::String {
            size: StringSize::Fixed(size),
            ..
        } => element.get(..size as usize).map(<[u8]>::to_vec),
        _ => match element.get(..dataset.vlen_reference_size()) {
            Some(reference) => Some(
                dataset
                    .resolve_vlen_reference_bytes(reference, 1)
                    .map_err(|error| explain(name, path, error))?,
            ),
            None => None,
        },
    };
    let mut bytes = bytes.ok_or_else(|| wrong("the field passes the end of its record"))?;
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    String::from_utf8(bytes).map_err(|_| wrong("text that is not UTF-8"))
}

/// A dataset of numbers or texts.
struct DatasetArray {
    name: Arc<str>,
    path: String,
    /// [`File::most`].
    most: u64,
    dataset: Arc<Dataset>,
}

impl DatasetArray {
    fn read_as<T: H5Type, U>(&self, block: &[Range<usize>], out: &mut Vec<U>, convert: fn(T) -> U) -> Result<()> {
        read((&self.name, &self.path), self.most, &self.dataset, block, out, convert)
    }
}

impl Array for DatasetArray {
    fn path(&self) -> &str {
        &self.path
    }

    fn shape(&self) -> &[u64] {
        self.dataset.shape()
    }

    fn element(&self) -> Element {
        element(self.dataset.dtype())
    }

    fn type_name(&self) -> String {
        describe(self.dataset.dtype())
    }

    fn wrong(&self, problem: &dyn Display) -> Error {
        Error::file(&self.name, &self.path, problem)
    }

    fn read(&self, block: &[Range<usize>], out: Numbers<'_>) -> Result<()> {
        match out {
            // What lies in the file as in memory is not decoded one by one.
            Numbers::Values(out) if <f32 as H5Type>::native_copy_compatible(self.dataset.dtype()) => {
                self.read_as(block, out, |Word(bytes)| f32::from_ne_bytes(bytes))
            }
            Numbers::Values(out) => self.read_as(block, out, |Of(number)| f32::from_f64(number)),
            Numbers::Indices(out) => self.read_as(block, out, |Of(number)| number),
            Numbers::Doubles(out) => self.read_as(block, out, |Of(number)| number),
        }
    }

    fn small_indices(&self, range: Range<usize>) -> Result<Option<Vec<i32>>> {
        if !<i32 as H5Type>::native_copy_compatible(self.dataset.dtype()) {
            return Ok(None);
        }
        let mut indices = Vec::new();
        self.read_as(&[range], &mut indices, |Word(bytes)| i32::from_ne_bytes(bytes))?;
        Ok(Some(indices))
    }

    fn texts(&self, range: Range<usize>) -> Result<Vec<String>> {
        let (place, mut elements) = ((&*self.name, &*self.path), Vec::new());
        read(place, self.most, &self.dataset, &[range], &mut elements, |Raw(bytes)| bytes)?;
        let texts = elements.iter();
        texts
            .map(|element| text(place, &self.dataset, self.dataset.dtype(), element))
            .collect()
    }
}

/// One field of a dataset of records; where it is a list, the second dimension.
struct FieldArray {
    name: Arc<str>,
    path: String,
    /// [`File::most`].
    most: u64,
    dataset: Arc<Dataset>,
    field: CompoundField,
    shape: Vec<u64>,
}

impl FieldArray {
    fn new((name, path): (&Arc<str>, &str), most: u64, dataset: &Arc<Dataset>, field: CompoundField) -> Self {
        let mut shape = dataset.shape().to_vec();
        if let Datatype::Array { dims, .. } = &field.datatype {
            shape.extend(dims.iter().copied());
        }
        Self {
            name: Arc::clone(name),
            path: format!("{path}/{}", field.name),
            most,
            dataset: Arc::clone(dataset),
            field,
            shape,
        }
    }

    /// The type of one number or text.
    fn dtype(&self) -> &Datatype {
        match &self.field.datatype {
            Datatype::Array { base, .. } => base,
            other => other,
        }
    }

    /// The records, from where this field begins in each.
    fn elements(&self, records: Range<usize>) -> Result<Vec<Vec<u8>>> {
        let mut elements = Vec::new();
        let place = (&*self.name, &*self.path);
        read(place, self.most, &self.dataset, &[records], &mut elements, |Raw(bytes)| bytes)?;
        let offset = self.field.byte_offset as usize;
        for element in &mut elements {
            element.drain(..offset.min(element.len()));
        }
        Ok(elements)
    }

    fn read_as<T: Number>(&self, block: &[Range<usize>], out: &mut Vec<T>) -> Result<()> {
        let (records, columns) = match block {
            [records] => (records.clone(), 0..1),
            [records, columns] => (records.clone(), columns.clone()),
            _ => return Err(self.wrong(&"a list of lists in a record; wanted a list")),
        };
        let number_type = match element(self.dtype()) {
            Element::Number(number_type) => number_type,
            Element::Truth => TRUTH,
            _ => return Err(self.wrong(&format_args!("{}; wanted numbers", self.type_name()))),
        };
        let size = usize::from(number_type.size);
        for element in self.elements(records)? {
            let ends = columns.start.checked_mul(size).zip(columns.end.checked_mul(size));
            ends.and_then(|(start, end)| element.get(start..end))
                .and_then(|bytes| numbers::decode(bytes, number_type, out))
                .ok_or_else(|| self.wrong(&"the field passes the end of its record"))?;
        }
        Ok(())
    }
}

impl Array for FieldArray {
    fn path(&self) -> &str {
        &self.path
    }

    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn element(&self) -> Element {
        element(self.dtype())
    }

    fn type_name(&self) -> String {
        describe(self.dtype())
    }

    fn wrong(&self, problem: &dyn Display) -> Error {
        Error::file(&self.name, &self.path, problem)
    }

    fn read(&self, block: &[Range<usize>], out: Numbers<'_>) -> Result<()> {
        match out {
            Numbers::Values(out) => self.read_as(block, out),
            Numbers::Indices(out) => self.read_as(block, out),
            Numbers::Doubles(out) => self.read_as(block, out),
        }
    }

    fn texts(&self, range: Range<usize>) -> Result<Vec<String>> {
        let elements = self.elements(range)?.into_iter();
        elements
            .map(|element| text((&self.name, &self.path), &self.dataset, self.dtype(), &element))
            .collect()
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

/// Booleans are an enum over i8.
const TRUTH: NumberType = NumberType {
    format: NumberFormat::Signed,
    size: 1,
    big_endian: false,
};

fn element(dtype: &Datatype) -> Element {
    match dtype {
        Datatype::String { .. }
        | Datatype::VarLen {
            kind: VarLenKind::String,
            ..
        } => Element::Text,
        Datatype::Enum { .. } if number_type(dtype) == Some(TRUTH) => Element::Truth,
        _ => number_type(dtype).map_or(Element::Other, Element::Number),
    }
}

fn number_type(dtype: &Datatype) -> Option<NumberType> {
    let (format, size, byte_order) = match *dtype {
        Datatype::FloatingPoint { size, byte_order } => (NumberFormat::Float, size, byte_order),
        Datatype::FixedPoint {
            size,
            signed: true,
            byte_order,
        } => (NumberFormat::Signed, size, byte_order),
        Datatype::FixedPoint { size, byte_order, .. } => (NumberFormat::Unsigned, size, byte_order),
        Datatype::Enum { ref base, .. } => return number_type(base),
        _ => return None,
    };
    let number_type = NumberType {
        format,
        size,
        big_endian: size > 1 && byte_order == ByteOrder::BigEndian,
    };
    number_type.is_known().then_some(number_type)
}

/// An element of 4 bytes as the file has it. `f32` and `i32` are both read as this, and all other values as `f64`: hdf5-reader is compiled
/// anew for every type, 17 kB each time.
#[derive(Clone, Copy)]
struct Word([u8; 4]);

impl H5Type for Word {
    fn hdf5_type() -> Datatype {
        <u32 as H5Type>::hdf5_type()
    }

    fn from_bytes(bytes: &[u8], dtype: &Datatype) -> hdf5_reader::error::Result<Self> {
        let word = bytes.first_chunk().copied().map(Self);
        word.ok_or_else(|| Hdf5Error::TypeMismatch {
            expected: "4 bytes".to_owned(),
            actual: describe(dtype),
        })
    }

    fn element_size(_: &Datatype) -> usize {
        size_of::<Self>()
    }

    fn decode_vec(raw: &[u8], dtype: &Datatype, count: usize) -> Option<hdf5_reader::error::Result<Vec<Self>>> {
        let words = raw.as_chunks().0.get(..count)?;
        Self::native_copy_compatible(dtype).then(|| Ok(words.iter().copied().map(Self).collect()))
    }

    fn native_copy_compatible(dtype: &Datatype) -> bool {
        dtype_element_size(dtype).is_ok_and(|size| size == size_of::<Self>())
    }
}

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

/// A number of any type, as hdf5-reader hands it over.
#[derive(Clone, Copy)]
struct Of<T>(T);

impl<T: Number> Number for Of<T> {
    const TAKES_FLOATS: bool = T::TAKES_FLOATS;

    fn from_f32(number: f32) -> Self {
        Self(T::from_f32(number))
    }

    fn from_f64(number: f64) -> Self {
        Self(T::from_f64(number))
    }

    fn from_i64(number: i64) -> Self {
        Self(T::from_i64(number))
    }
}

impl<T: Number> H5Type for Of<T> {
    fn hdf5_type() -> Datatype {
        <f64 as H5Type>::hdf5_type()
    }

    fn from_bytes(bytes: &[u8], dtype: &Datatype) -> hdf5_reader::error::Result<Self> {
        let mut numbers = Vec::new();
        let decoded = number_type(dtype).and_then(|number_type| numbers::decode(bytes, number_type, &mut numbers));
        decoded
            .and_then(|()| numbers.first().copied())
            .ok_or_else(|| Hdf5Error::TypeMismatch {
                expected: if T::TAKES_FLOATS { "numbers" } else { "integers" }.to_owned(),
                actual: describe(dtype),
            })
    }

    fn element_size(dtype: &Datatype) -> usize {
        dtype_element_size(dtype).unwrap_or(size_of::<T>())
    }

    fn decode_vec(raw: &[u8], dtype: &Datatype, count: usize) -> Option<hdf5_reader::error::Result<Vec<Self>>> {
        let size = count.checked_mul(Self::element_size(dtype))?;
        let mut numbers = Vec::with_capacity(count);
        numbers::decode(raw.get(..size)?, number_type(dtype)?, &mut numbers)?;
        Some(Ok(numbers))
    }
}

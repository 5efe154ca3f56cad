//! What a matrix may be kept in: groups with attributes, and arrays of numbers or texts that are read by range. HDF5 and Zarr are two kinds of
//! it; what the groups and arrays mean is said by the readers of `AnnData`, 10x and loom files, once.

use super::numbers::NumberType;
use crate::error::{Error, Result};
use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

/// An open file, or a folder of files, of groups and arrays that are found by paths such as `raw/var`.
pub(super) trait Container: Send + Sync {
    /// As the user calls it.
    fn name(&self) -> &str;

    /// How `AnnData`'s files of this kind end: `.h5ad`.
    fn ending(&self) -> &'static str;

    /// What stands at a path, if anything; the root at an empty one.
    fn node(&self, path: &str) -> Result<Option<Node>>;

    /// The names of what a group holds; none where there is no group.
    fn members(&self, path: &str) -> Result<Vec<String>>;

    /// An attribute that is one text, if it is there.
    fn text_attribute(&self, path: &str, name: &str) -> Result<Option<String>>;

    /// An attribute that is a list of whole numbers, if it is there.
    fn index_attribute(&self, path: &str, name: &str) -> Result<Option<Vec<i64>>>;
}

/// What stands at a path.
pub(super) enum Node {
    Group,
    /// A list of records. Each field is an array of its own, as if the records were a group of columns.
    Records(Vec<(String, Arc<dyn Array>)>),
    Array(Arc<dyn Array>),
}

/// What an array holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Text,
    Truth,
    Number(NumberType),
    /// Nothing that is read.
    Other,
}

/// Where numbers are added, and as what.
pub(super) enum Numbers<'a> {
    Values(&'a mut Vec<f32>),
    Indices(&'a mut Vec<i64>),
    Doubles(&'a mut Vec<f64>),
}

/// An array that is read by range. It knows its file and path, so that its errors name them.
pub(super) trait Array: Send + Sync {
    /// Where it stands: `X/data`.
    fn path(&self) -> &str;

    fn shape(&self) -> &[u64];

    fn element(&self) -> Element;

    /// The type of its elements as the file calls it.
    fn type_name(&self) -> String;

    /// A [`Error::File`] at this array.
    fn wrong(&self, problem: &dyn Display) -> Error;

    /// Adds a block to `out`, row by row: a range for each dimension, none past its end.
    fn read(&self, block: &[Range<usize>], out: Numbers<'_>) -> Result<()>;

    /// Part of a list of whole numbers of 32 bits, where it lies in the file as in memory; `None` elsewhere.
    fn small_indices(&self, _range: Range<usize>) -> Result<Option<Vec<i32>>> {
        Ok(None)
    }

    /// Refuses part of a list that the file does not hold, where the format lets that mean some number and the caller knows better.
    fn check_stored(&self, _range: Range<usize>) -> Result<()> {
        Ok(())
    }

    /// Part of a list of texts; a missing one is empty.
    fn texts(&self, range: Range<usize>) -> Result<Vec<String>>;
}

/// What numbers are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// f32.
    Value,
    /// i64.
    Index,
}

impl dyn Container + '_ {
    /// A [`Error::File`] in this file.
    pub(super) fn wrong(&self, place: impl Display, problem: impl Display) -> Error {
        Error::file(self.name(), place, problem)
    }

    /// An array that must be there.
    pub(super) fn array(&self, path: &str) -> Result<Arc<dyn Array>> {
        match self.node(path)? {
            Some(Node::Array(array)) => Ok(array),
            Some(Node::Records(_)) => Err(self.wrong(path, "of type compound; wanted integers or floats")),
            Some(Node::Group) => Err(self.wrong(path, "a group; wanted an array")),
            None => Err(self.wrong(path, "missing")),
        }
    }

    /// A list of numbers that must be there, and its length.
    pub(super) fn list(&self, path: &str, kind: Kind) -> Result<(Arc<dyn Array>, usize)> {
        let array = self.array(path)?;
        let len = array.len()?;
        array.check(kind)?;
        Ok((array, len))
    }
}

impl dyn Array + '_ {
    /// The length of a one-dimensional array.
    pub(super) fn len(&self) -> Result<usize> {
        let &[len] = self.shape() else {
            return Err(self.wrong(&format_args!("{} dimensions; wanted one", self.shape().len())));
        };
        usize::try_from(len).map_err(|_| self.wrong(&format_args!("{len} numbers are too many for this machine")))
    }

    /// The only number of an array; `None` where it holds anything else.
    pub(super) fn number(&self) -> Result<Option<f64>> {
        let block: Option<Vec<Range<usize>>> = self.shape().iter().map(|&len| (len == 1).then_some(0..1)).collect();
        let Some(block) = block.filter(|_| self.gives(Kind::Value)) else {
            return Ok(None);
        };
        let mut numbers = Vec::new();
        self.read(&block, Numbers::Doubles(&mut numbers))?;
        Ok(numbers.first().copied())
    }

    /// Whether it can be read as such numbers.
    pub(super) fn gives(&self, kind: Kind) -> bool {
        match (self.element(), kind) {
            (Element::Number(number_type), Kind::Value) => number_type.gives::<f32>(),
            (Element::Number(number_type), Kind::Index) => number_type.gives::<i64>(),
            (Element::Truth, _) => true,
            (Element::Text | Element::Other, _) => false,
        }
    }

    /// Refuses an array that cannot be read as such numbers.
    pub(super) fn check(&self, kind: Kind) -> Result<()> {
        let wanted = match kind {
            Kind::Value => "integers or floats of 16, 32 or 64 bits",
            Kind::Index => "integers",
        };
        match self.gives(kind) {
            true => Ok(()),
            false => Err(self.wrong(&format_args!("numbers of type {}; wanted {wanted}", self.type_name()))),
        }
    }

    pub(super) fn values(&self, range: Range<usize>) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        self.read(&[range], Numbers::Values(&mut values))?;
        Ok(values)
    }

    pub(super) fn indices(&self, range: Range<usize>) -> Result<Vec<i64>> {
        let mut indices = Vec::new();
        self.read(&[range], Numbers::Indices(&mut indices))?;
        Ok(indices)
    }

    pub(super) fn doubles(&self, range: Range<usize>) -> Result<Vec<f64>> {
        let mut doubles = Vec::new();
        self.read(&[range], Numbers::Doubles(&mut doubles))?;
        Ok(doubles)
    }
}

//! A column of answers, block by block.

use super::super::ResultValues;
use super::super::hdf5::{Array, Space, Type, invalid};
use super::element::{categorical, encoding};
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

/// A column that is being written.
pub(super) enum Column {
    /// Numbers or truths.
    Plain(Type, Array),
    Categories(Type, Array, Arc<[String]>),
}

impl Column {
    pub(super) fn reserve<F: Read + Write + Seek>(
        space: &mut Space<F>,
        n_cells: u64,
        name: &str,
        values: &ResultValues,
    ) -> io::Result<Self> {
        let mut array = |datatype| Array::reserve(space, datatype, &[n_cells]);
        Ok(match values {
            ResultValues::Numbers(_) => Self::Plain(Type::F32, array(Type::F32)),
            ResultValues::Truths(_) => Self::Plain(Type::Truth, array(Type::Truth)),
            ResultValues::Categories { names, .. } => {
                // pandas refuses categories that are not distinct.
                let mut sorted: Vec<&String> = names.iter().collect();
                sorted.sort_unstable();
                if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(invalid(format!("{name}: the category {} comes twice", twice[0])));
                }
                let datatype = code_type(names.len());
                Self::Categories(datatype, array(datatype), Arc::clone(names))
            }
        })
    }

    pub(super) fn write<F: Read + Write + Seek>(
        &mut self,
        space: &mut Space<F>,
        name: &str,
        values: &ResultValues,
    ) -> io::Result<()> {
        match (self, values) {
            (Self::Plain(Type::F32, array), ResultValues::Numbers(numbers)) => array.write(space, bytemuck::cast_slice(numbers)),
            (Self::Plain(Type::Truth, array), ResultValues::Truths(truths)) => {
                let bytes: Vec<u8> = truths.iter().map(|&truth| u8::from(truth)).collect();
                array.write(space, &bytes)
            }
            (Self::Categories(datatype, array, known), ResultValues::Categories { codes, names }) => {
                if known != names {
                    return Err(invalid(format!("{name}: the categories are not those of the first block")));
                }
                array.write(space, &code_bytes(name, *datatype, codes, names.len())?)
            }
            _ => Err(invalid(format!("{name}: values of another kind than before"))),
        }
    }

    pub(super) fn missing(&self) -> u64 {
        match self {
            Self::Plain(_, array) | Self::Categories(_, array, _) => array.missing(),
        }
    }

    pub(super) fn finish<F: Read + Write + Seek>(self, space: &mut Space<F>) -> io::Result<u64> {
        let attributes = encoding(space, "array", "0.2.0")?;
        match self {
            Self::Plain(_, array) => array.finish(space, &attributes),
            Self::Categories(_, array, names) => {
                let codes = array.finish(space, &attributes)?;
                categorical(space, codes, &names)
            }
        }
    }
}

/// The smallest integers that hold the codes, as pandas chooses them.
pub(super) fn code_type(n_names: usize) -> Type {
    match n_names {
        0..=0x7F => Type::I8,
        0x80..=0x7FFF => Type::I16,
        _ => Type::I32,
    }
}

/// Codes as they stand in a file: −1 where there is none.
pub(super) fn code_bytes(name: &str, datatype: Type, codes: &[Option<u32>], n_names: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(codes.len() * usize::from(datatype.size()));
    for code in codes {
        let code = match code {
            None => -1,
            Some(code) if (*code as usize) < n_names => i32::try_from(*code).map_err(io::Error::other)?,
            Some(code) => return Err(invalid(format!("{name}: code {code} is past the last category ({n_names})"))),
        };
        // Every code fits, so that the first bytes hold it whole.
        bytes.extend_from_slice(&code.to_le_bytes()[..usize::from(datatype.size())]);
    }
    Ok(bytes)
}

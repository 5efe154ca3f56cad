//! One column of a table in an HDF5 file, read by range: a dataset, a group as anndata writes it, or a field of compound records.

use super::hdf5::{File, Kind, Object, is_text};
use crate::cells::CellColumn;
use crate::error::Result;
use hdf5_reader::{CompoundField, Dataset, Datatype};
use std::collections::HashMap;
use std::ops::Range;

pub(super) struct Column {
    path: String,
    len: usize,
    values: Values,
}

enum Values {
    Text(Box<Dataset>),
    Number(Box<Dataset>),
    Truth(Box<Dataset>),
    /// Codes, and what they count.
    Codes(Box<Dataset>, Vec<String>),
    /// Values, and where there are none.
    Masked(Box<Column>, Box<Column>),
    Field(Box<Dataset>, CompoundField),
}

impl Column {
    /// `None` for what is no column of texts or numbers. `categories` is where files before anndata 0.8 keep what codes mean.
    pub(super) fn open(file: &File, path: &str, categories: &str) -> Result<Option<Self>> {
        let Some(object) = file.object(path)? else {
            return Ok(None);
        };
        let values = match object {
            Object::Dataset(dataset) if dataset.ndim() != 1 => return Ok(None),
            Object::Dataset(dataset) if is_text(dataset.dtype()) => Values::Text(dataset),
            Object::Dataset(dataset) => match file.object(categories)? {
                Some(Object::Dataset(_)) if Kind::Index.decodes(dataset.dtype()) => {
                    Values::Codes(dataset, Self::names(file, categories)?)
                }
                _ if matches!(dataset.dtype(), Datatype::Enum { .. }) => Values::Truth(dataset),
                _ if Kind::Value.decodes(dataset.dtype()) => Values::Number(dataset),
                _ => return Ok(None),
            },
            Object::Group(_) => match file.text_attribute(&object, path, "encoding-type")?.as_deref() {
                Some("categorical") => {
                    let codes = file.dataset(&format!("{path}/codes"))?;
                    Values::Codes(codes, Self::names(file, &format!("{path}/categories"))?)
                }
                Some("nullable-string-array" | "nullable-integer" | "nullable-boolean") => {
                    let part = |name: &str| {
                        let part_path = format!("{path}/{name}");
                        match Self::open(file, &part_path, "")? {
                            Some(part) => Ok(Box::new(part)),
                            None => Err(file.wrong(part_path, "missing, or neither texts nor numbers")),
                        }
                    };
                    Values::Masked(part("values")?, part("mask")?)
                }
                _ => return Ok(None),
            },
        };
        let len = match &values {
            Values::Masked(values, mask) if values.len != mask.len => {
                return Err(file.wrong(path, format_args!("{} values, but {} in mask", values.len, mask.len)));
            }
            Values::Masked(values, _) => values.len,
            Values::Text(dataset)
            | Values::Number(dataset)
            | Values::Truth(dataset)
            | Values::Codes(dataset, _)
            | Values::Field(dataset, _) => file.len(path, dataset)?,
        };
        Ok(Some(Self {
            path: path.to_owned(),
            len,
            values,
        }))
    }

    /// A field of a table of records, as anndata up to 0.6 kept `obs` and `var`.
    pub(super) fn field(file: &File, path: &str, dataset: Box<Dataset>, field: CompoundField) -> Result<Self> {
        Ok(Self {
            len: file.len(path, &dataset)?,
            path: format!("{path}, column {}", field.name),
            values: Values::Field(dataset, field),
        })
    }

    /// What codes mean.
    pub(super) fn names(file: &File, path: &str) -> Result<Vec<String>> {
        match Self::open(file, path, "")? {
            Some(names) => names.texts(file, 0..names.len),
            None => Err(file.wrong(path, "missing, or neither texts nor numbers")),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds names rather than measures.
    pub(super) fn is_text(&self) -> bool {
        match &self.values {
            Values::Text(_) | Values::Codes(..) => true,
            Values::Masked(values, _) => values.is_text(),
            Values::Field(_, field) => is_text(&field.datatype),
            Values::Number(_) | Values::Truth(_) => false,
        }
    }

    /// Everything as text; empty where there is nothing.
    pub(super) fn texts(&self, file: &File, range: Range<usize>) -> Result<Vec<String>> {
        match &self.values {
            Values::Text(dataset) => file.read_texts(&self.path, dataset, None, range),
            Values::Field(dataset, field) if is_text(&field.datatype) => file.read_texts(&self.path, dataset, Some(field), range),
            Values::Codes(_, names) => {
                let name = |code: Option<u32>| code.map_or_else(String::new, |code| names[code as usize].clone());
                Ok(self.codes(file, range)?.into_iter().map(name).collect())
            }
            Values::Masked(values, mask) => {
                let texts = values.texts(file, range.clone())?.into_iter();
                let missing = mask.numbers(file, range)?;
                Ok(texts
                    .zip(missing)
                    .map(|(text, missing)| if missing == 0.0 { text } else { String::new() })
                    .collect())
            }
            Values::Number(_) | Values::Truth(_) | Values::Field(..) => {
                Ok(self.numbers(file, range)?.iter().map(f64::to_string).collect())
            }
        }
    }

    fn codes(&self, file: &File, range: Range<usize>) -> Result<Vec<Option<u32>>> {
        let Values::Codes(dataset, names) = &self.values else {
            return Ok(Vec::new());
        };
        let mut codes = Vec::new();
        file.read_indices(&self.path, dataset, range.clone(), &mut codes)?;
        let check = |(place, code): (usize, i64)| match u32::try_from(code) {
            Ok(small) if (small as usize) < names.len() => Ok(Some(small)),
            _ if code == -1 => Ok(None),
            _ => {
                let n = names.len();
                Err(file.wrong(
                    &self.path,
                    format_args!("code {code} at {place}, but there are {n} categories"),
                ))
            }
        };
        range.zip(codes).map(check).collect()
    }

    fn numbers(&self, file: &File, range: Range<usize>) -> Result<Vec<f64>> {
        match &self.values {
            Values::Number(dataset) | Values::Truth(dataset) => {
                let mut numbers = Vec::new();
                file.read_numbers(&self.path, dataset, range, &mut numbers)?;
                Ok(numbers)
            }
            Values::Field(dataset, field) => file.read_fields(&self.path, dataset, field, range),
            Values::Masked(values, mask) => {
                let missing = mask.numbers(file, range.clone())?;
                let values = values.numbers(file, range)?.into_iter().zip(missing);
                Ok(values
                    .map(|(value, missing)| if missing == 0.0 { value } else { f64::NAN })
                    .collect())
            }
            Values::Text(_) | Values::Codes(..) => Ok(vec![f64::NAN; range.len()]),
        }
    }

    /// All of it.
    pub(super) fn read(&self, file: &File) -> Result<CellColumn> {
        match &self.values {
            Values::Codes(_, names) => Ok(CellColumn::Categories {
                codes: self.codes(file, 0..self.len)?,
                names: names.clone(),
            }),
            _ if self.is_text() => Ok(categories(self.texts(file, 0..self.len)?)),
            _ if self.is_truth() => {
                let code = |number: f64| (!number.is_nan()).then_some(u32::from(number != 0.0));
                Ok(CellColumn::Categories {
                    codes: self.numbers(file, 0..self.len)?.into_iter().map(code).collect(),
                    names: vec!["False".to_owned(), "True".to_owned()],
                })
            }
            _ => Ok(CellColumn::Numbers(self.numbers(file, 0..self.len)?)),
        }
    }

    fn is_truth(&self) -> bool {
        match &self.values {
            Values::Truth(_) => true,
            Values::Masked(values, _) => values.is_truth(),
            Values::Field(_, field) => matches!(field.datatype, Datatype::Enum { .. }),
            _ => false,
        }
    }

    /// A column of records whose codes are explained elsewhere.
    pub(super) fn read_as_codes(&self, file: &File, names: Vec<String>) -> Result<CellColumn> {
        let code = |(place, number): (usize, f64)| match (0_u32..).take(names.len()).find(|&code| f64::from(code) == number) {
            None if number != -1.0 => Err(file.wrong(
                &self.path,
                format_args!("code {number} at {place}, but there are {} categories", names.len()),
            )),
            code => Ok(code),
        };
        let codes = self.numbers(file, 0..self.len)?.into_iter().enumerate().map(code);
        Ok(CellColumn::Categories {
            codes: codes.collect::<Result<_>>()?,
            names,
        })
    }
}

/// The distinct texts in the order in which they come; an empty one is none.
fn categories(texts: Vec<String>) -> CellColumn {
    let (mut names, mut places) = (Vec::new(), HashMap::new());
    let codes = texts
        .into_iter()
        .map(|text| {
            if text.is_empty() {
                return None;
            }
            let next = u32::try_from(names.len()).ok()?;
            Some(*places.entry(text).or_insert_with_key(|text| {
                names.push(text.clone());
                next
            }))
        })
        .collect();
    CellColumn::Categories { codes, names }
}

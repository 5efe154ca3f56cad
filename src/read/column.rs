//! One column of a table, read by range: an array, a group as anndata writes it, or a field of records.

use super::container::{Array, Container, Element, Kind, Node};
use crate::cells::CellColumn;
use crate::error::Result;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

pub(super) struct Column {
    len: usize,
    values: Values,
}

enum Values {
    Text(Arc<dyn Array>),
    Number(Arc<dyn Array>),
    Truth(Arc<dyn Array>),
    /// Codes, and what they count.
    Codes(Arc<dyn Array>, Vec<String>),
    /// Values, and where there are none.
    Masked(Box<Column>, Box<Column>),
}

impl Column {
    /// `None` for what is no column of texts or numbers. `categories` is where files before anndata 0.8 keep what codes mean.
    pub(super) fn open(file: &dyn Container, path: &str, categories: Option<&str>) -> Result<Option<Self>> {
        match file.node(path)? {
            Some(Node::Array(array)) => Self::of(file, array, categories),
            Some(Node::Group) => Self::of_group(file, path),
            Some(Node::Records(_)) | None => Ok(None),
        }
    }

    /// The column that an array is.
    pub(super) fn of(file: &dyn Container, array: Arc<dyn Array>, categories: Option<&str>) -> Result<Option<Self>> {
        if array.shape().len() != 1 {
            return Ok(None);
        }
        let len = array.len()?;
        let names = match categories {
            Some(path) if array.gives(Kind::Index) && file.node(path)?.is_some() => Some(Self::names(file, path)?),
            _ => None,
        };
        let values = match (array.element(), names) {
            (Element::Text, _) => Values::Text(array),
            (_, Some(names)) => Values::Codes(array, names),
            (Element::Truth, None) => Values::Truth(array),
            (Element::Number(_), None) if array.gives(Kind::Value) => Values::Number(array),
            _ => return Ok(None),
        };
        Ok(Some(Self { len, values }))
    }

    fn of_group(file: &dyn Container, path: &str) -> Result<Option<Self>> {
        match file.text_attribute(path, "encoding-type")?.as_deref() {
            Some("categorical") => {
                let (codes, len) = file.list(&format!("{path}/codes"), Kind::Index)?;
                let names = Self::names(file, &format!("{path}/categories"))?;
                let values = Values::Codes(codes, names);
                Ok(Some(Self { len, values }))
            }
            Some("nullable-string-array" | "nullable-integer" | "nullable-boolean") => {
                let part = |name: &str| {
                    let part_path = format!("{path}/{name}");
                    match Self::open(file, &part_path, None)? {
                        Some(part) => Ok(Box::new(part)),
                        None => Err(file.wrong(part_path, "missing, or neither texts nor numbers")),
                    }
                };
                let (values, mask) = (part("values")?, part("mask")?);
                if values.len != mask.len {
                    return Err(file.wrong(path, format_args!("{} values, but {} in mask", values.len, mask.len)));
                }
                Ok(Some(Self {
                    len: values.len,
                    values: Values::Masked(values, mask),
                }))
            }
            _ => Ok(None),
        }
    }

    /// What codes mean.
    fn names(file: &dyn Container, path: &str) -> Result<Vec<String>> {
        match Self::open(file, path, None)? {
            Some(names) => names.texts(0..names.len),
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
            Values::Number(_) | Values::Truth(_) => false,
        }
    }

    /// Everything as text; empty where there is nothing.
    pub(super) fn texts(&self, range: Range<usize>) -> Result<Vec<String>> {
        match &self.values {
            Values::Text(array) => array.texts(range),
            Values::Codes(codes, names) => {
                let name = |code: Option<u32>| code.map_or_else(String::new, |code| names[code as usize].clone());
                Ok(checked_codes(codes, names, range)?.into_iter().map(name).collect())
            }
            Values::Masked(values, mask) => {
                let texts = values.texts(range.clone())?.into_iter();
                let missing = mask.numbers(range)?;
                Ok(texts
                    .zip(missing)
                    .map(|(text, missing)| if missing == 0.0 { text } else { String::new() })
                    .collect())
            }
            Values::Truth(array) => {
                let name = |&truth: &i64| if truth == 0 { "False" } else { "True" }.to_owned();
                Ok(array.indices(range)?.iter().map(name).collect())
            }
            // Each as what it is in the file: f64 cannot tell large whole numbers apart, and has more digits than f32.
            Values::Number(array) if array.gives(Kind::Index) => Ok(array.indices(range)?.iter().map(i64::to_string).collect()),
            Values::Number(array) if matches!(array.element(), Element::Number(float) if float.size < 8) => {
                Ok(array.values(range)?.iter().map(f32::to_string).collect())
            }
            Values::Number(array) => Ok(array.doubles(range)?.iter().map(f64::to_string).collect()),
        }
    }

    fn numbers(&self, range: Range<usize>) -> Result<Vec<f64>> {
        match &self.values {
            Values::Number(array) | Values::Truth(array) => array.doubles(range),
            Values::Masked(values, mask) => {
                let missing = mask.numbers(range.clone())?;
                let values = values.numbers(range)?.into_iter().zip(missing);
                Ok(values
                    .map(|(value, missing)| if missing == 0.0 { value } else { f64::NAN })
                    .collect())
            }
            Values::Text(_) | Values::Codes(..) => Ok(vec![f64::NAN; range.len()]),
        }
    }

    /// All of it.
    pub(super) fn read(&self) -> Result<CellColumn> {
        match &self.values {
            Values::Codes(codes, names) => Ok(CellColumn::Categories {
                codes: checked_codes(codes, names, 0..self.len)?,
                names: names.clone(),
            }),
            _ if self.is_text() => Ok(categories(self.texts(0..self.len)?)),
            _ if self.is_truth() => {
                let code = |number: f64| (!number.is_nan()).then_some(u32::from(number != 0.0));
                Ok(CellColumn::Categories {
                    codes: self.numbers(0..self.len)?.into_iter().map(code).collect(),
                    names: vec!["False".to_owned(), "True".to_owned()],
                })
            }
            _ => Ok(CellColumn::Numbers(self.numbers(0..self.len)?)),
        }
    }

    fn is_truth(&self) -> bool {
        match &self.values {
            Values::Truth(_) => true,
            Values::Masked(values, _) => values.is_truth(),
            _ => false,
        }
    }
}

/// Codes below the number of names; -1 is none.
fn checked_codes(codes: &Arc<dyn Array>, names: &[String], range: Range<usize>) -> Result<Vec<Option<u32>>> {
    let check = |(place, code): (usize, i64)| match u32::try_from(code) {
        Ok(small) if (small as usize) < names.len() => Ok(Some(small)),
        _ if code == -1 => Ok(None),
        _ => {
            let n = names.len();
            Err(codes.wrong(&format_args!("code {code} at {place}, but there are {n} categories")))
        }
    };
    range.clone().zip(codes.indices(range)?).map(check).collect()
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

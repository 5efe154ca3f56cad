//! What is not about single cells: nested mappings of texts, numbers, truths and lists.

use super::super::hdf5::{Group, Space, Type, dataset, invalid, text};
use super::{encode, encoding, number_array, string_array};
use serde_json::Value;
use std::io::{self, Read, Seek, Write};

/// Writes a value; gives its address. `place` is its path, for errors.
pub(super) fn write<F: Read + Write + Seek>(space: &mut Space<F>, place: &str, value: &Value) -> io::Result<u64> {
    let unfit = |what: &str| invalid(format!("uns/{place}: {what} cannot be written"));
    match value {
        Value::Object(map) => {
            let mut group = Group::default();
            encode(space, &mut group, "dict", "0.1.0")?;
            for (name, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                group.link(name, write(space, &format!("{place}/{name}"), value)?)?;
            }
            group.write(space)
        }
        Value::String(string) => {
            let attributes = encoding(space, "string", "0.2.0")?;
            text(space, string, &attributes)
        }
        Value::Bool(truth) => scalar(space, Type::Truth, &[u8::from(*truth)]),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => scalar(space, Type::I64, &integer.to_le_bytes()),
            (None, Some(number)) => scalar(space, Type::F64, &number.to_le_bytes()),
            (None, None) => Err(unfit("a number that is not one of 64 bits")),
        },
        Value::Array(list) => {
            if let Some(texts) = list.iter().map(Value::as_str).collect::<Option<Vec<_>>>() {
                let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
                return string_array(space, &texts);
            }
            let dims = [list.len() as u64];
            if let Some(integers) = list.iter().map(Value::as_i64).collect::<Option<Vec<_>>>() {
                return number_array(space, Type::I64, &dims, bytemuck::cast_slice(&integers));
            }
            match list.iter().map(Value::as_f64).collect::<Option<Vec<_>>>() {
                Some(numbers) => number_array(space, Type::F64, &dims, bytemuck::cast_slice(&numbers)),
                None => Err(unfit("a list of values of several kinds, or a nested one,")),
            }
        }
        Value::Null => Err(unfit("null")),
    }
}

fn scalar<F: Read + Write + Seek>(space: &mut Space<F>, datatype: Type, data: &[u8]) -> io::Result<u64> {
    let attributes = encoding(space, "numeric-scalar", "0.2.0")?;
    dataset(space, datatype, &[], data, &attributes)
}

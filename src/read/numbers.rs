//! Numbers of any type, as files hold their bytes, turned into the three types that the readers use.

use std::fmt::{self, Display, Formatter};

/// How a file writes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NumberType {
    pub(super) format: NumberFormat,
    /// In bytes.
    pub(super) size: u8,
    pub(super) big_endian: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberFormat {
    Signed,
    Unsigned,
    Float,
}

impl NumberType {
    /// Whether there is such a type.
    pub(super) fn is_known(self) -> bool {
        match self.format {
            NumberFormat::Float => matches!(self.size, 2 | 4 | 8),
            _ => matches!(self.size, 1 | 2 | 4 | 8),
        }
    }

    /// Whether numbers of this type can be had as `T`.
    pub(super) fn gives<T: Number>(self) -> bool {
        self.is_known() && (T::TAKES_FLOATS || self.format != NumberFormat::Float)
    }
}

impl Display for NumberType {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let name = match self.format {
            NumberFormat::Signed => "int",
            NumberFormat::Unsigned => "uint",
            NumberFormat::Float => "float",
        };
        write!(out, "{name}{}", 8 * u32::from(self.size))
    }
}

/// What numbers are read as: `f32` for the values of a matrix, `i64` for indices and codes, `f64` for what is said about cells.
pub(super) trait Number: Copy + Send {
    /// Only whole numbers are read as whole numbers.
    const TAKES_FLOATS: bool;

    fn from_f32(number: f32) -> Self;

    fn from_f64(number: f64) -> Self;

    /// What is past i64 saturates, and so is past the end of everything.
    fn from_i64(number: i64) -> Self;
}

impl Number for f32 {
    const TAKES_FLOATS: bool = true;

    fn from_f32(number: f32) -> Self {
        number
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "past f32 is infinite, which is refused later with cell and gene"
    )]
    fn from_f64(number: f64) -> Self {
        number as Self
    }

    fn from_i64(number: i64) -> Self {
        number as Self
    }
}

impl Number for f64 {
    const TAKES_FLOATS: bool = true;

    fn from_f32(number: f32) -> Self {
        number.into()
    }

    fn from_f64(number: f64) -> Self {
        number
    }

    fn from_i64(number: i64) -> Self {
        number as Self
    }
}

impl Number for i64 {
    const TAKES_FLOATS: bool = false;

    #[expect(clippy::cast_possible_truncation, reason = "no floats are given to it")]
    fn from_f32(number: f32) -> Self {
        number as Self
    }

    #[expect(clippy::cast_possible_truncation, reason = "no floats are given to it")]
    fn from_f64(number: f64) -> Self {
        number as Self
    }

    fn from_i64(number: i64) -> Self {
        number
    }
}

fn each<const N: usize, T>(raw: &[u8], big_endian: bool, out: &mut Vec<T>, convert: impl Fn([u8; N]) -> T) {
    let elements = raw.as_chunks::<N>().0.iter();
    if big_endian {
        out.extend(elements.map(|&bytes| {
            let mut bytes = bytes;
            bytes.reverse();
            convert(bytes)
        }));
    } else {
        out.extend(elements.map(|&bytes| convert(bytes)));
    }
}

/// Adds all numbers in `raw` to `out`; `None` for types that cannot be had as `T`.
pub(super) fn decode<T: Number>(raw: &[u8], number_type: NumberType, out: &mut Vec<T>) -> Option<()> {
    use NumberFormat::{Float, Signed, Unsigned};
    if !number_type.gives::<T>() {
        return None;
    }
    let big = number_type.big_endian;
    match (number_type.format, number_type.size) {
        (Float, 2) => each(raw, big, out, |bytes| T::from_f32(half::f16::from_le_bytes(bytes).to_f32())),
        (Float, 4) => each(raw, big, out, |bytes| T::from_f32(f32::from_le_bytes(bytes))),
        (Float, 8) => each(raw, big, out, |bytes| T::from_f64(f64::from_le_bytes(bytes))),
        (Signed, 1) => each(raw, big, out, |bytes| T::from_i64(i8::from_le_bytes(bytes).into())),
        (Signed, 2) => each(raw, big, out, |bytes| T::from_i64(i16::from_le_bytes(bytes).into())),
        (Signed, 4) => each(raw, big, out, |bytes| T::from_i64(i32::from_le_bytes(bytes).into())),
        (Signed, 8) => each(raw, big, out, |bytes| T::from_i64(i64::from_le_bytes(bytes))),
        (Unsigned, 1) => each(raw, big, out, |bytes| T::from_i64(u8::from_le_bytes(bytes).into())),
        (Unsigned, 2) => each(raw, big, out, |bytes| T::from_i64(u16::from_le_bytes(bytes).into())),
        (Unsigned, 4) => each(raw, big, out, |bytes| T::from_i64(u32::from_le_bytes(bytes).into())),
        (Unsigned, 8) => each(raw, big, out, |bytes| {
            T::from_i64(i64::try_from(u64::from_le_bytes(bytes)).unwrap_or(i64::MAX))
        }),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_type_are_what_their_bytes_say() {
        use NumberFormat::{Float, Signed, Unsigned};
        let cases: [(NumberFormat, &[u8], f64); 10] = [
            (Float, &half::f16::from_f32(-2.5).to_le_bytes(), -2.5),
            (Float, &1.5_f32.to_le_bytes(), 1.5),
            (Float, &1e300_f64.to_le_bytes(), 1e300),
            (Signed, &[0xfe], -2.0),
            (Signed, &(-300_i16).to_le_bytes(), -300.0),
            (Signed, &(-70_000_i32).to_le_bytes(), -70_000.0),
            (Signed, &(-5_000_000_000_i64).to_le_bytes(), -5e9),
            (Unsigned, &[0xfe], 254.0),
            (Unsigned, &60_000_u16.to_le_bytes(), 60_000.0),
            (Unsigned, &4_000_000_000_u32.to_le_bytes(), 4e9),
        ];
        for (format, bytes, wanted) in cases {
            let size = u8::try_from(bytes.len()).unwrap();
            let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
            for (big_endian, bytes) in [(false, bytes), (true, &reversed)] {
                let number_type = NumberType {
                    format,
                    size,
                    big_endian,
                };
                let mut out = Vec::<f64>::new();
                decode(bytes, number_type, &mut out).unwrap();
                assert_eq!(out, [wanted], "{number_type} {big_endian}");
                let mut indices = Vec::<i64>::new();
                assert_eq!(decode(bytes, number_type, &mut indices).is_some(), format != Float);
            }
        }
        let mut out = Vec::<i64>::new();
        let number_type = NumberType {
            format: Unsigned,
            size: 8,
            big_endian: false,
        };
        decode(&u64::MAX.to_le_bytes(), number_type, &mut out).unwrap();
        assert_eq!(out, [i64::MAX], "saturates");
    }
}

//! Numbers as text, with a point or a comma before the decimals.

use super::fields::{Place, Text};
use crate::error::{Error, Result};
use std::borrow::Cow;

/// What one table writes before the decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Point,
    Comma,
}

/// The numbers of one table: what they look like is found out from one to the next.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Not where commas stand between the fields.
    pub(super) may_have_commas: bool,
    /// `None` as long as all are whole.
    mark: Option<Mark>,
    /// The first that might have a comma between thousands, such as 1,234; `None` as soon as one is seen that has not.
    doubtful: Option<(Place, String)>,
    certain: bool,
}

impl Numbers {
    pub(super) const fn new(may_have_commas: bool) -> Self {
        Self {
            may_have_commas,
            mark: None,
            doubtful: None,
            certain: false,
        }
    }

    /// Whether the decimals follow a comma.
    pub(super) fn have_commas(&self) -> bool {
        self.mark == Some(Mark::Comma)
    }

    /// The value of a field, and what it says of the others.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn see(&mut self, place: Place, field: &[u8]) -> Result<f32, String> {
        if let Some(value) = small(field) {
            return Ok(value);
        }
        let value = self.parse(field)?;
        let mark = match () {
            () if field.contains(&b'.') => Mark::Point,
            () if field.contains(&b',') => Mark::Comma,
            () => return Ok(value),
        };
        let text = String::from_utf8_lossy(field);
        if self.mark.is_some_and(|before| before != mark) {
            return Err(match mark {
                Mark::Point => format!("`{text}` has a decimal point, but the numbers before have a comma"),
                Mark::Comma => format!("`{text}` has a decimal comma, but the numbers before have a point"),
            });
        }
        self.mark = Some(mark);
        if mark == Mark::Comma && !self.certain {
            let (before, behind) = text.trim().split_once(',').unwrap_or_default();
            if behind.len() == 3 && !before.starts_with('0') {
                self.doubtful.get_or_insert_with(|| (place, text.into_owned()));
            } else {
                self.certain = true;
                self.doubtful = None;
            }
        }
        Ok(value)
    }

    /// The value of a field; one comma may stand for the point.
    pub(super) fn parse(&self, field: &[u8]) -> Result<f32, String> {
        if let Some(value) = small(field) {
            return Ok(value);
        }
        let text = String::from_utf8_lossy(field);
        match self.with_point(text.trim()).parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(value),
            Ok(_) => Err(format!("`{text}` is not finite")),
            Err(_) if text.trim().is_empty() => Err("an empty field".to_owned()),
            Err(_) => Err(format!("`{}` is not a number", shortened(&text))),
        }
    }

    /// The value of a field of a column that is no count; `None` when it is no number.
    pub(super) fn parse_double(&self, text: &str) -> Option<f64> {
        self.with_point(text.trim()).parse().ok()
    }

    fn with_point<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match text.split_once(',') {
            Some((before, behind)) if self.may_have_commas && !text.contains('.') => format!("{before}.{behind}").into(),
            _ => text.into(),
        }
    }

    /// Refuses a table whose commas may all be those between thousands.
    pub(super) fn check(&self, text: &Text) -> Result<()> {
        match &self.doubtful {
            Some((place, number)) => {
                let problem = format!(
                    "`{number}` may be {} or {}; wanted a decimal point, and nothing between thousands",
                    number.replace(',', "."),
                    number.replace(',', "")
                );
                Err(Error::file(&text.name, place.in_words(), problem))
            }
            None => Ok(()),
        }
    }
}

/// Most fields are one digit.
fn small(field: &[u8]) -> Option<f32> {
    match *field {
        [ones @ b'0'..=b'9'] => Some(f32::from(ones - b'0')),
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(f32::from((tens - b'0') * 10 + (ones - b'0'))),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What people write where there is no value.
pub(super) fn is_missing(field: &[u8]) -> bool {
    let field = field.trim_ascii();
    let markers: [&[u8]; 7] = [b"", b"na", b"n/a", b"nan", b"null", b"none", b"-"];
    markers.iter().any(|marker| field.eq_ignore_ascii_case(marker))
}

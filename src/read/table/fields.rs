//! A text file as records of fields: what stands between them, quotes, comments, and the place of each.

use super::super::{Source, mtx};
use crate::error::{Error, Result};
use std::fmt::{self, Debug, Formatter};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Bytes that are read at a time, and that the lines of comments before a header may take.
const AHEAD: usize = 1 << 18;
/// No name or number is longer; a quote that is not closed is.
const MAX_FIELD: usize = 1 << 16;

/// What stands between two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delimiter {
    Tab,
    Comma,
    Semicolon,
    /// One or several.
    Spaces,
}

impl Delimiter {
    const fn byte(self) -> u8 {
        match self {
            Self::Tab => b'\t',
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Spaces => b' ',
        }
    }

    pub(super) const fn format(self) -> &'static str {
        match self {
            Self::Tab => "text table, tabs between fields",
            Self::Comma => "text table, commas between fields",
            Self::Semicolon => "text table, semicolons between fields",
            Self::Spaces => "text table, spaces between fields",
        }
    }

    /// The one that a line has; of commas and semicolons the more frequent.
    fn of(line: &[u8]) -> Option<Self> {
        let count = |delimiter: Self| {
            let mut quoted = false;
            let outside = line.iter().filter(|&&byte| {
                quoted ^= byte == b'"';
                !quoted && byte == delimiter.byte()
            });
            outside.count()
        };
        let (commas, semicolons) = (count(Self::Comma), count(Self::Semicolon));
        match () {
            () if count(Self::Tab) > 0 => Some(Self::Tab),
            () if semicolons > commas => Some(Self::Semicolon),
            () if commas > 0 => Some(Self::Comma),
            () if count(Self::Spaces) > 0 => Some(Self::Spaces),
            () => None,
        }
    }

    fn split(self, line: &[u8]) -> impl Iterator<Item = &[u8]> {
        line.split(move |&byte| byte == self.byte())
            .filter(move |field| self != Self::Spaces || !field.is_empty())
    }
}

/// Where something stands: a byte of the source, and its line, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: u64,
    pub(super) line: u64,
}

/// A text file whose delimiter is known.
pub(super) struct Text {
    pub(super) name: String,
    source: Arc<dyn Source>,
    pub(super) delimiter: Delimiter,
    /// The header's.
    pub(super) start: Position,
    /// Lines before the header.
    pub(super) n_comments: u64,
}

impl Debug for Text {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("Text")
            .field("name", &self.name)
            .field("delimiter", &self.delimiter)
            .finish_non_exhaustive()
    }
}

impl Text {
    /// Looks at the beginning.
    pub(super) fn open(name: &str, source: Arc<dyn Source>) -> Result<Self> {
        let mut head = vec![0; usize::try_from(source.size()).unwrap_or(AHEAD).min(AHEAD)];
        source.read_at(0, &mut head).map_err(|error| mtx::read_error(name, error))?;
        let wrong = |line: u64, problem: &str| Err(Error::file(name, format_args!("line {line}"), problem));
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            return wrong(1, "text as UTF-16; save it as UTF-8, or as .csv");
        }
        if head.starts_with(b"\x89HDF") {
            return wrong(1, "a gzip-compressed HDF5 file; unpack it first (gunzip)");
        }
        if head.contains(&0) {
            return wrong(1, "not a text file; wanted .h5ad, .h5, .mtx, .loom, .zarr, .csv or .tsv");
        }
        let mut rest = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
        if rest.starts_with(b"%%MatrixMarket") {
            return wrong(
                1,
                "a Matrix Market file; wanted it as matrix.mtx, with features.tsv and barcodes.tsv",
            );
        }
        let (mut line, mut n_comments, mut comment) = (1, 0, None);
        // Excel wants to be told the delimiter in a first line, `sep=;`.
        let is_sep = |rest: &[u8]| rest.starts_with(b"sep=") && rest.get(5).is_some_and(|byte| b"\r\n".contains(byte));
        while matches!(rest, [b'#' | b'\n' | b'\r', ..]) || line == 1 && is_sep(rest) {
            let end = rest.iter().position(|byte| b"\r\n".contains(byte));
            let Some(end) = end else {
                return wrong(line, "no header after the lines that begin with #; wanted names and numbers");
            };
            if rest[0] == b'#' {
                n_comments += 1;
                comment = Some((&rest[..end], line));
            }
            let ends = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
            rest = &rest[end + ends..];
            line += 1;
        }
        let first = rest.split(|byte| b"\r\n".contains(byte)).next().unwrap_or_default();
        let Some(delimiter) = Delimiter::of(first) else {
            return wrong(
                line,
                "no tab, comma or semicolon, and no spaces; wanted a table of names and numbers",
            );
        };
        // Some tools write a # before the header itself: then numbers follow, as many as it has names.
        let is_header = |header: &[u8]| {
            let (n, n_first) = (delimiter.split(header).count(), delimiter.split(first).count());
            let is_number = |field: &[u8]| std::str::from_utf8(field).is_ok_and(|field| field.trim().parse::<f32>().is_ok());
            n > 1 && (n == n_first || n + 1 == n_first) && delimiter.split(first).skip(1).any(is_number)
        };
        let mut start = Position {
            offset: (head.len() - rest.len()) as u64,
            line,
        };
        if let Some((header, line)) = comment.filter(|(header, _)| is_header(header)) {
            n_comments -= 1;
            let offset = header.as_ptr().addr() - head.as_ptr().addr() + 1;
            start = Position {
                offset: offset as u64,
                line,
            };
        }
        Ok(Self {
            name: name.to_owned(),
            source,
            delimiter,
            start,
            n_comments,
        })
    }

    /// A field that is a name, without the spaces around it.
    pub(super) fn name_in<'a>(&self, place: Place, field: &'a [u8]) -> Result<&'a str> {
        let wrong = |problem| Error::file(&self.name, place.in_words(), problem);
        let text = std::str::from_utf8(field).map_err(|_| wrong("a name that is not UTF-8"))?;
        if text.contains('\0') {
            return Err(wrong("a name with a zero byte; wanted text"));
        }
        Ok(text.trim())
    }
}

/// The place of a field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The line on which its record begins, from 1.
    pub(super) line: u64,
    /// From 0, in its record, or from where reading began in it.
    pub(super) column: usize,
    pub(super) position: Position,
}

impl Place {
    pub(super) fn in_words(self) -> String {
        format!("line {}, column {}", self.line, self.column + 1)
    }
}

/// A record that was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) n_fields: usize,
}

/// Reads records one after another from any place on.
pub(super) struct Fields<'a> {
    text: &'a Text,
    /// Of what follows the buffer in the source.
    offset: u64,
    buffer: Vec<u8>,
    used: usize,
    line: u64,
    /// Whether what follows is in the middle of a record.
    inside: bool,
    unquoted: Vec<u8>,
}

impl<'a> Fields<'a> {
    /// From the beginning of a line on, or of a field when `inside`.
    pub(super) const fn new(text: &'a Text, from: Position, inside: bool) -> Self {
        Self {
            text,
            offset: from.offset,
            buffer: Vec::new(),
            used: 0,
            line: from.line,
            inside,
            unquoted: Vec::new(),
        }
    }

    /// Of what is read next.
    pub(super) const fn position(&self) -> Position {
        Position {
            offset: self.offset - (self.buffer.len() - self.used) as u64,
            line: self.line,
        }
    }

    fn at_end(&self) -> bool {
        self.offset >= self.text.source.size()
    }

    fn read_on(&mut self) -> Result<()> {
        let left = usize::try_from(self.text.source.size().saturating_sub(self.offset)).unwrap_or(usize::MAX);
        self.buffer.drain(..self.used);
        self.used = 0;
        let (kept, len) = (self.buffer.len(), left.min(AHEAD));
        self.buffer.resize(kept + len, 0);
        let read = self.text.source.read_at(self.offset, &mut self.buffer[kept..]);
        read.map_err(|error| mtx::read_error(&self.text.name, error))?;
        self.offset += len as u64;
        Ok(())
    }

    /// Passes blank lines; `false` at the end of the file.
    fn begin(&mut self) -> Result<bool> {
        if std::mem::take(&mut self.inside) {
            return Ok(true);
        }
        loop {
            match self.buffer.get(self.used) {
                Some(b'\n') => self.line += 1,
                Some(b'\r') => {}
                Some(b' ') if self.text.delimiter == Delimiter::Spaces => {}
                Some(_) => return Ok(true),
                None if self.at_end() => return Ok(false),
                None => {
                    self.read_on()?;
                    continue;
                }
            }
            self.used += 1;
        }
    }

    /// Gives every field of the next record to `take` until it breaks, and passes the others. `None` behind the last record.
    pub(super) fn record(&mut self, mut take: impl FnMut(Place, &[u8]) -> Result<ControlFlow<()>>) -> Result<Option<Record>> {
        if !self.begin()? {
            return Ok(None);
        }
        let line = self.line;
        let mut taking = true;
        for column in 0.. {
            let scanned = loop {
                match scan(self.text.delimiter, &self.buffer[self.used..], self.at_end()) {
                    Scan::Field(scanned) => break scanned,
                    Scan::More if self.buffer.len() - self.used <= MAX_FIELD => self.read_on()?,
                    Scan::More => return Err(self.wrong(line, column, "a field of more than 64 KiB. Is a quote not closed?")),
                    Scan::Broken(problem) => return Err(self.wrong(line, column, problem)),
                }
            };
            if scanned.content.len() > MAX_FIELD {
                return Err(self.wrong(line, column, "a field of more than 64 KiB"));
            }
            let place = Place {
                line,
                column,
                position: self.position(),
            };
            let content = &self.buffer[self.used..][scanned.content];
            self.line += u64::from(scanned.last);
            if scanned.quoted {
                self.line += content.iter().filter(|&&byte| byte == b'\n').count() as u64;
            }
            if taking {
                let flow = if scanned.quoted && content.contains(&b'"') {
                    self.unquoted.clear();
                    for (i, part) in content.split(|&byte| byte == b'"').enumerate() {
                        // A quote in a quoted field is doubled, so that there is nothing between the two.
                        if i % 2 == 1 {
                            self.unquoted.push(b'"');
                        }
                        self.unquoted.extend_from_slice(part);
                    }
                    take(place, &self.unquoted)?
                } else {
                    take(place, content)?
                };
                taking = flow.is_continue();
            }
            self.used += scanned.next;
            if scanned.last {
                return Ok(Some(Record {
                    line,
                    n_fields: column + 1,
                }));
            }
        }
        Ok(None)
    }

    fn wrong(&self, line: u64, column: usize, problem: &str) -> Error {
        Error::file(&self.text.name, format_args!("line {line}, column {}", column + 1), problem)
    }
}

/// A field at the beginning of some bytes.
struct Scanned {
    content: Range<usize>,
    quoted: bool,
    /// Where the next one begins.
    next: usize,
    /// Whether it is the last of its record.
    last: bool,
}

enum Scan {
    Field(Scanned),
    /// The field goes on behind these bytes.
    More,
    Broken(&'static str),
}

/// `at_end`: nothing follows `rest`.
fn scan(delimiter: Delimiter, rest: &[u8], at_end: bool) -> Scan {
    // Some put spaces between a comma and a quote.
    let spaces = rest
        .iter()
        .take_while(|&&byte| byte == b' ' && delimiter != Delimiter::Spaces);
    let start = spaces.count();
    let (content, behind) = if rest.get(start) == Some(&b'"') {
        let mut from = start + 1;
        let end = loop {
            match rest[from..].iter().position(|&byte| byte == b'"') {
                Some(len) if rest.get(from + len + 1) == Some(&b'"') => from += len + 2,
                Some(len) if from + len + 1 < rest.len() || at_end => break from + len,
                None if at_end => return Scan::Broken("a quote that is not closed"),
                _ => return Scan::More,
            }
        };
        (start + 1..end, end + 1)
    } else {
        (0..0, 0)
    };
    let quoted = behind > 0;
    let is_end = |&byte: &u8| byte == delimiter.byte() || byte == b'\n' || byte == b'\r';
    let Some(len) = rest[behind..].iter().position(is_end) else {
        let content = if quoted { content } else { 0..rest.len() };
        return match at_end {
            true if quoted && !rest[behind..].trim_ascii().is_empty() => Scan::Broken("something stands behind a closing quote"),
            true => Scan::Field(Scanned {
                content,
                quoted,
                next: rest.len(),
                last: true,
            }),
            false => Scan::More,
        };
    };
    let end = behind + len;
    if quoted && !rest[behind..end].trim_ascii().is_empty() {
        return Scan::Broken("something stands behind a closing quote");
    }
    let content = if quoted { content } else { 0..end };
    let mut next = end + 1;
    let mut last = rest[end] != delimiter.byte();
    if rest[end] == b' ' && delimiter == Delimiter::Spaces {
        // A run of spaces is one delimiter, and none at the end of a line.
        match rest[next..].iter().position(|&byte| byte != b' ') {
            Some(spaces) => next += spaces,
            None if at_end => next = rest.len(),
            None => return Scan::More,
        }
        last = matches!(rest.get(next), None | Some(b'\n' | b'\r'));
        next += usize::from(last && next < rest.len());
    }
    if last && rest.get(next - 1) == Some(&b'\r') {
        match rest.get(next) {
            Some(b'\n') => next += 1,
            None if !at_end => return Scan::More,
            _ => {}
        }
    }
    Scan::Field(Scanned {
        content,
        quoted,
        next,
        last,
    })
}

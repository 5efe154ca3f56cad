//! Tables of results as text, separated by commas or tabs.

use super::{ResultColumn, ResultValues, TableWriter, category, check_lengths};
use std::io::{self, Write};

/// Writes the cells' names under `cell`, then the columns in the order of the first block. What is missing is empty; numbers are the shortest
/// text that gives them back; truths are `true` and `false`.
///
/// ```
/// use scdiva::write::{ResultColumn, ResultValues, TableWriter, csv::CsvTable};
/// let mut out = Vec::new();
/// let mut table = Box::new(CsvTable::new(&mut out, b','));
/// let confidence = ResultColumn { name: "confidence".into(), values: ResultValues::Numbers(vec![0.9, f32::NAN]) };
/// table.write_block(&["AAAC-1".into(), "empty".into()], &[confidence])?;
/// table.finish()?;
/// assert_eq!(String::from_utf8(out)?, "cell,confidence\nAAAC-1,0.9\nempty,\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CsvTable<W: Write> {
    out: csv::Writer<W>,
    /// Names of the columns; `None` before the first block.
    names: Option<Vec<String>>,
}

impl<W: Write> CsvTable<W> {
    /// `delimiter` is `b','` or `b'\t'`.
    pub fn new(out: W, delimiter: u8) -> Self {
        Self {
            out: csv::WriterBuilder::new().delimiter(delimiter).from_writer(out),
            names: None,
        }
    }

    fn write_header(&mut self, columns: &[ResultColumn]) -> io::Result<()> {
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        match &self.names {
            Some(known) if *known == names => Ok(()),
            Some(known) => {
                let problem = format!("columns {names:?}; wanted {known:?} as in the first block");
                Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
            }
            None => {
                self.out
                    .write_record(std::iter::once("cell").chain(names.iter().map(String::as_str)))
                    .map_err(plain)?;
                self.names = Some(names);
                Ok(())
            }
        }
    }
}

impl<W: Write> TableWriter for CsvTable<W> {
    fn write_block(&mut self, cells: &[String], columns: &[ResultColumn]) -> io::Result<()> {
        check_lengths(cells, columns)?;
        self.write_header(columns)?;
        for (row, cell) in cells.iter().enumerate() {
            self.out.write_field(cell).map_err(plain)?;
            for ResultColumn { name, values } in columns {
                let written = match values {
                    ResultValues::Categories { codes, names } => {
                        let text = codes[row].map(|code| category(name, code, names)).transpose()?;
                        self.out.write_field(text.unwrap_or_default())
                    }
                    ResultValues::Numbers(numbers) if numbers[row].is_nan() => self.out.write_field(""),
                    ResultValues::Numbers(numbers) => self.out.write_field(shortest(numbers[row])),
                    ResultValues::Truths(truths) => self.out.write_field(if truths[row] { "true" } else { "false" }),
                };
                written.map_err(plain)?;
            }
            self.out.write_record(None::<&[u8]>).map_err(plain)?;
        }
        Ok(())
    }

    /// A table without a block has the column `cell` alone.
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.names.is_none() {
            self.write_header(&[])?;
        }
        self.out.into_inner().map_err(csv::IntoInnerError::into_error)?.flush()
    }
}

/// What the system said: the plain conversion hides its kind, by which a closed pipe is known.
fn plain(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => io::Error::other(format!("{kind:?}")),
    }
}

/// The shortest text that gives a number back: 0.25, and 3e-9 instead of 0.000000003.
fn shortest(number: f32) -> String {
    let plain = (1e-5..1e16).contains(&number.abs()) || number == 0.0;
    if plain || number.is_infinite() {
        number.to_string()
    } else {
        format!("{number:e}")
    }
}

/// Writes `cell,label,probability,second_label,second_probability`, one row a cell.
///
/// ```
/// let mut writer = scdiva::write::csv::AnnotationWriter::new(Vec::new())?;
/// writer.write_row("AAAC-1", Some(("B", 0.9)), Some(("CD4 T", 0.075)))?;
/// writer.write_row("empty", None, None)?;
/// let text = String::from_utf8(writer.finish()?)?;
/// assert_eq!(text, "cell,label,probability,second_label,second_probability\nAAAC-1,B,0.9,CD4 T,0.075\nempty,,,,\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AnnotationWriter<W: Write> {
    out: csv::Writer<W>,
}

impl<W: Write> AnnotationWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(out: W) -> io::Result<Self> {
        let mut out = csv::Writer::from_writer(out);
        out.write_record(["cell", "label", "probability", "second_label", "second_probability"])
            .map_err(plain)?;
        Ok(Self { out })
    }

    /// Writes one cell with its best and second label, each with its probability; fields are empty where there is none.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_row(&mut self, cell: &str, best: Option<(&str, f32)>, second: Option<(&str, f32)>) -> io::Result<()> {
        let text = |label: Option<(&str, f32)>| label.map_or_else(String::new, |(_, probability)| probability.to_string());
        let (first_name, second_name) = (best.map_or("", |label| label.0), second.map_or("", |label| label.0));
        self.out
            .write_record([cell, first_name, &text(best), second_name, &text(second)])
            .map_err(plain)?;
        Ok(())
    }

    /// Flushes and gives the inner writer back.
    ///
    /// # Errors
    /// What `out` says.
    pub fn finish(self) -> io::Result<W> {
        self.out.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

/// Writes `cell,e0,e1,…`, one row a cell.
///
/// ```
/// let mut writer = scdiva::write::csv::EmbeddingWriter::new(Vec::new(), 2)?;
/// writer.write_row("AAAC-1", &[0.5, -1.0])?;
/// assert_eq!(writer.finish()?, b"cell,e0,e1\nAAAC-1,0.5,-1\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct EmbeddingWriter<W: Write> {
    out: csv::Writer<W>,
    n_cols: usize,
}

impl<W: Write> EmbeddingWriter<W> {
    /// Writes the header for embeddings of `n_cols` numbers.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(out: W, n_cols: usize) -> io::Result<Self> {
        let mut out = csv::Writer::from_writer(out);
        out.write_record(std::iter::once("cell".to_owned()).chain((0..n_cols).map(|i| format!("e{i}"))))
            .map_err(plain)?;
        Ok(Self { out, n_cols })
    }

    /// Writes one cell.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when `embedding` has not `n_cols` numbers; what `out` says.
    pub fn write_row(&mut self, cell: &str, embedding: &[f32]) -> io::Result<()> {
        if embedding.len() != self.n_cols {
            let problem = format!("a row of {} numbers; wanted {}", embedding.len(), self.n_cols);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        self.out.write_field(cell).map_err(plain)?;
        for value in embedding {
            self.out.write_field(value.to_string()).map_err(plain)?;
        }
        self.out.write_record(None::<&[u8]>).map_err(plain)?;
        Ok(())
    }

    /// Flushes and gives the inner writer back.
    ///
    /// # Errors
    /// What `out` says.
    pub fn finish(self) -> io::Result<W> {
        self.out.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

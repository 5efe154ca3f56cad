//! Tables as text: `.csv` and `.tsv`, plain or gzip-compressed.

use super::Source;
use crate::cells::{CellMatrix, GeneColumn, SparseRows, Vocabulary, check_rows};
use crate::error::{Error, Result};
use csv::ByteRecord;
use flate2::read::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

/// A table of numbers with names in its first line and first column. It is read once and kept as sparse rows (8 bytes a value that is
/// not zero), since text cannot be entered in the middle.
#[derive(Debug)]
pub struct Table {
    file: String,
    matrix: &'static str,
    rows: SparseRows,
    cell_names: Vec<String>,
    genes: [GeneColumn; 1],
}

/// The bytes of a source in order.
struct SourceReader {
    source: Arc<dyn Source>,
    position: u64,
}

impl Read for SourceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.source.size() - self.position).unwrap_or(usize::MAX);
        let len = out.len().min(left);
        self.source.read_at(self.position, &mut out[..len])?;
        self.position += len as u64;
        Ok(len)
    }
}

impl Table {
    /// Reads a table. Commas, tabs or semicolons stand between the fields, as the first line tells. Genes are in the columns, or in the
    /// rows when more of the row names are genes that `vocabulary` knows; without one they are in the columns. [`CellMatrix::matrix`]
    /// tells which. The first line may be one field shorter than the others, as R writes it.
    ///
    /// # Errors
    /// [`Error::File`] with line and column: a field that is no finite number, a row of another length, text that is not UTF-8, a
    /// compressed file that is cut off, no cells or no genes, names that `vocabulary` does not know in either direction;
    /// [`Error::Io`].
    pub fn open(name: &str, source: Arc<dyn Source>, vocabulary: Option<&Vocabulary>) -> Result<Self> {
        let mut magic = [0; 2];
        let compressed = source.size() >= 2 && source.read_at(0, &mut magic).is_ok() && magic == [0x1f, 0x8b];
        let plain = BufReader::with_capacity(1 << 18, SourceReader { source, position: 0 });
        let text: Box<dyn Read> = if compressed {
            Box::new(MultiGzDecoder::new(plain))
        } else {
            Box::new(plain)
        };
        let text = Text::read(name, BufReader::with_capacity(1 << 16, text))?;
        text.into_table(name, vocabulary)
    }
}

impl CellMatrix for Table {
    fn file(&self) -> &str {
        &self.file
    }

    fn format(&self) -> &str {
        "table"
    }

    fn matrix(&self) -> &str {
        self.matrix
    }

    fn n_cells(&self) -> usize {
        self.cell_names.len()
    }

    fn n_genes(&self) -> usize {
        self.genes[0].genes.len()
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        check_rows(&cells, self.n_cells())?;
        Ok(self.cell_names[cells].to_vec())
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        &self.genes
    }

    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        check_rows(&cells, self.n_cells())?;
        Ok(self.rows.slice(cells))
    }
}

/// A table as it stands, before anything says which side the genes are on.
struct Text {
    /// What heads the first column, when it is headed.
    corner: Option<String>,
    columns: Vec<String>,
    row_names: Vec<String>,
    rows: SparseRows,
}

impl Text {
    fn read(name: &str, mut text: impl BufRead) -> Result<Self> {
        let delimiter = delimiter(name, &mut text)?;
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(text);
        let mut record = ByteRecord::new();
        let read = |reader: &mut csv::Reader<_>, record: &mut ByteRecord| -> Result<Option<u64>> {
            let line = reader.position().line();
            match reader.read_byte_record(record) {
                Ok(true) => Ok(Some(record.position().map_or(line, csv::Position::line))),
                Ok(false) => Ok(None),
                Err(error) => Err(cannot_read(name, line, error)),
            }
        };
        let mut header = match read(&mut reader, &mut record)? {
            Some(line) => record
                .iter()
                .enumerate()
                .map(|(i, field)| text_field(name, line, i, field))
                .collect::<Result<Vec<_>>>()?,
            None => Vec::new(),
        };

        let mut row_names = Vec::new();
        let mut rows = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        let mut corner = None;
        while let Some(line) = read(&mut reader, &mut record)? {
            // The first row tells whether the header names the first column too.
            if row_names.is_empty() && record.len() == header.len() && !header.is_empty() {
                corner = Some(header.remove(0));
            }
            if record.len() != header.len() + 1 {
                let problem = format!(
                    "{} fields; wanted {}, a name and {} numbers",
                    record.len(),
                    header.len() + 1,
                    header.len()
                );
                return Err(Error::file(name, format_args!("line {line}"), problem));
            }
            for (i, field) in record.iter().enumerate() {
                if i == 0 {
                    row_names.push(text_field(name, line, i, field)?);
                } else if field != b"0" {
                    let value = number(field).map_err(|problem| {
                        let (row, column) = (row_names.last().map_or("", String::as_str), &header[i - 1]);
                        let place = format!("line {line}, column {} ({row}, {column})", i + 1);
                        Error::file(name, place, format_args!("{problem}; wanted a number"))
                    })?;
                    if value != 0.0 {
                        let column = u32::try_from(i - 1)
                            .map_err(|_| Error::file(name, format_args!("line {line}"), "too many columns"))?;
                        rows.genes.push(column);
                        rows.values.push(value);
                    }
                }
            }
            rows.offsets.push(rows.genes.len());
        }
        if row_names.is_empty() || header.is_empty() {
            let problem = format!(
                "{} rows × {} columns of numbers; wanted at least one of each",
                row_names.len(),
                header.len()
            );
            return Err(Error::file(name, "table", problem));
        }
        Ok(Self {
            corner,
            columns: header,
            row_names,
            rows,
        })
    }

    fn into_table(self, file: &str, vocabulary: Option<&Vocabulary>) -> Result<Table> {
        let known =
            |names: &[String]| vocabulary.map_or(0, |vocabulary| vocabulary.count_known(names.iter().map(String::as_str)));
        let (in_columns, in_rows) = (known(&self.columns), known(&self.row_names));
        let some = |names: &[String]| names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
        if let Some(vocabulary) = vocabulary.filter(|_| in_columns == 0 && in_rows == 0) {
            let problem = format!(
                "neither the columns ({}, …) nor the rows ({}, …) are genes that the model knows ({}, …)",
                some(&self.columns),
                some(&self.row_names),
                vocabulary
                    .genes()
                    .iter()
                    .take(3)
                    .map(|gene| gene.symbol.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            );
            return Err(Error::file(file, "names of columns and rows", problem));
        }
        let turned = in_rows > in_columns;
        // A table without a column of names would lose its first gene.
        if let (false, Some(corner), Some(vocabulary)) = (turned, &self.corner, vocabulary)
            && vocabulary.count_known([corner.as_str()]) == 1
        {
            let problem =
                format!("the first column is headed by the gene {corner}; wanted a column of cell names before the genes");
            return Err(Error::file(file, "line 1, column 1", problem));
        }
        let (matrix, rows, cell_names, genes) = if turned {
            (
                "genes × cells",
                turn(&self.rows, self.columns.len()),
                self.columns,
                self.row_names,
            )
        } else {
            ("cells × genes", self.rows, self.row_names, self.columns)
        };
        Ok(Table {
            file: file.to_owned(),
            matrix,
            rows,
            cell_names,
            genes: [GeneColumn {
                name: if turned { "first column" } else { "first line" }.to_owned(),
                genes,
            }],
        })
    }
}

/// Columns become rows.
fn turn(rows: &SparseRows, n_cols: usize) -> SparseRows {
    let mut offsets = vec![0; n_cols + 1];
    for &column in &rows.genes {
        offsets[column as usize + 1] += 1;
    }
    for column in 0..n_cols {
        offsets[column + 1] += offsets[column];
    }
    let mut next = offsets.clone();
    let (mut genes, mut values) = (vec![0; rows.genes.len()], vec![0.0; rows.genes.len()]);
    for (row, number) in (0..rows.n_rows()).zip(0_u32..) {
        let (columns, row_values) = rows.row(row);
        for (&column, &value) in columns.iter().zip(row_values) {
            let to = &mut next[column as usize];
            genes[*to] = number;
            values[*to] = value;
            *to += 1;
        }
    }
    SparseRows { offsets, genes, values }
}

/// Tabs, commas or semicolons, whichever the first line has, looked for in this order.
fn delimiter(name: &str, text: &mut impl BufRead) -> Result<u8> {
    let start = text.fill_buf().map_err(|error| cannot_read(name, 1, error.into()))?;
    if start.contains(&0) {
        return Err(Error::file(name, "line 1", "not a text file; wanted .h5ad, .csv or .tsv"));
    }
    if start.starts_with(b"%%MatrixMarket") {
        return Err(Error::file(
            name,
            "line 1",
            "a Matrix Market file; wanted it as matrix.mtx, with features.tsv and barcodes.tsv",
        ));
    }
    let line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let found = [b'\t', b',', b';'].into_iter().find(|delimiter| line.contains(delimiter));
    found.ok_or_else(|| {
        Error::file(
            name,
            "line 1",
            "no tab, comma or semicolon; wanted a table of names and numbers",
        )
    })
}

fn cannot_read(name: &str, line: u64, error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(source) => match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::file(name, format_args!("line {line}"), "the compressed file is cut off"),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Error::file(
                name,
                format_args!("line {line}"),
                format_args!("the compressed file is broken: {source}"),
            ),
            _ => Error::Io {
                file: name.to_owned(),
                source,
            },
        },
        other => Error::file(name, format_args!("line {line}"), format_args!("{other:?}")),
    }
}

fn text_field(name: &str, line: u64, i: usize, field: &[u8]) -> Result<String> {
    match std::str::from_utf8(field) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(_) => Err(Error::file(
            name,
            format_args!("line {line}, column {}", i + 1),
            "a name that is not UTF-8",
        )),
    }
}

fn number(field: &[u8]) -> Result<f32, String> {
    let text = String::from_utf8_lossy(field);
    match text.trim().parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(format!("`{text}` is not finite")),
        Err(_) if text.trim().is_empty() => Err("an empty field".to_owned()),
        Err(_) => Err(format!("`{text}` is not a number")),
    }
}

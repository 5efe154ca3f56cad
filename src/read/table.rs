//! Tables as text: `.csv`, `.tsv`, `.txt`, plain or gzip-compressed.

mod fields;
mod number;
mod survey;
mod turned;

use self::fields::{Fields, Place, Position, Text};
use self::number::{Numbers, is_missing};
use self::survey::{Annotation, Header, STRIDE, Survey, is_corner, is_known};
use self::turned::Turned;
use super::{Source, unpacked};
use crate::cells::{CellColumn, CellMatrix, GeneColumn, SparseRows, Vocabulary, check_rows};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// No organism has as many genes or peaks; a table with more is none of cells and genes.
const MAX_GENES: usize = 1 << 22;
/// Of so many counts of one gene, or of one cell, some are the same.
const N_CHECKED_NAMES: usize = 100;
/// Bytes that the names of genes may take.
const MAX_NAMES_SIZE: usize = 1 << 28;

/// A table of numbers with names in its first line and first column. Cells that are its rows are read from the file by range. Cells that
/// are its columns are read in blocks of at most 256 MiB, in one pass over the file each.
#[derive(Debug)]
pub struct Table {
    rows: Rows,
    notes: Vec<String>,
    header: Header,
    /// The columns of counts; 0 is the column of names.
    counts: Range<usize>,
    /// By how many fields the rows are longer than the header.
    shift: usize,
    numbers: Numbers,
    genes: Vec<GeneColumn>,
    /// What the cells are.
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    /// With the columns beside the counts, and their names.
    Rows {
        columns: Vec<usize>,
        names: Vec<String>,
    },
    Columns(Turned),
}

/// The rows below the header.
#[derive(Debug)]
struct Rows {
    text: Text,
    n_rows: usize,
    /// Of rows 0, [`STRIDE`], ….
    places: Vec<Position>,
}

impl Rows {
    /// Gives the fields of some rows to `take`; when it breaks, the next row follows.
    fn each(&self, rows: Range<usize>, mut take: impl FnMut(usize, Place, &[u8]) -> Result<ControlFlow<()>>) -> Result<()> {
        let Some(&from) = self.places.get(rows.start / STRIDE).filter(|_| !rows.is_empty()) else {
            return Ok(());
        };
        let mut fields = Fields::new(&self.text, from, false);
        for row in rows.start / STRIDE * STRIDE..rows.end {
            fields.record(|place, field| {
                if row < rows.start {
                    return Ok(ControlFlow::Break(()));
                }
                take(row, place, field)
            })?;
        }
        Ok(())
    }

    /// One column of some rows, as text.
    fn texts(&self, column: usize, rows: Range<usize>) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        self.each(rows, |_, place, field| {
            if place.column < column {
                return Ok(ControlFlow::Continue(()));
            }
            texts.push(self.text.name_in(place, field)?.to_owned());
            Ok(ControlFlow::Break(()))
        })?;
        Ok(texts)
    }
}

impl Table {
    /// Opens a table. Tabs, commas, semicolons or spaces stand between the fields, as the first line tells; lines before it that begin
    /// with `#` are left out. Genes are in the columns, or in the rows when more of the row names are genes that `vocabulary` knows;
    /// without one they are in the columns. [`CellMatrix::matrix`] tells which. The first line may be one field shorter than the others,
    /// as R writes it. Columns of texts before or behind the numbers are more names of the genes, or what is known about the cells.
    ///
    /// # Errors
    /// [`Error::File`] with line and column: a field that is no finite number, a row of another length, text that is not UTF-8, a
    /// compressed file that is cut off, decimal commas that may stand between thousands, no cells or no genes, names that `vocabulary`
    /// does not know in either direction, no names for the cells; [`Error::Io`].
    ///
    /// ```
    /// use scdiva::cells::CellMatrix;
    /// let text = "cell;cluster;CD3D;MS4A1\nAAAC;T;3,5;0\nAAAG;B;0;0,25\n";
    /// let table = scdiva::read::Table::open("counts.csv", std::sync::Arc::new(text), None)?;
    /// assert_eq!(table.read_rows(0..1)?.row(0), (&[0][..], &[3.5][..]));
    /// assert_eq!(table.cell_columns(), ["cluster"]);
    /// # Ok::<(), scdiva::Error>(())
    /// ```
    pub fn open(name: &str, source: Arc<dyn Source>, vocabulary: Option<&Vocabulary>) -> Result<Self> {
        let (_, source) = unpacked((name.to_owned(), source))?;
        let text = Text::open(name, source)?;
        let survey = Survey::read(&text, vocabulary)?;
        let in_rows = survey.annotations.iter().map(|annotation| annotation.known);
        let turned = in_rows.chain([survey.known_rows]).max().unwrap_or(0) > survey.header.known;
        let mut table = Self {
            rows: Rows {
                text,
                n_rows: survey.n_rows,
                places: survey.places,
            },
            notes: Vec::new(),
            header: survey.header,
            counts: survey.counts,
            shift: survey.shift,
            numbers: survey.numbers,
            genes: Vec::new(),
            cells: Cells::Columns(Turned::new(&[])),
        };
        table.check_genes(turned || table.header.known > 0, vocabulary)?;
        table.check_cells(turned, vocabulary)?;
        if table.rows.text.n_comments > 0 {
            let n = table.rows.text.n_comments;
            table
                .notes
                .push(format!("{n} lines before the header begin with # and were left out."));
        }
        if table.numbers.have_commas() {
            table.notes.push("The numbers have a comma before the decimals.".to_owned());
        }
        if turned {
            table.cells = Cells::Columns(Turned::new(&survey.filled));
            table.genes_of_rows(&survey.annotations)?;
        } else {
            table.genes_of_columns(&survey.annotations)?;
        }
        Ok(table)
    }

    /// The headings of some columns of counts.
    fn headings(&self, columns: Range<usize>) -> Result<Vec<String>> {
        let first = self.counts.start - self.shift;
        self.header.names(&self.rows.text, first + columns.start..first + columns.end)
    }

    /// `known`: whether any name is that of a gene.
    fn check_genes(&self, known: bool, vocabulary: Option<&Vocabulary>) -> Result<()> {
        let Some(vocabulary) = vocabulary.filter(|_| !known) else {
            return Ok(());
        };
        let columns = self.headings(0..self.counts.len().min(3))?.join(", ");
        let rows = self.rows.texts(0, 0..self.rows.n_rows.min(3))?.join(", ");
        let genes = vocabulary.genes().iter().take(3).map(|gene| gene.symbol.as_str());
        let problem = format!(
            "neither the columns ({columns}, …) nor the rows ({rows}, …) are genes that the model knows ({}, …)",
            genes.collect::<Vec<_>>().join(", "),
        );
        Err(Error::file(&self.rows.text.name, "names of columns and rows", problem))
    }

    /// A table without names for its cells would lose a gene, and call cells by its counts.
    fn check_cells(&self, in_columns: bool, vocabulary: Option<&Vocabulary>) -> Result<()> {
        let (text, wanted) = (&self.rows.text, if in_columns { "a line" } else { "a column" });
        let wrong = |problem: String| {
            let problem = format!("{problem}; wanted {wanted} of cell names before the counts");
            Err(Error::file(&text.name, "line 1, column 1", problem))
        };
        let corner = self.header.names(text, 0..1)?.concat();
        if self.shift == 0 && is_known(vocabulary, &corner) && !is_corner(&corner) {
            return wrong(format!("the table begins with the gene {corner}"));
        }
        let names = match in_columns {
            true => self.headings(0..self.counts.len().min(N_CHECKED_NAMES))?,
            false => self.rows.texts(0, 0..self.rows.n_rows.min(N_CHECKED_NAMES))?,
        };
        let is_number = |name: &String| name.parse::<f64>().is_ok();
        let twice = (1..names.len()).find(|&i| names[..i].contains(&names[i]));
        match twice {
            Some(twice) if names.iter().all(is_number) => {
                wrong(format!("the cells are called by numbers, two of them {}", names[twice]))
            }
            _ => Ok(()),
        }
    }

    fn too_many(&self, what: &str) -> Error {
        Error::file(&self.rows.text.name, "names of the genes", what)
    }

    fn check_names(&self, n_genes: usize, size: usize) -> Result<()> {
        if n_genes > MAX_GENES {
            return Err(self.too_many(&format!("{n_genes} genes; no matrix has more than {MAX_GENES}")));
        }
        if size > MAX_NAMES_SIZE {
            return Err(self.too_many("they take more than 256 MiB; wanted names"));
        }
        Ok(())
    }

    fn genes_of_columns(&mut self, annotations: &[Annotation]) -> Result<()> {
        self.check_names(self.counts.len(), 0)?;
        self.genes = vec![GeneColumn {
            name: "first line".to_owned(),
            genes: self.headings(0..self.counts.len())?,
        }];
        let mut between = Vec::new();
        for &field in &self.header.no_genes {
            if self.counts.contains(&(field + self.shift)) {
                between.extend(self.header.names(&self.rows.text, field..field + 1)?);
            }
        }
        if !between.is_empty() {
            self.notes.push(format!(
                "Read as genes, since they stand between genes: the columns {}.",
                between.join(", ")
            ));
        }
        // A delimiter at the end of every line makes a column of nothing.
        let named = annotations
            .iter()
            .filter(|column| column.is_filled() || !column.heading.is_empty());
        let (columns, names): (Vec<usize>, Vec<String>) = named.map(|column| (column.column, column.heading.clone())).unzip();
        if !names.is_empty() {
            self.notes.push(format!(
                "No genes, but what the file says about its cells: the columns {}.",
                names.join(", ")
            ));
        }
        self.cells = Cells::Rows { columns, names };
        Ok(())
    }

    fn genes_of_rows(&mut self, annotations: &[Annotation]) -> Result<()> {
        let (left_out, names): (Vec<&Annotation>, Vec<&Annotation>) =
            annotations.iter().partition(|column| column.by_name || !column.is_filled());
        let headings = |columns: &[&Annotation]| {
            let headings = columns.iter().map(|column| column.heading.as_str());
            headings.collect::<Vec<_>>().join(", ")
        };
        self.check_names(self.rows.n_rows, 0)?;
        let mut genes = vec![GeneColumn {
            name: "first column".to_owned(),
            genes: Vec::new(),
        }];
        genes.extend(names.iter().map(|column| GeneColumn {
            name: column.heading.clone(),
            genes: Vec::new(),
        }));
        let columns: Vec<usize> = std::iter::once(0).chain(names.iter().map(|column| column.column)).collect();
        let (last, mut size) = (columns.last().copied().unwrap_or(0), 0);
        self.rows.each(0..self.rows.n_rows, |_, place, field| {
            if let Ok(i) = columns.binary_search(&place.column) {
                size += field.len();
                self.check_names(0, size)?;
                genes[i].genes.push(self.rows.text.name_in(place, field)?.to_owned());
            }
            Ok(if place.column < last {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        self.genes = genes;
        if !names.is_empty() {
            self.notes.push(format!(
                "No cells, but more names of the genes: the columns {}.",
                headings(&names)
            ));
        }
        let left_out: Vec<&Annotation> = left_out.into_iter().filter(|column| !column.heading.is_empty()).collect();
        if !left_out.is_empty() {
            self.notes
                .push(format!("No cells, and left out: the columns {}.", headings(&left_out)));
        }
        Ok(())
    }
}

impl CellMatrix for Table {
    fn file(&self) -> &str {
        &self.rows.text.name
    }

    fn format(&self) -> &str {
        self.rows.text.delimiter.format()
    }

    fn matrix(&self) -> &str {
        match self.cells {
            Cells::Rows { .. } => "cells × genes",
            Cells::Columns(_) => "genes × cells",
        }
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn n_cells(&self) -> usize {
        match &self.cells {
            Cells::Rows { .. } => self.rows.n_rows,
            Cells::Columns(turned) => turned.n_cells(),
        }
    }

    fn n_genes(&self) -> usize {
        self.genes[0].genes.len()
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        check_rows(&cells, self.n_cells())?;
        match &self.cells {
            Cells::Rows { .. } => self.rows.texts(0, cells),
            Cells::Columns(_) => self.headings(cells),
        }
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        &self.genes
    }

    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        check_rows(&cells, self.n_cells())?;
        if let Cells::Columns(turned) = &self.cells {
            return turned.read(&self.rows, &self.numbers, self.counts.start, cells);
        }
        let mut rows = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        let first = cells.start;
        self.rows.each(cells.clone(), |row, place, field| {
            while rows.n_rows() < row - first {
                rows.offsets.push(rows.genes.len());
            }
            if place.column >= self.counts.end {
                return Ok(ControlFlow::Break(()));
            }
            if place.column >= self.counts.start && field != b"0" {
                let value = self.numbers.parse(field);
                let value = value.map_err(|problem| Error::file(self.file(), place.in_words(), problem))?;
                if value != 0.0 {
                    rows.genes
                        .push(u32::try_from(place.column - self.counts.start).unwrap_or(u32::MAX));
                    rows.values.push(value);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        rows.offsets.resize(cells.len() + 1, rows.genes.len());
        Ok(rows)
    }

    fn cell_columns(&self) -> &[String] {
        match &self.cells {
            Cells::Rows { names, .. } => names,
            Cells::Columns(_) => &[],
        }
    }

    fn cell_column(&self, name: &str) -> Result<Option<CellColumn>> {
        let Cells::Rows { columns, names } = &self.cells else {
            return Ok(None);
        };
        let Some(&column) = names.iter().position(|other| other == name).and_then(|i| columns.get(i)) else {
            return Ok(None);
        };
        let texts = self.rows.texts(column, 0..self.rows.n_rows)?;
        let mut numbers = Vec::with_capacity(texts.len());
        for text in &texts {
            match self.numbers.parse_double(text) {
                _ if is_missing(text.as_bytes()) => numbers.push(f64::NAN),
                Some(number) => numbers.push(number),
                None => return Ok(Some(categories(texts))),
            }
        }
        Ok(Some(CellColumn::Numbers(numbers)))
    }
}

/// The distinct texts in the order in which they come.
fn categories(texts: Vec<String>) -> CellColumn {
    let (mut codes, mut names) = (Vec::with_capacity(texts.len()), Vec::new());
    let mut known: HashMap<String, u32> = HashMap::new();
    for text in texts {
        if is_missing(text.as_bytes()) {
            codes.push(None);
            continue;
        }
        let code = known.get(&text).copied().or_else(|| {
            let code = u32::try_from(names.len()).ok()?;
            names.push(text.clone());
            known.insert(text, code);
            Some(code)
        });
        codes.push(code);
    }
    CellColumn::Categories { codes, names }
}

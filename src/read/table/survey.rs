//! The first pass over a table: what its header names, which columns are numbers, and where its rows begin.

use super::fields::{Delimiter, Fields, Place, Position, Record, Text};
use super::number::{Numbers, is_missing};
use crate::cells::Vocabulary;
use crate::error::{Error, Result};
use std::ops::{ControlFlow, Range};

/// Rows between two stored places.
pub(super) const STRIDE: usize = 32;
/// Fields of the header between two stored places.
const HEADER_STRIDE: usize = 1024;
/// More than any experiment has cells, where they are the columns.
const MAX_COLUMNS: usize = 1 << 24;
/// More than any table says about its cells or genes beside the counts.
const MAX_ANNOTATIONS: usize = 1000;

/// Columns of numbers that are no counts of a gene, in lower case and without what is no letter or digit: what Seurat, scanpy and
/// featureCounts call them.
const NO_GENES: [&str; 32] = [
    "cluster",
    "clusters",
    "clusterid",
    "leiden",
    "louvain",
    "seuratclusters",
    "batch",
    "sample",
    "donor",
    "replicate",
    "plate",
    "umap1",
    "umap2",
    "tsne1",
    "tsne2",
    "start",
    "end",
    "length",
    "width",
    "chr",
    "entrezid",
    "entrezgene",
    "entrezgeneid",
    "genelength",
    "total",
    "age",
    "day",
    "time",
    "timepoint",
    "pseudotime",
    "sscore",
    "g2mscore",
];
/// What others of them begin with.
const NO_GENES_BEGIN: [&str; 12] = [
    "ncount",
    "nfeature",
    "ngene",
    "numi",
    "percent",
    "pctcounts",
    "totalcounts",
    "log1p",
    "sizefactor",
    "rnasnnres",
    "doublet",
    "scrublet",
];

/// What a column of names is called, written likewise and without an s at its end.
const CORNERS: [&str; 14] = [
    "cell",
    "cellbarcode",
    "cellid",
    "cellname",
    "barcode",
    "gene",
    "geneid",
    "genename",
    "genesymbol",
    "symbol",
    "index",
    "id",
    "name",
    "unnamed0",
];

/// The first record of a table.
#[derive(Debug)]
pub(super) struct Header {
    /// Of fields 0, [`HEADER_STRIDE`], ….
    places: Vec<Position>,
    pub(super) n_fields: usize,
    /// How many of its fields name a gene.
    pub(super) known: usize,
    /// The first and the last of these.
    genes: Option<(usize, usize)>,
    /// Fields with a name of [`NO_GENES`].
    pub(super) no_genes: Vec<usize>,
}

impl Header {
    fn read(text: &Text, fields: &mut Fields<'_>, vocabulary: Option<&Vocabulary>) -> Result<Self> {
        let (mut places, mut known, mut genes, mut no_genes) = (Vec::new(), 0, None, Vec::new());
        let record = fields.record(|place, field| {
            let name = text.name_in(place, field)?;
            if place.column >= MAX_COLUMNS {
                let problem = format!("more than {MAX_COLUMNS} columns; save the matrix as .h5ad instead");
                return Err(Error::file(&text.name, place.in_words(), problem));
            }
            if place.column % HEADER_STRIDE == 0 {
                places.push(place.position);
            }
            let is_gene = is_known(vocabulary, name);
            if is_gene {
                known += 1;
                genes = Some((genes.map_or(place.column, |(first, _)| first), place.column));
            }
            if !is_gene && is_no_gene(name) && no_genes.len() < MAX_ANNOTATIONS {
                no_genes.push(place.column);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Self {
            places,
            n_fields: record.map_or(0, |record| record.n_fields),
            known,
            genes,
            no_genes,
        })
    }

    /// Some of its names.
    pub(super) fn names(&self, text: &Text, wanted: Range<usize>) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let Some(&from) = self.places.get(wanted.start / HEADER_STRIDE) else {
            return Ok(names);
        };
        let first = wanted.start / HEADER_STRIDE * HEADER_STRIDE;
        Fields::new(text, from, true).record(|place, field| {
            let column = first + place.column;
            if column >= wanted.end {
                return Ok(ControlFlow::Break(()));
            }
            if column >= wanted.start {
                names.push(text.name_in(place, field)?.to_owned());
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(names)
    }
}

pub(super) fn is_known(vocabulary: Option<&Vocabulary>, name: &str) -> bool {
    vocabulary.is_some_and(|vocabulary| vocabulary.count_known([name]) == 1)
}

/// Whether it heads a column of names, whichever they are.
pub(super) fn is_corner(name: &str) -> bool {
    let plain = plain(name);
    let corner = plain.trim_end_matches('s');
    CORNERS.contains(&corner)
}

fn is_no_gene(name: &str) -> bool {
    let plain = plain(name);
    let begins = |begin: &&str| plain.starts_with(begin);
    NO_GENES.contains(&plain.as_str())
        || NO_GENES_BEGIN.iter().any(begins)
        || name.starts_with("pct_")
        || plain.ends_with("score")
}

/// Whether these head a table with a line for each gene of each cell: one names cells, one names genes, and one is left for numbers.
fn is_long(headings: &[String]) -> bool {
    let names_one_of = |words: &[&str]| {
        let mut named = headings.iter().filter(|heading| {
            let plain = plain(heading);
            words.contains(&plain.trim_end_matches('s'))
        });
        named.next().is_some() && named.next().is_none()
    };
    names_one_of(&["cell", "cellbarcode", "cellid", "cellname", "barcode"])
        && names_one_of(&["gene", "geneid", "genename", "genesymbol", "symbol", "feature"])
        && names_one_of(&["count", "umi", "umicount", "ncount", "numi", "value", "expression", "n"])
}

/// In lower case, without what is no letter or digit.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).take(40).collect()
}

/// A column beside the counts.
#[derive(Debug)]
pub(super) struct Annotation {
    /// In every row; 0 is the column of names.
    pub(super) column: usize,
    pub(super) heading: String,
    /// Whether it is one of [`NO_GENES`], whatever its values.
    pub(super) by_name: bool,
    /// How many of its values name a gene.
    pub(super) known: usize,
    /// The error that the first of its values is, should it be a column of numbers; `None` when it is certain that it is not.
    missing: Option<Error>,
}

impl Annotation {
    /// Whether it has values at all.
    pub(super) const fn is_filled(&self) -> bool {
        self.missing.is_none()
    }
}

/// What the first pass found.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) header: Header,
    /// By how many fields the rows are longer than the header: 1 as R writes it.
    pub(super) shift: usize,
    /// 1 where a delimiter stands at the end of every row, but not of the header.
    ends: usize,
    pub(super) n_rows: usize,
    /// Of rows 0, [`STRIDE`], ….
    pub(super) places: Vec<Position>,
    /// The columns of counts; 0 is the column of names.
    pub(super) counts: Range<usize>,
    /// How many values of each column of counts are not 0.
    pub(super) filled: Vec<u32>,
    pub(super) annotations: Vec<Annotation>,
    /// How many names of rows name a gene.
    pub(super) known_rows: usize,
    pub(super) numbers: Numbers,
}

impl Survey {
    /// Reads all of the file once, and refuses every field that is neither a number nor in a column beside the numbers.
    pub(super) fn read(text: &Text, vocabulary: Option<&Vocabulary>) -> Result<Self> {
        let mut fields = Fields::new(text, text.start, false);
        let header = Header::read(text, &mut fields, vocabulary)?;
        if header.n_fields == 3 && is_long(&header.names(text, 0..3)?) {
            let problem = "a line for each gene of each cell; wanted a table of cells × genes, or of genes × cells";
            return Err(Error::file(&text.name, "line 1", problem));
        }
        let mut survey = Self {
            shift: 0,
            ends: 0,
            n_rows: 0,
            places: Vec::new(),
            counts: 0..0,
            filled: Vec::new(),
            annotations: Vec::new(),
            known_rows: 0,
            numbers: Numbers::new(text.delimiter != Delimiter::Comma),
            header,
        };
        let rows = fields.position();
        survey.ends = usize::from(survey.rows_end_with_nothing(Fields::new(text, rows, false))?);
        if survey.first_row(text, &mut fields, vocabulary)? {
            survey.each_row(text, Fields::new(text, rows, false), vocabulary)?;
        }
        if survey.n_rows == 0 || survey.counts.is_empty() {
            let n_columns = if survey.n_rows == 0 { survey.header.n_fields } else { 0 };
            let problem = format!(
                "{} rows × {n_columns} columns of numbers; wanted at least one of each",
                survey.n_rows
            );
            return Err(Error::file(&text.name, "table", problem));
        }
        survey.numbers.check(text)?;
        Ok(survey)
    }

    /// The name of a column of the rows, and of the row, for an error.
    fn not_a_number(&self, text: &Text, row: &str, place: Place, problem: &str) -> Error {
        // The name only helps; a header that can no longer be read does not matter here.
        let field = place.column - self.shift;
        let heading = self.header.names(text, field..field + 1).unwrap_or_default();
        let heading = heading.first().map_or("", String::as_str);
        let place = format!("{} ({row}, {heading})", place.in_words());
        Error::file(&text.name, place, format_args!("{problem}; wanted a number"))
    }

    /// Whether every row has one field more than the header, and nothing in it.
    fn rows_end_with_nothing(&self, mut fields: Fields<'_>) -> Result<bool> {
        let mut any = false;
        loop {
            let mut empty = true;
            let record = fields.record(|place, field| {
                empty &= place.column < self.header.n_fields || field.trim_ascii().is_empty();
                Ok(ControlFlow::Continue(()))
            })?;
            match record {
                None => return Ok(any),
                Some(record) if empty && record.n_fields == self.header.n_fields + 1 => any = true,
                Some(_) => return Ok(false),
            }
        }
    }

    /// Finds the columns of counts; `false` when there is no row.
    fn first_row(&mut self, text: &Text, fields: &mut Fields<'_>, vocabulary: Option<&Vocabulary>) -> Result<bool> {
        let (mut row, mut others, mut numbers) = (String::new(), Vec::new(), Numbers::new(self.numbers.may_have_commas));
        let record = fields.record(|place, field| {
            if place.column == 0 {
                text.name_in(place, field)?.clone_into(&mut row);
            } else if place.column >= self.header.n_fields && self.ends > 0 {
                // Nothing stands there.
            } else if let Err(problem) = numbers.see(place, field)
                && others.len() <= MAX_ANNOTATIONS
            {
                others.push((place, problem, is_missing(field)));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let Some(record) = record else {
            return Ok(false);
        };
        let n_fields = record.n_fields - self.ends;
        self.shift = usize::from(n_fields == self.header.n_fields + 1);
        if self.shift == 0 && n_fields != self.header.n_fields || self.header.n_fields == 0 {
            return Err(wrong_len(text, record, self.header.n_fields + 1));
        }
        // What names the column of names leaves no field for R's row names; above texts it may be a column of its own.
        let corner = self.header.names(text, 0..1)?.concat();
        if self.shift > 0
            && (corner.is_empty() || is_corner(&corner) && others.first().is_none_or(|(place, ..)| place.column > 1))
        {
            return Err(wrong_len(text, record, self.header.n_fields));
        }
        let by_name: Vec<usize> = self.header.no_genes.iter().map(|field| field + self.shift).collect();
        let is_beside = |column: usize| {
            by_name.binary_search(&column).is_ok() || others.binary_search_by_key(&column, |(place, ..)| place.column).is_ok()
        };
        // What stands farther out than a column beside the counts is none of these either, as far as no gene that is known stands there.
        let (first, last) = self.header.genes.map_or_else(
            || {
                let first = (1..n_fields).find(|&column| !is_beside(column)).unwrap_or(n_fields);
                let last = (first..n_fields).rev().find(|&column| !is_beside(column));
                (first, last.unwrap_or(first))
            },
            |(first, last)| (first + self.shift, last + self.shift),
        );
        let start = (1..first)
            .rev()
            .find(|&column| is_beside(column))
            .map_or(1, |column| column + 1);
        let end = (last + 1..n_fields).find(|&column| is_beside(column)).unwrap_or(n_fields);
        let between = |place: &Place| (start..end).contains(&place.column) || others.len() > MAX_ANNOTATIONS;
        if let Some((place, problem, _)) = others.iter().find(|(place, ..)| between(place)) {
            return Err(self.not_a_number(text, &row, *place, problem));
        }
        let mut others = others.into_iter().peekable();
        for column in (1..start).chain(end..n_fields) {
            let field = column - self.shift;
            let heading = self
                .header
                .names(text, field..field + 1)?
                .into_iter()
                .next()
                .unwrap_or_default();
            let by_name = by_name.binary_search(&column).is_ok();
            let missing = match others.next_if(|(place, ..)| place.column == column) {
                Some((place, problem, _)) if is_known(vocabulary, &heading) => {
                    return Err(self.not_a_number(text, &row, place, &problem));
                }
                Some((place, problem, true)) if !by_name => Some(self.not_a_number(text, &row, place, &problem)),
                _ => None,
            };
            self.annotations.push(Annotation {
                column,
                heading,
                by_name,
                known: 0,
                missing,
            });
        }
        self.counts = start..end;
        self.filled = vec![0; end - start];
        Ok(true)
    }

    fn each_row(&mut self, text: &Text, mut fields: Fields<'_>, vocabulary: Option<&Vocabulary>) -> Result<()> {
        let n_fields = self.header.n_fields + self.shift + self.ends;
        let mut row = String::new();
        loop {
            let position = fields.position();
            let record = fields.record(|place, field| self.field(text, &mut row, place, field, vocabulary))?;
            let Some(record) = record else { break };
            if record.n_fields != n_fields {
                return Err(wrong_len(text, record, n_fields));
            }
            if self.n_rows.is_multiple_of(STRIDE) {
                self.places.push(position);
            }
            self.n_rows += 1;
        }
        Ok(())
    }

    fn field(
        &mut self,
        text: &Text,
        row: &mut String,
        place: Place,
        field: &[u8],
        vocabulary: Option<&Vocabulary>,
    ) -> Result<ControlFlow<()>> {
        let column = place.column;
        if column == 0 {
            text.name_in(place, field)?.clone_into(row);
            self.known_rows += usize::from(is_known(vocabulary, row));
        } else if self.counts.contains(&column) {
            match self.numbers.see(place, field) {
                Ok(0.0) => {}
                Ok(_) => {
                    let filled = &mut self.filled[column - self.counts.start];
                    *filled = filled.saturating_add(1);
                }
                Err(problem) => return Err(self.not_a_number(text, row, place, &problem)),
            }
        } else {
            let beside = if column < self.counts.start {
                column
            } else {
                column - self.counts.len()
            };
            if let Some(annotation) = self.annotations.get_mut(beside - 1) {
                annotation.known += usize::from(is_known(vocabulary, text.name_in(place, field)?));
                if annotation.missing.is_some()
                    && !is_missing(field)
                    && let Some(error) = annotation.missing.take()
                    && self.numbers.parse(field).is_ok()
                {
                    return Err(error);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn wrong_len(text: &Text, record: Record, wanted: usize) -> Error {
    let problem = format!(
        "{} fields; wanted {wanted}, a name and {} numbers",
        record.n_fields,
        wanted - 1
    );
    Error::file(&text.name, format_args!("line {}", record.line), problem)
}

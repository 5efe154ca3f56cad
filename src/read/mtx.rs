//! The three files of 10x Genomics: `matrix.mtx`, `features.tsv` or `genes.tsv`, `barcodes.tsv`; plain or gzip-compressed.

use super::features::OtherKinds;
use super::{Source, unpacked};
use crate::cells::{CellMatrix, GeneColumn, SparseRows, check_rows};
use crate::error::{Error, Result};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;

/// Cells, or lines of names, between two stored places.
const STRIDE: usize = 32;
/// Entries that are held in memory when they are not sorted by cell: 1 GiB, for a while 2.
const MAX_UNSORTED: usize = 1 << 27;
const MAX_LINE: usize = 1 << 20;
/// No organism has as many genes or peaks; what lists more is broken.
const MAX_FEATURES: usize = 1 << 22;
const AHEAD: usize = 1 << 18;

/// A named file.
pub(super) type Named = (String, Arc<dyn Source>);

/// A 10x matrix. Entries that are sorted by cell, as Cell Ranger writes them, are read from the file by range; others are held in memory.
#[derive(Debug)]
pub struct Mtx {
    file: String,
    matrix: &'static str,
    notes: Vec<String>,
    genes: Vec<GeneColumn>,
    barcodes: Names,
    entries: Entries,
    rows: Rows,
}

/// Where the rows come from.
#[derive(Debug)]
enum Rows {
    /// Where the first entry of cells 0, [`STRIDE`], 2 [`STRIDE`], … stands, and its line.
    Sorted(Vec<(u64, u64)>),
    Held(SparseRows),
}

/// A text file line by line, with its place kept.
struct Lines<'a> {
    name: &'a str,
    source: &'a dyn Source,
    /// Of what follows in the source.
    offset: u64,
    number: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl<'a> Lines<'a> {
    const fn new(name: &'a str, source: &'a dyn Source, offset: u64, number: u64) -> Self {
        Self {
            name,
            source,
            offset,
            number,
            buffer: Vec::new(),
            used: 0,
        }
    }

    /// Where the next line begins.
    const fn place(&self) -> u64 {
        self.offset - (self.buffer.len() - self.used) as u64
    }

    /// The next line without its end; `None` behind the last.
    fn next(&mut self) -> Result<Option<&[u8]>> {
        let mut searched = 0;
        let (len, ends) = loop {
            let rest = &self.buffer[self.used..];
            if let Some(end) = rest[searched..].iter().position(|&byte| byte == b'\n') {
                break (searched + end, 1);
            }
            searched = rest.len();
            if searched > MAX_LINE {
                return Err(self.error("a line of more than 1 MiB; wanted a text file"));
            }
            let left = usize::try_from(self.source.size() - self.offset).unwrap_or(usize::MAX);
            if left == 0 {
                if searched == 0 {
                    return Ok(None);
                }
                break (searched, 0);
            }
            self.buffer.drain(..self.used);
            self.used = 0;
            let len = left.min(AHEAD);
            self.buffer.resize(searched + len, 0);
            let read = self.source.read_at(self.offset, &mut self.buffer[searched..]);
            read.map_err(|error| read_error(self.name, error))?;
            self.offset += len as u64;
        };
        let start = self.used;
        self.used += len + ends;
        self.number += 1;
        let line = &self.buffer[start..start + len];
        // What says that a text is UTF-8 is no part of its first name.
        let line = line
            .strip_prefix(b"\xef\xbb\xbf")
            .filter(|_| self.number == 1)
            .unwrap_or(line);
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    fn error(&self, problem: impl std::fmt::Display) -> Error {
        Error::file(self.name, format_args!("line {}", self.number), problem)
    }
}

/// What a source says, as an error about a file.
pub(super) fn read_error(name: &str, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Error::file(name, "compressed data", error),
        _ => Error::Io {
            file: name.to_owned(),
            source: error,
        },
    }
}

/// A file with a name in each line; the names stay there.
struct Names {
    name: String,
    source: Arc<dyn Source>,
    len: usize,
    /// Where lines 0, [`STRIDE`], … begin.
    places: Vec<u64>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Names")
            .field("name", &self.name)
            .field("len", &self.len)
            .finish()
    }
}

impl Names {
    fn open((name, source): Named) -> Result<Self> {
        let (mut len, mut places) = (0, Vec::new());
        let mut lines = Lines::new(&name, source.as_ref(), 0, 0);
        loop {
            let place = lines.place();
            let Some(line) = lines.next()? else { break };
            if std::str::from_utf8(line).is_err() {
                return Err(lines.error("a name that is not UTF-8"));
            }
            if line.is_empty() {
                // A blank last line is none.
                if lines.next()?.is_some() {
                    return Err(lines.error("a blank line before this one; wanted a name in every line"));
                }
                break;
            }
            if len % STRIDE == 0 {
                places.push(place);
            }
            len += 1;
        }
        Ok(Self {
            name,
            source,
            len,
            places,
        })
    }

    /// The first column of some lines.
    fn read(&self, range: Range<usize>) -> Result<Vec<String>> {
        let mut names = Vec::with_capacity(range.len());
        let Some(&place) = self.places.get(range.start / STRIDE) else {
            return Ok(names);
        };
        let first = range.start / STRIDE * STRIDE;
        let mut lines = Lines::new(&self.name, self.source.as_ref(), place, first as u64);
        for i in first..range.end {
            let Some(line) = lines.next()? else { break };
            if i >= range.start {
                let name = line.split(|&byte| byte == b'\t').next().unwrap_or_default();
                names.push(String::from_utf8_lossy(name).trim_matches('"').to_owned());
            }
        }
        Ok(names)
    }
}

/// The file of entries.
struct Entries {
    name: String,
    source: Arc<dyn Source>,
    /// Genes stand in the first column, as 10x writes it.
    genes_first: bool,
    n_cells: usize,
    /// The column of each feature of the file, `None` for what is no gene.
    columns: Vec<Option<u32>>,
    /// Where the entries begin, and the line before.
    start: (u64, u64),
    len: u64,
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Entries")
            .field("name", &self.name)
            .field("len", &self.len)
            .finish()
    }
}

impl Entries {
    /// Cell, feature and value of a line; `Err` is what is wrong with it.
    fn parse(&self, line: &[u8]) -> Result<(usize, usize, f32), String> {
        let text = std::str::from_utf8(line).unwrap_or("(not UTF-8)");
        let wanted = || format!("`{text}`; wanted row, column and value");
        let mut fields = text.split_ascii_whitespace();
        let mut index = || fields.next().and_then(|field| field.parse::<usize>().ok()).ok_or_else(wanted);
        let (row, column) = (index()?, index()?);
        let value = fields.next().and_then(|field| field.parse::<f32>().ok()).ok_or_else(wanted)?;
        if fields.next().is_some() {
            return Err(wanted());
        }
        if !value.is_finite() {
            return Err(format!("`{text}`: the value is not finite"));
        }
        let (feature, cell) = if self.genes_first { (row, column) } else { (column, row) };
        if cell == 0 || cell > self.n_cells || feature == 0 || feature > self.columns.len() {
            return Err(format!(
                "`{text}` lies outside of {} features and {} cells, which are counted from 1",
                self.columns.len(),
                self.n_cells
            ));
        }
        Ok((cell - 1, feature - 1, value))
    }

    /// Every entry in the file's order, with the place and the number of the line before it.
    fn each(&self, mut take: impl FnMut((usize, usize, f32), (u64, u64))) -> Result<()> {
        let mut lines = Lines::new(&self.name, self.source.as_ref(), self.start.0, self.start.1);
        let mut n = 0_u64;
        loop {
            let place = (lines.place(), lines.number);
            let Some(line) = lines.next()? else { break };
            if line.trim_ascii().is_empty() {
                continue;
            }
            let entry = self.parse(line);
            take(entry.map_err(|problem| lines.error(problem))?, place);
            n += 1;
        }
        if n != self.len {
            return Err(lines.error(format_args!(
                "the file ends after {n} entries; its head says {}. Is it cut off?",
                self.len
            )));
        }
        Ok(())
    }

    /// Looks at every entry once, and finds how to read the rows.
    fn rows(&self) -> Result<Rows> {
        let mut places = Vec::new();
        let (mut last, mut sorted) = (0, true);
        self.each(|(cell, ..), place| {
            sorted &= cell >= last;
            last = cell;
            while sorted && places.len() <= cell / STRIDE {
                places.push(place);
            }
        })?;
        if sorted {
            return Ok(Rows::Sorted(places));
        }
        let len = usize::try_from(self.len).ok().filter(|&len| len <= MAX_UNSORTED);
        let Some(len) = len else {
            let problem = format!(
                "{} entries that are not sorted by cell; wanted them sorted, or at most {MAX_UNSORTED}. \
                 Save the matrix as .h5ad instead",
                self.len
            );
            return Err(Error::file(&self.name, "entries", problem));
        };
        let mut offsets = vec![0_usize; self.n_cells + 1];
        self.each(|(cell, ..), _| offsets[cell + 1] += 1)?;
        for cell in 0..self.n_cells {
            offsets[cell + 1] += offsets[cell];
        }
        let mut next = offsets.clone();
        let (mut features, mut values) = (vec![0; len], vec![0.0; len]);
        self.each(|(cell, feature, value), _| {
            // At most `MAX_FEATURES`.
            features[next[cell]] = u32::try_from(feature).unwrap_or(u32::MAX);
            values[next[cell]] = value;
            next[cell] += 1;
        })?;
        let mut held = empty();
        for cell in 0..self.n_cells {
            for i in offsets[cell]..offsets[cell + 1] {
                self.push(&mut held, features[i] as usize, values[i]);
            }
            held.offsets.push(held.genes.len());
        }
        Ok(Rows::Held(held))
    }

    fn push(&self, rows: &mut SparseRows, feature: usize, value: f32) {
        if let Some(column) = self.columns[feature]
            && value != 0.0
        {
            rows.genes.push(column);
            rows.values.push(value);
        }
    }

    fn read_sorted(&self, places: &[(u64, u64)], cells: &Range<usize>) -> Result<SparseRows> {
        let mut rows = empty();
        if let Some(&(place, number)) = places.get(cells.start / STRIDE).filter(|_| !cells.is_empty()) {
            let mut lines = Lines::new(&self.name, self.source.as_ref(), place, number);
            while let Some(line) = lines.next()? {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let entry = self.parse(line);
                let (cell, feature, value) = entry.map_err(|problem| lines.error(problem))?;
                if cell >= cells.end {
                    break;
                }
                if cell >= cells.start {
                    while rows.n_rows() < cell - cells.start {
                        rows.offsets.push(rows.genes.len());
                    }
                    self.push(&mut rows, feature, value);
                }
            }
        }
        rows.offsets.resize(cells.len() + 1, rows.genes.len());
        Ok(rows)
    }
}

fn empty() -> SparseRows {
    SparseRows {
        offsets: vec![0],
        ..SparseRows::default()
    }
}

/// The columns of features.tsv, what each line says of itself.
#[derive(Default)]
struct Features {
    ids: Vec<String>,
    symbols: Vec<String>,
    /// The column in the matrix of genes.
    columns: Vec<Option<u32>>,
    notes: Vec<String>,
}

fn features((name, source): &Named) -> Result<Features> {
    let mut features = Features::default();
    let mut others = OtherKinds::default();
    let mut lines = Lines::new(name, source.as_ref(), 0, 0);
    while let Some(line) = lines.next()? {
        let Ok(line) = std::str::from_utf8(line).map(str::to_owned) else {
            return Err(lines.error("a name that is not UTF-8"));
        };
        if line.is_empty() {
            continue;
        }
        if features.columns.len() >= MAX_FEATURES {
            return Err(lines.error(format_args!("more than {MAX_FEATURES} features; no matrix has as many")));
        }
        let mut fields = line.split('\t').map(|field| field.trim_matches('"'));
        let id = fields.next().unwrap_or_default();
        let symbol = fields.next();
        if !others.is_gene(fields.next().unwrap_or_default()) {
            features.columns.push(None);
            continue;
        }
        let column = u32::try_from(features.ids.len()).map_err(|_| lines.error("too many features"))?;
        features.columns.push(Some(column));
        features.ids.push(id.to_owned());
        features.symbols.push(symbol.unwrap_or(id).to_owned());
    }
    features.notes.extend(others.note());
    if features.ids.is_empty() {
        let problem = if features.notes.is_empty() {
            "no features".to_owned()
        } else {
            others.no_genes()
        };
        return Err(Error::file(name, "features", problem));
    }
    Ok(features)
}

/// The head of a Matrix Market file: rows, columns, entries, and where these begin.
fn head((name, source): &Named) -> Result<([u64; 3], (u64, u64))> {
    let mut lines = Lines::new(name, source.as_ref(), 0, 0);
    let first = String::from_utf8_lossy(lines.next()?.unwrap_or_default()).to_ascii_lowercase();
    let words: Vec<&str> = first.split_ascii_whitespace().collect();
    let problem = match words.as_slice() {
        [
            "%%matrixmarket",
            "matrix",
            "coordinate",
            "integer" | "unsigned-integer" | "real" | "double",
            "general",
        ] => None,
        ["%%matrixmarket", "matrix", "coordinate", "pattern", ..] => Some("a pattern, which has no counts"),
        [
            "%%matrixmarket",
            "matrix",
            "coordinate",
            _,
            "symmetric" | "skew-symmetric" | "hermitian",
        ] => Some("a symmetric matrix, which is no matrix of cells and genes"),
        ["%%matrixmarket", "matrix", "array", ..] => Some("a dense array"),
        _ => Some("no head of a Matrix Market file"),
    };
    if let Some(problem) = problem {
        return Err(lines.error(format_args!(
            "{problem}; wanted `%%MatrixMarket matrix coordinate integer general` or `real`"
        )));
    }
    loop {
        let Some(line) = lines.next()? else {
            return Err(lines.error("the file ends before its sizes; wanted rows, columns and entries"));
        };
        if line.starts_with(b"%") || line.trim_ascii().is_empty() {
            continue;
        }
        let text = String::from_utf8_lossy(line).into_owned();
        let numbers: Vec<u64> = text.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
        let Ok(sizes) = <[u64; 3]>::try_from(numbers) else {
            return Err(lines.error(format_args!("`{text}`; wanted the numbers of rows, columns and entries")));
        };
        // An entry takes six bytes or more, the last perhaps five.
        if sizes[2] > source.size().div_ceil(6) {
            let problem = format!(
                "{} entries do not fit into {} bytes. Is the file cut off?",
                sizes[2],
                source.size()
            );
            return Err(lines.error(problem));
        }
        return Ok((sizes, (lines.place(), lines.number)));
    }
}

impl Mtx {
    /// Opens the three files; `name` is how the user calls them together. Features are rows as 10x writes them, or columns as
    /// `AnnData`'s users do: what fits the numbers of lines; 10x's where both do.
    ///
    /// # Errors
    /// [`Error::File`] with the line: sizes that do not fit the names, a pattern or symmetric matrix, entries outside, a file that is cut
    /// off, no genes; [`Error::Io`].
    pub(super) fn open(name: &str, entries: Named, features_file: Named, barcodes: Named) -> Result<Self> {
        let [entries, features_file, barcodes] = [unpacked(entries)?, unpacked(features_file)?, unpacked(barcodes)?];
        let mut features = features(&features_file)?;
        let barcodes = Names::open(barcodes)?;
        let ([n_rows, n_cols, len], start) = head(&entries)?;
        let sizes = (features.columns.len() as u64, barcodes.len as u64);
        let genes_first = (n_rows, n_cols) == sizes;
        if !genes_first && (n_cols, n_rows) != sizes {
            let problem = format!(
                "{n_rows} × {n_cols}, but {} has {} features and {} has {} barcodes; wanted the three files of one matrix",
                features_file.0, sizes.0, barcodes.name, sizes.1
            );
            return Err(Error::file(&entries.0, format_args!("line {}", start.1), problem));
        }
        if barcodes.len == 0 {
            return Err(Error::file(&barcodes.name, "line 1", "no barcodes"));
        }
        let entries = Entries {
            name: entries.0,
            source: entries.1,
            genes_first,
            n_cells: barcodes.len,
            columns: std::mem::take(&mut features.columns),
            start,
            len,
        };
        let rows = entries.rows()?;
        let mut genes = vec![GeneColumn {
            name: "gene_ids".to_owned(),
            genes: features.ids,
        }];
        if genes[0].genes != features.symbols {
            genes.push(GeneColumn {
                name: "gene_symbols".to_owned(),
                genes: features.symbols,
            });
        }
        Ok(Self {
            file: name.to_owned(),
            matrix: if genes_first { "genes × cells" } else { "cells × genes" },
            notes: features.notes,
            genes,
            barcodes,
            entries,
            rows,
        })
    }
}

impl CellMatrix for Mtx {
    fn file(&self) -> &str {
        &self.file
    }

    fn format(&self) -> &str {
        "10x Genomics (.mtx)"
    }

    fn matrix(&self) -> &str {
        self.matrix
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn n_cells(&self) -> usize {
        self.barcodes.len
    }

    fn n_genes(&self) -> usize {
        self.genes[0].genes.len()
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        check_rows(&cells, self.n_cells())?;
        self.barcodes.read(cells)
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        &self.genes
    }

    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        check_rows(&cells, self.n_cells())?;
        match &self.rows {
            Rows::Sorted(places) => self.entries.read_sorted(places, &cells),
            Rows::Held(rows) => Ok(rows.slice(cells)),
        }
    }
}

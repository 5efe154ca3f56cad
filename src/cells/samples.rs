//! Several matrices as one: samples that are looked at together.

use super::values::{Values, sample_values};
use super::{CellColumn, CellMatrix, GeneColumn, SparseRows, check_rows};
use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Debug, Formatter};
use std::ops::Range;

/// What the column is called that says which sample a cell is of, and what it is called where a sample has such a column of its own.
const SAMPLE: &str = "sample";
const OWN_SAMPLE: &str = "scdiva_sample";

/// Of the names of the genes of the sample with fewer, this share must be in another one's, or the two name genes differently.
const MIN_SHARED: f64 = 0.2;

/// Another column of names is taken only when the samples share so many times as many of its names.
const CLEARLY_MORE: f64 = 1.05;

/// What the columns of earlier results are called.
const OWN_RESULTS: &str = "scdiva_";

struct Part {
    name: String,
    matrix: Box<dyn CellMatrix>,
    /// Its first cell among all.
    first: usize,
    /// `[n_genes of its own]`: the gene among all.
    genes: Vec<u32>,
}

/// The cells of several samples one after another, over all their genes by name. A cell has no value of a gene that its sample lacks. Cells are called
/// `CELL-SAMPLE`; the column `sample` says where each is from (`scdiva_sample`, where a sample has a column `sample`), and of every other column the
/// samples that lack it have no value. Embeddings are left out, since those of different samples share no space, and so are results of earlier runs.
pub struct Samples {
    name: String,
    format: String,
    matrix: String,
    matrices: Vec<String>,
    notes: Vec<String>,
    log_base: Option<f64>,
    parts: Vec<Part>,
    genes: Vec<GeneColumn>,
    columns: Vec<String>,
}

impl Samples {
    /// Joins matrices, each with the name of its sample; `name` is what the user calls the whole. Genes are matched by the column of each matrix that
    /// fits best.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is none, or two samples have one name; [`Error::File`] when the values of one are of another kind than the
    /// first's, or it names genes differently; what [`CellMatrix::read_rows`] says.
    ///
    /// ```
    /// use scdiva::cells::{CellMatrix, Samples};
    /// use scdiva::read::{Files, open};
    /// use std::sync::Arc;
    /// let sample = |name: &str, text: &'static str| open(&Files::one(name, Arc::new(text)), &Default::default(), None);
    /// let (a, b) = (sample("a.csv", "cell,CD3D,MS4A1\nAAAC,3,0\n")?, sample("b.csv", "cell,MS4A1,CD3D\nAAAC,5,0\nAAAG,0,1\n")?);
    /// let both = Samples::join("both", vec![("a".into(), a), ("b".into(), b)])?;
    /// assert_eq!(both.cell_names(0..3)?, ["AAAC-a", "AAAC-b", "AAAG-b"]);
    /// assert_eq!(both.read_rows(1..2)?.row(0), (&[1][..], &[5.0][..]));
    /// # Ok::<(), scdiva::Error>(())
    /// ```
    pub fn join(name: &str, samples: Vec<(String, Box<dyn CellMatrix>)>) -> Result<Self> {
        let wrong = |problem: String| Error::argument("join", "samples", format_args!("{name}: {problem}"));
        let mut names = HashSet::new();
        if let Some((twice, _)) = samples.iter().find(|(name, _)| !names.insert(name.as_str())) {
            return Err(wrong(format!("two are called {twice}")));
        }
        let Some((_, first)) = samples.first() else {
            return Err(wrong("there are none".to_owned()));
        };
        let values = samples.iter().map(|(_, matrix)| sample_values(matrix.as_ref()));
        let values: Vec<Values> = values.collect::<Result<_>>()?;
        if let Some(other) = values.iter().position(|other| !other.are_as(&values[0])) {
            let matrix = &samples[other].1;
            let problem = format!(
                "{}, but {} of {} holds {}; wanted the same in all samples, such as counts",
                values[other].describe(),
                first.matrix(),
                first.file(),
                values[0].describe()
            );
            return Err(Error::file(matrix.file(), matrix.matrix(), problem));
        }
        let log_base = first.log_base();
        let has_one_base = samples.iter().all(|(_, matrix)| matrix.log_base() == log_base);
        let matrices: Vec<&dyn CellMatrix> = samples.iter().map(|(_, matrix)| matrix.as_ref()).collect();
        let joined = join_genes(&matrices)?;
        let mut joint = Self {
            name: name.to_owned(),
            format: format!(
                "{} samples: {}",
                samples.len(),
                distinct(matrices.iter().map(|matrix| matrix.format()))
            ),
            matrix: distinct(matrices.iter().map(|matrix| matrix.matrix())),
            matrices: common(matrices.iter().map(|matrix| matrix.matrices())),
            notes: notes(&samples, &joined),
            log_base: log_base.filter(|_| has_one_base),
            columns: all_columns(&matrices),
            genes: joined.columns,
            parts: Vec::new(),
        };
        let mut n_cells = 0;
        for ((name, matrix), genes) in samples.into_iter().zip(joined.places) {
            let first = n_cells;
            n_cells += matrix.n_cells();
            joint.parts.push(Part {
                name,
                matrix,
                first,
                genes,
            });
        }
        Ok(joint)
    }

    /// The parts that hold some cells, and which of their own these are.
    fn within(&self, cells: Range<usize>) -> impl Iterator<Item = (&Part, Range<usize>)> {
        self.parts.iter().filter_map(move |part| {
            let end = part.first + part.matrix.n_cells();
            let (from, to) = (cells.start.max(part.first), cells.end.min(end));
            (from < to).then(|| (part, from - part.first..to - part.first))
        })
    }
}

impl Debug for Samples {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let parts: Vec<(&str, usize)> = self
            .parts
            .iter()
            .map(|part| (part.name.as_str(), part.matrix.n_cells()))
            .collect();
        out.debug_struct("Samples")
            .field("name", &self.name)
            .field("parts", &parts)
            .finish_non_exhaustive()
    }
}

impl CellMatrix for Samples {
    fn file(&self) -> &str {
        &self.name
    }

    fn format(&self) -> &str {
        &self.format
    }

    fn matrix(&self) -> &str {
        &self.matrix
    }

    fn matrices(&self) -> &[String] {
        &self.matrices
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn log_base(&self) -> Option<f64> {
        self.log_base
    }

    fn n_cells(&self) -> usize {
        self.parts.iter().map(|part| part.matrix.n_cells()).sum()
    }

    fn n_genes(&self) -> usize {
        self.genes[0].genes.len()
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        check_rows(&cells, self.n_cells())?;
        let mut names = Vec::with_capacity(cells.len());
        for (part, own) in self.within(cells) {
            let of_part = part.matrix.cell_names(own)?;
            names.extend(of_part.into_iter().map(|cell| format!("{cell}-{}", part.name)));
        }
        Ok(names)
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        &self.genes
    }

    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        check_rows(&cells, self.n_cells())?;
        let mut all = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        for (part, own) in self.within(cells) {
            let rows = part.matrix.read_rows(own)?;
            let before = all.genes.len();
            all.offsets.extend(rows.offsets.iter().skip(1).map(|offset| before + offset));
            all.genes.extend(rows.genes.iter().map(|&gene| part.genes[gene as usize]));
            all.values.extend(rows.values);
        }
        Ok(all)
    }

    fn cell_columns(&self) -> &[String] {
        &self.columns
    }

    fn cell_column(&self, name: &str) -> Result<Option<CellColumn>> {
        if !self.columns.iter().any(|column| column == name) {
            return Ok(None);
        }
        if self.columns.first().is_some_and(|first| first == name) {
            let codes = (0..).zip(&self.parts);
            let codes = codes.flat_map(|(code, part)| std::iter::repeat_n(Some(code), part.matrix.n_cells()));
            let names = self.parts.iter().map(|part| part.name.clone()).collect();
            return Ok(Some(CellColumn::Categories {
                codes: codes.collect(),
                names,
            }));
        }
        let columns = self.parts.iter().map(|part| part.matrix.cell_column(name));
        let columns: Vec<Option<CellColumn>> = columns.collect::<Result<_>>()?;
        let n_cells = self.parts.iter().map(|part| part.matrix.n_cells());
        let is_number = |column: &Option<CellColumn>| matches!(column, None | Some(CellColumn::Numbers(_)));
        Ok(Some(if columns.iter().all(is_number) {
            let numbers = columns.into_iter().zip(n_cells).flat_map(|(column, n_cells)| match column {
                Some(CellColumn::Numbers(numbers)) => numbers,
                _ => vec![f64::NAN; n_cells],
            });
            CellColumn::Numbers(numbers.collect())
        } else {
            join_categories(columns.into_iter().zip(n_cells))
        }))
    }
}

struct JoinedGenes {
    /// First the one by which genes are matched; of the others each gene has the name that the first matrix with it gives.
    columns: Vec<GeneColumn>,
    /// For each matrix `[n_genes]`: the gene among all.
    places: Vec<Vec<u32>>,
    /// Genes that all matrices have.
    n_shared: usize,
}

/// By the column of the first matrix for which the others have the most alike.
fn join_genes(matrices: &[&dyn CellMatrix]) -> Result<JoinedGenes> {
    let Some((first, others)) = matrices.split_first() else {
        return Err(Error::argument("join", "samples", "there are none"));
    };
    let of_others: Vec<Vec<_>> = others
        .iter()
        .map(|other| {
            let columns = other.gene_columns().iter().filter(|column| names_genes(column));
            columns.map(|column| (names_in(column), column)).collect()
        })
        .collect();
    let mut best: Option<(usize, Vec<&GeneColumn>)> = None;
    for column in first.gene_columns().iter().filter(|column| names_genes(column)) {
        let names = names_in(column);
        let mut chosen = vec![column];
        let mut least = usize::MAX;
        for columns in &of_others {
            let counts = columns.iter().map(|(own, column)| (names.intersection(own).count(), *column));
            if let Some((n_shared, own)) = counts.reduce(|a, b| if b.0 > a.0 { b } else { a }) {
                least = least.min(n_shared);
                chosen.push(own);
            }
        }
        // A file's own index goes first, unless another one has clearly more.
        let is_better = |n_shared: usize| least as f64 > n_shared as f64 * CLEARLY_MORE;
        if chosen.len() == matrices.len() && best.as_ref().is_none_or(|(n_shared, _)| is_better(*n_shared)) {
            best = Some((least, chosen));
        }
    }
    let Some((_, columns)) = best else {
        let problem = "one of the samples has no column with a name for each gene";
        return Err(Error::file(first.file(), "genes", problem));
    };
    let names = names_in(columns[0]);
    for (other, column) in others.iter().zip(&columns[1..]) {
        let own = names_in(column);
        let share = names.intersection(&own).count() as f64 / names.len().min(own.len()).max(1) as f64;
        if share < MIN_SHARED {
            let example = |column: &GeneColumn| column.genes.iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
            let problem = format!(
                "{:.0} % of its genes are called as in {} ({} there, {} here); wanted samples that name genes alike",
                100.0 * share,
                first.file(),
                example(columns[0]),
                example(column)
            );
            return Err(Error::file(other.file(), "genes", problem));
        }
    }
    let mut known: HashMap<(&str, usize), usize> = HashMap::new();
    let mut genes: Vec<String> = Vec::new();
    let mut n_with: Vec<usize> = Vec::new();
    let mut places = Vec::new();
    for column in &columns {
        let mut times: HashMap<&str, usize> = HashMap::new();
        let mut of_matrix = Vec::with_capacity(column.genes.len());
        for name in &column.genes {
            // A name that comes twice means two columns, here as there.
            let time = times.entry(name).or_default();
            *time += 1;
            let found = if name.is_empty() {
                None
            } else {
                known.get(&(name.as_str(), *time))
            };
            let place = found.copied().unwrap_or_else(|| {
                genes.push(name.clone());
                n_with.push(0);
                known.insert((name, *time), genes.len() - 1);
                genes.len() - 1
            });
            n_with[place] += 1;
            let too_many = |_| Error::file(first.file(), "genes", "more than 2^32 in all samples");
            of_matrix.push(u32::try_from(place).map_err(too_many)?);
        }
        places.push(of_matrix);
    }
    let n_shared = n_with.iter().filter(|n| **n == matrices.len()).count();
    let name = columns[0].name.clone();
    let mut all = vec![GeneColumn { name, genes }];
    all.extend(other_columns(matrices, &columns, &places, all[0].genes.len()));
    Ok(JoinedGenes {
        columns: all,
        places,
        n_shared,
    })
}

/// What else the matrices call their genes, by the names of their columns.
fn other_columns(matrices: &[&dyn CellMatrix], matched: &[&GeneColumn], places: &[Vec<u32>], n_genes: usize) -> Vec<GeneColumn> {
    let mut others: Vec<GeneColumn> = Vec::new();
    for ((matrix, own), places) in matrices.iter().zip(matched).zip(places) {
        for column in matrix.gene_columns() {
            // One name means one column.
            if column.name == own.name || column.name == matched[0].name {
                continue;
            }
            let at = others.iter().position(|other| other.name == column.name).unwrap_or_else(|| {
                others.push(GeneColumn {
                    name: column.name.clone(),
                    genes: vec![String::new(); n_genes],
                });
                others.len() - 1
            });
            for (&place, name) in places.iter().zip(&column.genes) {
                let slot = &mut others[at].genes[place as usize];
                if slot.is_empty() {
                    slot.clone_from(name);
                }
            }
        }
    }
    others
}

/// Whether a column may name genes: nearly all its names are different, and no mere numbers.
fn names_genes(column: &GeneColumn) -> bool {
    let names = names_in(column);
    2 * names.len() > column.genes.len() && !names.iter().all(|name| name.parse::<f64>().is_ok())
}

fn names_in(column: &GeneColumn) -> HashSet<&str> {
    column
        .genes
        .iter()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect()
}

fn notes(samples: &[(String, Box<dyn CellMatrix>)], joined: &JoinedGenes) -> Vec<String> {
    let n_genes = joined.columns[0].genes.len();
    let sizes: Vec<String> = samples
        .iter()
        .map(|(name, matrix)| format!("{name} {}", matrix.n_cells()))
        .collect();
    let mut notes = vec![format!("cells of each sample: {}", sizes.join(", "))];
    if joined.n_shared < n_genes {
        notes.push(format!(
            "{} of {n_genes} genes are in all samples; cells of a sample that lacks a gene have no value of it",
            joined.n_shared
        ));
    }
    for (name, matrix) in samples {
        if matrix.cell_columns().iter().any(|column| column.starts_with(OWN_RESULTS)) {
            notes.push(format!(
                "{name}: columns {OWN_RESULTS}…, results of an earlier run, are left out"
            ));
        }
        if let Some(droplets) = matrix.droplets() {
            let n_left_out = droplets.n_barcodes - droplets.kept.len();
            notes.push(format!(
                "{name}: {n_left_out} of {} barcodes with fewer than {} counts were left out",
                droplets.n_barcodes, droplets.min_counts
            ));
        }
        for note in matrix.notes() {
            let note = format!("{name}: {note}");
            notes.push(note);
        }
    }
    notes
}

/// The column that says the sample first, then those that any matrix has, in the order in which they come.
fn all_columns(matrices: &[&dyn CellMatrix]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for column in matrices.iter().flat_map(|matrix| matrix.cell_columns()) {
        if !columns.contains(column) && !column.starts_with(OWN_RESULTS) {
            columns.push(column.clone());
        }
    }
    let own = if columns.iter().any(|column| column == SAMPLE) {
        OWN_SAMPLE
    } else {
        SAMPLE
    };
    columns.insert(0, own.to_owned());
    columns
}

/// Numbers among them are written out; whole ones without a point, as in the texts beside them.
fn join_categories(columns: impl Iterator<Item = (Option<CellColumn>, usize)>) -> CellColumn {
    let (mut codes, mut names) = (Vec::new(), Vec::new());
    let mut known: HashMap<String, u32> = HashMap::new();
    let mut code_of = |name: String| {
        let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
        *known.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            next
        })
    };
    for (column, n_cells) in columns {
        match column {
            None => codes.extend(std::iter::repeat_n(None, n_cells)),
            Some(CellColumn::Categories {
                codes: own,
                names: of_part,
            }) => {
                let places: Vec<u32> = of_part.into_iter().map(&mut code_of).collect();
                codes.extend(
                    own.into_iter()
                        .map(|code| code.and_then(|code| places.get(code as usize).copied())),
                );
            }
            Some(CellColumn::Numbers(numbers)) => {
                codes.extend(
                    numbers
                        .into_iter()
                        .map(|number| (!number.is_nan()).then(|| code_of(number.to_string()))),
                );
            }
        }
    }
    CellColumn::Categories { codes, names }
}

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut all: Vec<&str> = Vec::new();
    for text in texts {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all.join(", ")
}

/// What all lists have.
fn common<'a>(mut lists: impl Iterator<Item = &'a [String]>) -> Vec<String> {
    let Some(first) = lists.next() else {
        return Vec::new();
    };
    let rest: Vec<&[String]> = lists.collect();
    first
        .iter()
        .filter(|name| rest.iter().all(|list| list.contains(name)))
        .cloned()
        .collect()
}

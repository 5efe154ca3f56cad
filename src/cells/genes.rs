//! Which genes of a model the columns of a matrix are.

use super::names::{ensembl_id, genome_prefix, is_excel_date, without_count};
use super::species::{Recognition, Species, decide, recognise};
use super::vocabulary::{Found, Step, Vocabulary};
use super::{CellMatrix, GeneColumn};
use crate::error::{Error, Result};
use crate::order::{insert, order};
use serde::Serialize;
use std::collections::HashSet;

/// The least share of genes (see [`GeneReport::share`]) with which a file is taken.
pub const MIN_SHARE: f64 = 0.3;

/// Names that a report shows of each kind.
const N_SHOWN: usize = 5;
/// Names of one genome have its prefix when at least this share of all names has that of some genome.
const NEARLY_ALL: f64 = 0.9;

/// What the user decides about how genes are found; by default all is found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MatchOptions {
    /// The only one of [`CellMatrix::gene_columns`] to look into.
    pub gene_column: Option<String>,
    /// Whose genes they are. [`Species::Human`] overrides what the names seem to say; genes of mouse are taken only when this says so.
    pub species: Option<Species>,
}

/// How many names there are of a kind, and the first few.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NameList {
    /// All of them.
    pub n: usize,
    /// At most five.
    pub first: Vec<String>,
}

impl NameList {
    fn add(&mut self, name: impl FnOnce() -> String) {
        self.n += 1;
        if self.first.len() < N_SHOWN {
            self.first.push(name());
        }
    }
}

/// What the names in a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameKind {
    /// Ensembl ids, nine of ten at least.
    Ensembl,
    /// Hardly any Ensembl id.
    Symbol,
    /// Both.
    Mixed,
}

/// A column of gene names, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NameColumn {
    /// [`GeneColumn::name`].
    pub name: String,
    /// Ensembl ids or symbols.
    pub kind: NameKind,
}

impl NameColumn {
    pub(super) fn of(column: &GeneColumn) -> Self {
        let names = || column.genes.iter().filter(|name| !name.is_empty());
        let share = names().filter(|name| ensembl_id(name).is_some()).count() as f64 / names().count().max(1) as f64;
        let kind = match share {
            share if share >= 0.9 => NameKind::Ensembl,
            share if share <= 0.1 => NameKind::Symbol,
            _ => NameKind::Mixed,
        };
        Self {
            name: column.name.clone(),
            kind,
        }
    }
}

/// How the genes of a file were found among those of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GeneReport {
    /// Whose genes they are taken for. [`Species::Mouse`] means: mouse mapped to human.
    pub species: Species,
    /// What the names say about it.
    pub recognition: Recognition,
    /// The file's columns of names that were used, the one that fits best first; the others for genes that it does not settle.
    pub columns: Vec<NameColumn>,
    /// The genome whose prefix was taken off, such as `GRCh38`.
    pub genome: Option<String>,
    /// How many genes the file has.
    pub n_genes: usize,
    /// How many genes the model knows.
    pub n_vocabulary: usize,
    /// How many genes of the model are in the file.
    pub n_matched: usize,
    /// Matched genes over the genes of the file or of the model, whichever are fewer. So a file with all 32,000 genes passes
    /// against a model of 8,000, and a file of 700 chosen genes too, while a file in another name space does not.
    pub share: f64,
    /// Columns of the matrix found by Ensembl id.
    pub by_id: NameList,
    /// By approved symbol.
    pub by_symbol: NameList,
    /// By previous symbol or alias, shown as `IGJ → JCHAIN`.
    pub by_alias: NameList,
    /// By a name that differs in the case of letters, or in `.` and `_` for `-`.
    pub by_spelling: NameList,
    /// By what stands before a number that was added to make names unique, `GENE-1`.
    pub by_suffix: NameList,
    /// Columns that are added to another because both are the same gene.
    pub merged: NameList,
    /// Columns whose name means two genes; they are left out.
    pub ambiguous: NameList,
    /// Columns of genes that the model does not know.
    pub unmatched: NameList,
    /// Columns with the prefix of another genome; they are left out.
    pub other_genome: NameList,
    /// Names that a spreadsheet turned into dates, such as `2-Sep`; they are left out.
    pub dates: NameList,
    /// Genes of the model that the file lacks, those that few cells express first.
    pub missing: NameList,
}

/// Which gene of the model each column of a matrix is.
#[derive(Debug, Clone)]
pub struct GeneMatch {
    /// `[n_genes]`: a position in [`Vocabulary::genes`].
    pub positions: Vec<Option<usize>>,
    /// How they were found.
    pub report: GeneReport,
}

/// The names of one column, and what each means.
struct Looked<'a> {
    column: &'a GeneColumn,
    genome: Option<&'static str>,
    found: Vec<Found>,
    /// Whether a name is of another genome.
    other_genome: Vec<bool>,
    share: f64,
    n_matched: usize,
}

impl GeneMatch {
    /// Tries every column of names that the file has. The one with the most genes goes first; what it does not settle is looked up in
    /// the next best, among the columns that reach [`MIN_SHARE`] on their own, so that only columns that do name genes are asked.
    ///
    /// # Errors
    /// [`Error::File`] when the genes are of a species that the model does not know, and when less than [`MIN_SHARE`] of them match,
    /// with names from both sides; [`Error::Argument`] when there is no column as the options want it.
    pub fn new(matrix: &dyn CellMatrix, vocabulary: &Vocabulary, options: &MatchOptions) -> Result<Self> {
        let columns: Vec<&GeneColumn> = match &options.gene_column {
            None => matrix.gene_columns().iter().collect(),
            Some(name) => vec![
                matrix
                    .gene_columns()
                    .iter()
                    .find(|column| column.name == *name)
                    .ok_or_else(|| {
                        let names: Vec<&str> = matrix.gene_columns().iter().map(|column| column.name.as_str()).collect();
                        let problem = format!("{}: {name}: no such column; the file has {}", matrix.file(), names.join(", "));
                        Error::argument("match genes", "gene_column", problem)
                    })?,
            ],
        };
        let recognition = recognise(matrix.gene_columns());
        let species = decide(matrix.file(), &recognition, options.species, vocabulary.knows_mouse())?;
        let any_case = options.species == Some(Species::Human);
        let has_id = |gene: usize| {
            let mut names = columns.iter().filter_map(|column| column.genes.get(gene));
            names.any(|name| ensembl_id(name).is_some())
        };
        let mut looked: Vec<Looked<'_>> = Vec::new();
        // Of equals the first in the file stays first, which is its index.
        for column in &columns {
            let new = look(column, vocabulary, species, any_case, &has_id);
            insert(&mut looked, new, |a, b| b.n_matched.cmp(&a.n_matched));
        }
        let Some(best) = looked.first() else {
            return Err(Error::file(matrix.file(), "var", "no names of genes"));
        };
        if best.share < MIN_SHARE {
            return Err(too_few(matrix.file(), best, vocabulary));
        }
        looked.retain(|looked| looked.share >= MIN_SHARE);
        Ok(join(&looked, matrix.n_genes(), vocabulary, species, recognition))
    }
}

/// What the names of one column mean. A gene of which `has_id` is true is no other one again: its id would say so.
fn look<'a>(
    column: &'a GeneColumn,
    vocabulary: &Vocabulary,
    species: Species,
    any_case: bool,
    has_id: &dyn Fn(usize) -> bool,
) -> Looked<'a> {
    let names: Vec<&str> = column.genes.iter().map(|name| name.trim()).collect();
    let prefixed: Vec<_> = names.iter().map(|name| genome_prefix(name)).collect();
    let n_names = names.iter().filter(|name| !name.is_empty()).count();
    let n_prefixed = prefixed.iter().filter(|prefix| prefix.is_some()).count();
    let strips = n_prefixed > 0 && n_prefixed as f64 >= NEARLY_ALL * n_names as f64;
    let wanted = match species {
        Species::Human => "human",
        Species::Mouse => "mouse",
    };
    let (mut genome, mut other_genome) = (None, vec![false; names.len()]);
    let names: Vec<&str> = names
        .into_iter()
        .zip(prefixed)
        .zip(&mut other_genome)
        .map(|((name, prefix), is_other)| match prefix {
            Some((of, species, rest)) if strips && species == wanted => {
                genome = Some(of);
                rest
            }
            Some(_) if strips => {
                *is_other = true;
                ""
            }
            _ => name,
        })
        .collect();
    let all: HashSet<&str> = names.iter().copied().collect();
    let find = |name: &str| match species {
        Species::Human => vocabulary.find(name, any_case),
        Species::Mouse => vocabulary.find_mouse(name),
    };
    let again = |gene: usize, name: &str| {
        let stem = without_count(name).filter(|stem| all.contains(stem) && !has_id(gene))?;
        match find(stem) {
            Found::Gene(position, _) => Some(Found::Gene(position, Step::Suffix)),
            other => Some(other),
        }
    };
    let found: Vec<Found> = names
        .iter()
        .enumerate()
        .map(|(gene, name)| match find(name) {
            Found::Nothing => again(gene, name).unwrap_or(Found::Nothing),
            found => found,
        })
        .collect();
    let positions: HashSet<usize> = found
        .iter()
        .filter_map(|found| match found {
            Found::Gene(position, _) => Some(*position),
            Found::Ambiguous | Found::Nothing => None,
        })
        .collect();
    let n_own = names.len() - other_genome.iter().filter(|is_other| **is_other).count();
    let n_matched = positions.len();
    Looked {
        column,
        genome,
        found,
        other_genome,
        share: share(n_matched, n_own, vocabulary),
        n_matched,
    }
}

fn share(n_matched: usize, n_genes: usize, vocabulary: &Vocabulary) -> f64 {
    n_matched as f64 / n_genes.min(vocabulary.genes().len()).max(1) as f64
}

/// Settles each gene by the first column that names it, and counts.
fn join(looked: &[Looked<'_>], n_genes: usize, vocabulary: &Vocabulary, species: Species, recognition: Recognition) -> GeneMatch {
    let mut settled = vec![(Found::Nothing, 0_usize); n_genes];
    let mut columns = Vec::new();
    for (i, looked) in looked.iter().enumerate() {
        let mut n_settled = 0;
        for (settled, &next) in settled.iter_mut().zip(&looked.found) {
            let settles = match settled.0 {
                Found::Gene(..) => false,
                Found::Ambiguous => matches!(next, Found::Gene(..)),
                Found::Nothing => next != Found::Nothing,
            };
            if settles {
                *settled = (next, i);
                n_settled += usize::from(matches!(next, Found::Gene(..)));
            }
        }
        if n_settled > 0 {
            columns.push(NameColumn::of(looked.column));
        }
    }

    let mut report = GeneReport {
        species,
        recognition,
        columns,
        genome: looked.iter().find_map(|looked| looked.genome).map(str::to_owned),
        n_genes,
        n_vocabulary: vocabulary.genes().len(),
        n_matched: 0,
        share: 0.0,
        by_id: NameList::default(),
        by_symbol: NameList::default(),
        by_alias: NameList::default(),
        by_spelling: NameList::default(),
        by_suffix: NameList::default(),
        merged: NameList::default(),
        ambiguous: NameList::default(),
        unmatched: NameList::default(),
        other_genome: NameList::default(),
        dates: NameList::default(),
        missing: NameList::default(),
    };
    let mut seen = vec![false; vocabulary.genes().len()];
    let mut positions = Vec::with_capacity(n_genes);
    for (gene, (found, i)) in settled.into_iter().enumerate() {
        let name = |i: usize| {
            let names = looked.get(i).and_then(|looked| looked.column.genes.get(gene));
            names.map_or("", String::as_str)
        };
        let position = match found {
            Found::Gene(position, step) => {
                let symbol = vocabulary.genes().get(position).map_or("", |gene| gene.shown());
                let list = match step {
                    Step::Id => &mut report.by_id,
                    Step::Symbol => &mut report.by_symbol,
                    Step::Alias => &mut report.by_alias,
                    Step::Spelling => &mut report.by_spelling,
                    Step::Suffix => &mut report.by_suffix,
                };
                let shown = || match name(i) {
                    name if name == symbol => name.to_owned(),
                    name => format!("{name} → {symbol}"),
                };
                list.add(shown);
                if seen[position] {
                    report.merged.add(shown);
                } else {
                    seen[position] = true;
                    report.n_matched += 1;
                }
                Some(position)
            }
            Found::Ambiguous => {
                report.ambiguous.add(|| name(i).to_owned());
                None
            }
            Found::Nothing => {
                let is_other = looked.iter().any(|looked| looked.other_genome.get(gene) == Some(&true));
                let list = if is_other {
                    &mut report.other_genome
                } else if is_excel_date(name(0)) {
                    &mut report.dates
                } else {
                    &mut report.unmatched
                };
                list.add(|| name(0).to_owned());
                None
            }
        };
        positions.push(position);
    }
    report.share = share(report.n_matched, n_genes - report.other_genome.n, vocabulary);
    let missing: Vec<_> = vocabulary.genes().iter().zip(&seen).filter(|(_, seen)| !**seen).collect();
    for i in order(missing.len(), &|a, b| missing[a].0.entropy.total_cmp(&missing[b].0.entropy)) {
        report.missing.add(|| missing[i].0.shown().to_owned());
    }
    GeneMatch { positions, report }
}

fn too_few(file: &str, best: &Looked<'_>, vocabulary: &Vocabulary) -> Error {
    let column = best.column;
    let fewer = column.genes.len().min(vocabulary.genes().len());
    let theirs = column
        .genes
        .iter()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .take(3);
    let ours = vocabulary
        .genes()
        .iter()
        .take(3)
        .map(|gene| format!("{} ({})", gene.symbol, gene.ensembl_id));
    let problem = format!(
        "{} of {fewer} genes match ({:.1} %; wanted {:.0} %): the file has {}, …; the model knows {}, …",
        best.n_matched,
        100.0 * best.share,
        100.0 * MIN_SHARE,
        theirs.collect::<Vec<_>>().join(", "),
        ours.collect::<Vec<_>>().join(", "),
    );
    Error::file(file, format_args!("gene names in `{}`", column.name), problem)
}

//! The genes that a model knows, and how the genes of a file are found among them.

use super::{CellMatrix, GeneColumn};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The least share of genes (see [`GeneMatch::share`]) with which a file is taken.
pub const MIN_SHARE: f64 = 0.3;

/// One gene of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Gene {
    /// Row of the model's gene embedding.
    pub id: u32,
    /// Approved symbol.
    pub symbol: String,
    /// Ensembl gene id without version; empty where there is none.
    pub ensembl_id: String,
    /// Shannon entropy over the reference population, divided by the log of its size: 0 (one cell has it all) to 1 (all alike).
    pub entropy: f64,
}

/// The genes of a model: `vocab.tsv`, spec section 5.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    genes: Vec<Gene>,
    /// Names to positions in `genes`; `None` where a name means two genes.
    by_ensembl_id: HashMap<String, usize>,
    by_symbol: HashMap<String, Option<usize>>,
    by_alias: HashMap<String, Option<usize>>,
}

/// What a name means in a vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Gene(usize),
    Ambiguous,
    Nothing,
}

const COLUMNS: [&str; 4] = ["id", "symbol", "ensembl_id", "entropy"];

impl Vocabulary {
    /// Reads a `vocab.tsv`: a header `id symbol ensembl_id entropy` and perhaps `aliases`, then one gene a line, tabs between.
    /// `vocab_size` is the model's; `reserved` are its token ids that are no genes.
    ///
    /// # Errors
    /// [`Error::File`] with the line: wrong header, wrong number of columns, an id that is no number, past `vocab_size`, reserved or
    /// given twice, an Ensembl id given twice, a gene without any name, an entropy outside 0 to 1; a file without genes.
    ///
    /// ```
    /// let text = b"id\tsymbol\tensembl_id\tentropy\n7\tCD3D\tENSG00000167286\t0.5\n";
    /// let vocabulary = scdiva::cells::Vocabulary::parse("vocab.tsv", text, 10, &[0])?;
    /// assert_eq!(vocabulary.genes()[0].symbol, "CD3D");
    /// let error = scdiva::cells::Vocabulary::parse("vocab.tsv", text, 7, &[0]).unwrap_err();
    /// assert_eq!(error.to_string(), "vocab.tsv: line 2: id 7 is past the model's vocab_size, 7");
    /// # Ok::<(), scdiva::Error>(())
    /// ```
    pub fn parse(file: &str, bytes: &[u8], vocab_size: usize, reserved: &[u32]) -> Result<Self> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Error::file(file, format_args!("byte {}", error.valid_up_to()), "not UTF-8"))?;
        let mut lines = text.lines().zip(1_usize..);
        let header = lines.next().map_or("", |(line, _)| line);
        let with_aliases = match header.split('\t').collect::<Vec<_>>().as_slice() {
            columns if columns == COLUMNS => false,
            [first @ .., "aliases"] if first == COLUMNS => true,
            _ => {
                let wanted = "the columns id, symbol, ensembl_id, entropy and perhaps aliases, with tabs between";
                return Err(Error::file(
                    file,
                    "line 1",
                    format_args!("the header is `{header}`; wanted {wanted}"),
                ));
            }
        };
        let n_columns = COLUMNS.len() + usize::from(with_aliases);

        let mut vocabulary = Self {
            genes: Vec::new(),
            by_ensembl_id: HashMap::new(),
            by_symbol: HashMap::new(),
            by_alias: HashMap::new(),
        };
        let mut line_of_id = HashMap::new();
        for (line, number) in lines {
            let wrong = |problem: String| Error::file(file, format_args!("line {number}"), problem);
            let columns: Vec<&str> = line.split('\t').collect();
            let &[id, symbol, ensembl_id, entropy, ref aliases @ ..] = columns.as_slice() else {
                return Err(wrong(format!("{} columns; wanted {n_columns}", columns.len())));
            };
            if columns.len() != n_columns {
                return Err(wrong(format!("{} columns; wanted {n_columns}", columns.len())));
            }
            let gene = Gene {
                id: id
                    .parse()
                    .map_err(|_| wrong(format!("id `{id}` is not a whole number from 0 on")))?,
                symbol: symbol.to_owned(),
                ensembl_id: ensembl_id.to_owned(),
                entropy: entropy
                    .parse()
                    .map_err(|_| wrong(format!("entropy `{entropy}` is not a number")))?,
            };
            if usize::try_from(gene.id).is_ok_and(|id| id >= vocab_size) {
                return Err(wrong(format!("id {id} is past the model's vocab_size, {vocab_size}")));
            }
            if reserved.contains(&gene.id) {
                return Err(wrong(format!("id {id} is reserved by the model for a token that is no gene")));
            }
            if !(0.0..=1.0).contains(&gene.entropy) {
                return Err(wrong(format!("entropy {entropy} is outside 0 to 1")));
            }
            if gene.symbol.is_empty() && gene.ensembl_id.is_empty() {
                return Err(wrong("neither a symbol nor an Ensembl id".to_owned()));
            }
            if let Some(first) = line_of_id.insert(gene.id, number) {
                return Err(wrong(format!("id {id} is given twice, first on line {first}")));
            }
            let position = vocabulary.genes.len();
            if !gene.ensembl_id.is_empty() {
                match vocabulary.by_ensembl_id.entry(without_version(&gene.ensembl_id).to_owned()) {
                    Entry::Vacant(entry) => entry.insert(position),
                    Entry::Occupied(_) => return Err(wrong(format!("Ensembl id {ensembl_id} is given twice"))),
                };
            }
            if !gene.symbol.is_empty() {
                add_name(&mut vocabulary.by_symbol, symbol, position);
            }
            for alias in aliases
                .iter()
                .flat_map(|aliases| aliases.split('|'))
                .filter(|alias| !alias.is_empty())
            {
                add_name(&mut vocabulary.by_alias, alias, position);
            }
            vocabulary.genes.push(gene);
        }
        if vocabulary.genes.is_empty() {
            return Err(Error::file(file, "line 2", "no genes; wanted one a line"));
        }
        Ok(vocabulary)
    }

    /// The genes in the order of the file.
    #[must_use]
    pub fn genes(&self) -> &[Gene] {
        &self.genes
    }

    /// How many of these names mean exactly one gene.
    #[must_use]
    pub fn count_known<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> usize {
        names
            .into_iter()
            .filter(|name| matches!(self.find(name), Found::Gene(_)))
            .count()
    }

    fn find_all<'a>(&'a self, names: &'a [String]) -> impl ExactSizeIterator<Item = Found> + 'a {
        names.iter().map(|name| self.find(name))
    }

    /// An Ensembl id, its version dropped, else a symbol, else an alias. A name with two meanings means nothing here: never guess.
    fn find(&self, name: &str) -> Found {
        if let Some(&position) = self.by_ensembl_id.get(without_version(name)) {
            return Found::Gene(position);
        }
        match self.by_symbol.get(name).or_else(|| self.by_alias.get(name)) {
            Some(&Some(position)) => Found::Gene(position),
            Some(None) => Found::Ambiguous,
            None => Found::Nothing,
        }
    }
}

fn add_name(names: &mut HashMap<String, Option<usize>>, name: &str, position: usize) {
    names
        .entry(name.to_owned())
        .and_modify(|known| *known = known.filter(|&known| known == position))
        .or_insert(Some(position));
}

/// `ENSG00000167286.15` → `ENSG00000167286`. Only Ensembl ids have versions: symbols such as `RP11-782C8.1` keep their dot.
fn without_version(name: &str) -> &str {
    match name.split_once('.') {
        Some((id, version)) if id.starts_with("ENS") && !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit()) => id,
        _ => name,
    }
}

/// Which gene of the model each column of a matrix is.
#[derive(Debug, Clone)]
pub struct GeneMatch {
    /// The file's columns of names that were used, the one that fits best first; the others for genes that it does not settle.
    pub columns: Vec<String>,
    /// `[n_genes]`: a position in [`Vocabulary::genes`].
    pub positions: Vec<Option<usize>>,
    /// How many genes of the vocabulary are in the file.
    pub n_matched: usize,
    /// How many columns of the matrix are added to another because both are the same gene.
    pub n_merged: usize,
    /// How many columns of the matrix have a name that means two genes of the vocabulary, and are left out.
    pub n_ambiguous: usize,
    /// Matched genes over the genes of the file or of the vocabulary, whichever are fewer. So a file with all 32,000 genes passes
    /// against a vocabulary of 8,000, and a file of 700 chosen genes too, while a file in another name space does not.
    pub share: f64,
}

impl GeneMatch {
    /// Tries every column of names that the file has. The one with the most genes goes first; what it does not settle is looked up in
    /// the next best, among the columns that reach [`MIN_SHARE`] on their own, so that only columns that do name genes are asked.
    ///
    /// # Errors
    /// [`Error::File`] when less than [`MIN_SHARE`] of the genes match, with names from both sides.
    pub fn new(matrix: &dyn CellMatrix, vocabulary: &Vocabulary) -> Result<Self> {
        let mut columns: Vec<(&GeneColumn, Self)> = matrix
            .gene_columns()
            .iter()
            .map(|column| {
                (
                    column,
                    Self::count(vocabulary, vec![column.name.clone()], vocabulary.find_all(&column.genes)),
                )
            })
            .collect();
        // Stable: of equals the first in the file, which is its index.
        columns.sort_by_key(|(_, matched)| std::cmp::Reverse(matched.n_matched));
        let Some((column, best)) = columns.first() else {
            return Err(Error::file(matrix.file(), "var", "no names of genes"));
        };
        if best.share < MIN_SHARE {
            return Err(too_few(matrix.file(), column, best, vocabulary));
        }
        columns.retain(|(_, matched)| matched.share >= MIN_SHARE);

        let mut found = vec![Found::Nothing; matrix.n_genes()];
        let mut used = Vec::new();
        for (column, _) in columns {
            let mut n_settled = 0;
            for (found, next) in found.iter_mut().zip(vocabulary.find_all(&column.genes)) {
                let settles = match found {
                    Found::Gene(_) => false,
                    Found::Ambiguous => matches!(next, Found::Gene(_)),
                    Found::Nothing => next != Found::Nothing,
                };
                if settles {
                    *found = next;
                    n_settled += usize::from(matches!(next, Found::Gene(_)));
                }
            }
            if n_settled > 0 {
                used.push(column.name.clone());
            }
        }
        Ok(Self::count(vocabulary, used, found.into_iter()))
    }

    /// Counts what was found.
    fn count(vocabulary: &Vocabulary, columns: Vec<String>, found: impl ExactSizeIterator<Item = Found>) -> Self {
        let fewer = found.len().min(vocabulary.genes.len()).max(1);
        let mut seen = vec![false; vocabulary.genes.len()];
        let (mut n_matched, mut n_merged, mut n_ambiguous) = (0, 0, 0);
        let positions = found
            .map(|found| match found {
                Found::Gene(position) => {
                    let seen = seen.get_mut(position)?;
                    *(if *seen { &mut n_merged } else { &mut n_matched }) += 1;
                    *seen = true;
                    Some(position)
                }
                Found::Ambiguous => {
                    n_ambiguous += 1;
                    None
                }
                Found::Nothing => None,
            })
            .collect();
        Self {
            columns,
            positions,
            n_matched,
            n_merged,
            n_ambiguous,
            share: n_matched as f64 / fewer as f64,
        }
    }
}

fn too_few(file: &str, column: &GeneColumn, best: &GeneMatch, vocabulary: &Vocabulary) -> Error {
    let fewer = column.genes.len().min(vocabulary.genes.len());
    let theirs = column
        .genes
        .iter()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .take(3);
    let ours = vocabulary
        .genes
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

//! The genes that a model knows, and what a name means among them.

use super::names::{ensembl_id, genome_prefix, is_title, spelling, without_version};
use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Read;

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

impl Gene {
    /// The symbol, or the id of a gene without one.
    pub(super) fn shown(&self) -> &str {
        if self.symbol.is_empty() {
            &self.ensembl_id
        } else {
            &self.symbol
        }
    }
}

/// The genes of a model: `vocab.tsv`, spec section 5.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    genes: Vec<Gene>,
    /// Names to positions in `genes`; `None` where a name means two genes.
    by_ensembl_id: HashMap<String, usize>,
    by_symbol: Names,
    by_alias: Names,
    /// By what [`spelling`] makes of symbols.
    by_spelling: Names,
    /// The same of aliases such as C1orf112. Others would not do: in small letters RHO, rhodopsin, is an alias of RHOD.
    by_alias_spelling: Names,
    orthologs: Option<Orthologs>,
}

/// Names to positions; `None` where a name means two genes.
type Names = HashMap<String, Option<usize>>;

/// Genes of mouse that are one-to-one orthologs of genes of the vocabulary.
#[derive(Debug, Clone, Default)]
struct Orthologs {
    by_ensembl_id: Names,
    by_symbol: Names,
}

/// How a name was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Id,
    Symbol,
    Alias,
    Spelling,
    /// By what stands before the number that makes names unique.
    Suffix,
}

/// What a name means in a vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Gene(usize, Step),
    Ambiguous,
    Nothing,
}

/// A shorter name is too little to go by when the spelling differs.
const MIN_SPELLING: usize = 3;
/// No table of orthologs is as large.
const MAX_ORTHOLOGS_SIZE: u64 = 64 << 20;

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
            by_symbol: Names::new(),
            by_alias: Names::new(),
            by_spelling: Names::new(),
            by_alias_spelling: Names::new(),
            orthologs: None,
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
                if symbol.len() >= MIN_SPELLING {
                    add_name(&mut vocabulary.by_spelling, &spelling(symbol), position);
                }
            }
            for alias in aliases
                .iter()
                .flat_map(|aliases| aliases.split('|'))
                .filter(|alias| !alias.is_empty())
            {
                add_name(&mut vocabulary.by_alias, alias, position);
                if alias.contains("orf") {
                    add_name(&mut vocabulary.by_alias_spelling, &spelling(alias), position);
                }
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

    /// Adds what genes of mouse mean: a table of one-to-one orthologs with the columns `mouse_id`, `mouse_symbol` and `human_id`, tabs
    /// between, perhaps gzip-compressed. Pairs whose human gene is not in the vocabulary are left out.
    ///
    /// # Errors
    /// [`Error::File`] with the line: wrong header, wrong number of columns, not UTF-8; with the file: broken gzip, no pair of these genes.
    pub fn add_mouse_orthologs(&mut self, file: &str, bytes: &[u8]) -> Result<()> {
        let mut unpacked = Vec::new();
        let bytes = if bytes.starts_with(b"\x1f\x8b") {
            let read = MultiGzDecoder::new(bytes).take(MAX_ORTHOLOGS_SIZE).read_to_end(&mut unpacked);
            read.map_err(|error| Error::file(file, "gzip", error))?;
            &unpacked
        } else {
            bytes
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Error::file(file, format_args!("byte {}", error.valid_up_to()), "not UTF-8"))?;
        let mut orthologs = Orthologs::default();
        for (line, number) in text.lines().zip(1_usize..) {
            let wrong = |problem: &str| Error::file(file, format_args!("line {number}"), problem);
            if number == 1 {
                if line != "mouse_id\tmouse_symbol\thuman_id" {
                    return Err(wrong(
                        "wanted the columns mouse_id, mouse_symbol and human_id, with tabs between",
                    ));
                }
                continue;
            }
            let &[mouse_id, mouse_symbol, human_id] = line.split('\t').collect::<Vec<_>>().as_slice() else {
                return Err(wrong("wanted three columns, with tabs between"));
            };
            let position = self.by_ensembl_id.get(human_id).copied();
            for (names, name) in [
                (&mut orthologs.by_ensembl_id, mouse_id),
                (&mut orthologs.by_symbol, mouse_symbol),
            ] {
                if !name.is_empty() {
                    // A name that comes twice is kept as one with two meanings, whether or not the model knows both.
                    match (names.entry(name.to_owned()), position) {
                        (Entry::Occupied(mut known), _) => *known.get_mut() = None,
                        (Entry::Vacant(entry), Some(position)) => {
                            entry.insert(Some(position));
                        }
                        (Entry::Vacant(_), None) => {}
                    }
                }
            }
        }
        if orthologs.by_ensembl_id.is_empty() {
            return Err(Error::file(file, "table", "no pair with a gene of the vocabulary"));
        }
        self.orthologs = Some(orthologs);
        Ok(())
    }

    /// Whether [`Vocabulary::add_mouse_orthologs`] went before.
    #[must_use]
    pub const fn knows_mouse(&self) -> bool {
        self.orthologs.is_some()
    }

    /// How many of these names are those of genes: of this vocabulary, of their orthologs in mouse, or Ensembl ids of any species. For
    /// telling genes from cells; whether the genes can be used is another question.
    #[must_use]
    pub fn count_known<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> usize {
        let is_gene = |name: &str| {
            let is_known = |found| matches!(found, Found::Gene(..));
            is_known(self.find(name, false)) || is_known(self.find_mouse(name)) || ensembl_id(name).is_some()
        };
        let name = |name: &'a str| genome_prefix(name).map_or(name, |(_, _, rest)| rest);
        names.into_iter().map(name).filter(|name| is_gene(name)).count()
    }

    /// An Ensembl id, its version dropped, else a symbol, else an alias, else a symbol in another spelling. A name with two meanings
    /// means nothing: never guess. Names written like those of mouse, `Cd3d`, are no other spelling of human ones unless `any_case`.
    pub(super) fn find(&self, name: &str, any_case: bool) -> Found {
        if let Some(&position) = self.by_ensembl_id.get(without_version(name)) {
            return Found::Gene(position, Step::Id);
        }
        let symbol = match ensembl_id(name) {
            Some(found) => match self.by_ensembl_id.get(found.id) {
                Some(&position) => return Found::Gene(position, Step::Id),
                // Perhaps an id of another year; the symbol beside it may still be known.
                None => found.rest,
            },
            None => name,
        };
        if symbol.is_empty() {
            return Found::Nothing;
        }
        let exact = [(&self.by_symbol, Step::Symbol), (&self.by_alias, Step::Alias)];
        if let Some(found) = first(symbol, exact) {
            return found;
        }
        if symbol.len() < MIN_SPELLING || (is_title(symbol) && !any_case) {
            return Found::Nothing;
        }
        let spelled = [(&self.by_spelling, Step::Spelling), (&self.by_alias_spelling, Step::Spelling)];
        first(&spelling(symbol), spelled).unwrap_or(Found::Nothing)
    }

    /// The gene whose one-to-one ortholog in mouse has this id or symbol.
    pub(super) fn find_mouse(&self, name: &str) -> Found {
        let Some(orthologs) = &self.orthologs else {
            return Found::Nothing;
        };
        let found = match ensembl_id(name) {
            Some(found) => {
                let by_id = first(found.id, [(&orthologs.by_ensembl_id, Step::Id)]);
                by_id.or_else(|| first(found.rest, [(&orthologs.by_symbol, Step::Symbol)]))
            }
            None => first(name, [(&orthologs.by_symbol, Step::Symbol)]),
        };
        found.unwrap_or(Found::Nothing)
    }
}

/// What the first of these that knows the name says.
fn first<const N: usize>(name: &str, steps: [(&Names, Step); N]) -> Option<Found> {
    let (position, step) = steps
        .into_iter()
        .find_map(|(names, step)| names.get(name).map(|&position| (position, step)))?;
    Some(position.map_or(Found::Ambiguous, |position| Found::Gene(position, step)))
}

fn add_name(names: &mut Names, name: &str, position: usize) {
    names
        .entry(name.to_owned())
        .and_modify(|known| *known = known.filter(|&known| known == position))
        .or_insert(Some(position));
}

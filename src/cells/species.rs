//! Whose genes the names in a file are.

use super::GeneColumn;
use super::names::{ensembl_id, genome_prefix, is_title};
use crate::error::{Error, Result};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::str::FromStr;

/// A species whose genes a model can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Species {
    /// Names are looked up as they are.
    Human,
    /// Names are translated to those of one-to-one human orthologs; genes without one are left out.
    Mouse,
}

impl FromStr for Species {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "human" => Ok(Self::Human),
            "mouse" => Ok(Self::Mouse),
            other => Err(Error::argument(
                "open",
                "species",
                format_args!("{other:?}, wanted human or mouse"),
            )),
        }
    }
}

/// What the names of genes say about the species.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recognition {
    /// `human`, `mouse`, `zebrafish`, …, or `human and mouse`; `None` when the names do not say.
    pub species: Option<String>,
    /// What it was told by, in words.
    pub evidence: String,
}

/// What stands between `ENS` and `G` in the ids of genes.
const ENSEMBL_SPECIES: [(&str, &str); 19] = [
    ("ENS", "human"),
    ("ENSMUS", "mouse"),
    ("ENSRNO", "rat"),
    ("ENSMFA", "crab-eating macaque"),
    ("ENSMMU", "rhesus macaque"),
    ("ENSPTR", "chimpanzee"),
    ("ENSGGO", "gorilla"),
    ("ENSCJA", "marmoset"),
    ("ENSMIC", "mouse lemur"),
    ("ENSSSC", "pig"),
    ("ENSBTA", "cow"),
    ("ENSOAR", "sheep"),
    ("ENSECA", "horse"),
    ("ENSCAF", "dog"),
    ("ENSFCA", "cat"),
    ("ENSOCU", "rabbit"),
    ("ENSGAL", "chicken"),
    ("ENSXET", "frog"),
    ("ENSDAR", "zebrafish"),
];
/// A column's names are ids, or have a prefix, when at least this share of them has it.
const MOST: f64 = 0.5;
/// A species is the only one when this share of the ids is its.
const NEARLY_ALL: f64 = 0.9;
/// Fewer symbols say nothing by their letters.
const MIN_SYMBOLS: usize = 20;

/// Tells the species, by prefixes of genomes, by Ensembl ids, or by how symbols are written, in this order.
pub(super) fn recognise(columns: &[GeneColumn]) -> Recognition {
    by(columns, |name| {
        genome_prefix(name).map(|(genome, species, _)| (species, format!("the prefix {genome}")))
    })
    .or_else(|| {
        by(columns, |name| {
            id_species(name).map(|species| (species, "Ensembl ids".to_owned()))
        })
    })
    .or_else(|| columns.iter().find_map(|column| by_letters(&column.genes)))
    .unwrap_or_else(|| Recognition {
        species: None,
        evidence: "the names do not tell".to_owned(),
    })
}

fn id_species(name: &str) -> Option<&'static str> {
    if let Some(found) = ensembl_id(name) {
        let known = ENSEMBL_SPECIES.into_iter().find(|(prefix, _)| *prefix == found.species);
        return Some(known.map_or("another species", |(_, species)| species));
    }
    let (letters, digits) = name.split_at_checked(4)?;
    let species = match letters {
        "FBgn" => "fruit fly",
        "WBGe" => return name.strip_prefix("WBGene").map(|_| "roundworm"),
        _ => return None,
    };
    digits.bytes().all(|b| b.is_ascii_digit()).then_some(species)
}

/// By what single names say, in the first column of which most names say something.
fn by(columns: &[GeneColumn], says: impl Fn(&str) -> Option<(&'static str, String)>) -> Option<Recognition> {
    columns.iter().find_map(|column| {
        let mut counts: BTreeMap<&str, (usize, String)> = BTreeMap::new();
        let (mut n_names, mut n_saying) = (0_usize, 0_usize);
        for name in column.genes.iter().filter(|name| !name.is_empty()) {
            n_names += 1;
            if let Some((species, how)) = says(name) {
                n_saying += 1;
                let count = counts
                    .entry(species)
                    .or_insert_with(|| (0, format!("{how} as in {name}, in `{}`", column.name)));
                count.0 += 1;
            }
        }
        let share = |n: usize, of: usize| n as f64 / of.max(1) as f64;
        if share(n_saying, n_names) < MOST {
            return None;
        }
        let (&most, (n_most, evidence)) = counts.iter().max_by_key(|(_, (n, _))| *n)?;
        let others = || counts.iter().filter(|(species, _)| **species != most);
        if share(*n_most, n_saying) >= NEARLY_ALL {
            return Some(Recognition {
                species: Some(most.to_owned()),
                evidence: evidence.clone(),
            });
        }
        let mut all = vec![most];
        all.extend(others().map(|(species, _)| *species));
        let evidence: Vec<&str> = counts.values().map(|(_, evidence)| evidence.as_str()).collect();
        Some(Recognition {
            species: Some(all.join(" and ")),
            evidence: evidence.join("; "),
        })
    })
}

/// Whether it is a place in a genome, as peaks are called: `chr1:100-200`, `chr1-100-200`.
fn is_region(name: &str) -> bool {
    name.starts_with("chr") && name.contains([':', '-'])
}

/// By the letters of symbols: CD3D in human, Cd3d in mouse and rat, cd3d in fish and frog.
fn by_letters(names: &[String]) -> Option<Recognition> {
    let is_symbol = |name: &&str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-._@:/()".contains(c);
        (2..=20).contains(&name.len())
            && !is_region(name)
            && name.chars().all(is_part)
            && name.contains(|c: char| c.is_ascii_alphabetic())
            && id_species(name).is_none()
    };
    let n_names = names.iter().filter(|name| !name.is_empty() && !is_region(name)).count();
    let symbols: HashSet<&str> = names.iter().map(String::as_str).filter(is_symbol).collect();
    // A column of kinds or chromosomes says few things many times.
    if symbols.len() < MIN_SYMBOLS || 2 * symbols.len() < n_names {
        return None;
    }
    let is_upper = |name: &str| !name.contains(|c: char| c.is_ascii_lowercase()) || name.contains("orf");
    let is_lower = |name: &str| !name.contains(|c: char| c.is_ascii_uppercase());
    let count = |is: &dyn Fn(&str) -> bool| symbols.iter().filter(|name| is(name)).count();
    let share = |n: usize| n as f64 / symbols.len() as f64;
    let (upper, title, lower) = (share(count(&is_upper)), share(count(&is_title)), share(count(&is_lower)));
    let examples = |is: &dyn Fn(&str) -> bool| {
        // The file's order, not the set's.
        let mut examples = names
            .iter()
            .map(String::as_str)
            .filter(|name| symbols.contains(name) && is(name));
        let with_more_letters = examples.clone().find(|name| name.len() > 3);
        with_more_letters.or_else(|| examples.next()).unwrap_or_default().to_owned()
    };
    let (species, evidence) = if upper >= 0.2 && title >= 0.2 {
        let (human, mouse) = (examples(&is_upper), examples(&is_title));
        (
            "human and mouse",
            format!("symbols such as {human} and others such as {mouse}"),
        )
    } else if title >= 0.6 {
        let example = examples(&is_title);
        ("mouse", format!("symbols such as {example}, which rat has too"))
    } else if upper >= 0.6 {
        let example = examples(&is_upper);
        ("human", format!("symbols such as {example}, in capitals"))
    } else if lower >= 0.6 {
        let example = examples(&is_lower);
        ("zebrafish or frog", format!("symbols such as {example}, in small letters"))
    } else {
        return None;
    };
    Some(Recognition {
        species: Some(species.to_owned()),
        evidence,
    })
}

/// The species to go on with: what the user says, or what the names say when that is human or nothing.
///
/// # Errors
/// [`Error::File`] when the genes are of another species, with what to do.
pub(super) fn decide(file: &str, found: &Recognition, chosen: Option<Species>, knows_mouse: bool) -> Result<Species> {
    let species = found.species.as_deref();
    let wrong = |problem: String| Error::file(file, "species", problem);
    let evidence = &found.evidence;
    match (chosen, species) {
        (Some(Species::Human), _) => Ok(Species::Human),
        (Some(Species::Mouse), Some("human")) if !evidence.starts_with("symbols") => Err(wrong(format!(
            "mouse was chosen, but the genes are of human ({evidence}); choose human, or leave the choice to the names"
        ))),
        (Some(Species::Mouse), _) if knows_mouse => Ok(Species::Mouse),
        (Some(Species::Mouse), _) => Err(wrong(
            "mouse was chosen, but the model has no table of orthologs, orthologs_mouse.tsv.gz".to_owned(),
        )),
        (None, None) => Ok(Species::Human),
        (None, Some(species)) if species.split(" and ").any(|species| species == "human") => Ok(Species::Human),
        (None, Some("mouse")) => {
            let way = if knows_mouse {
                "choose the species mouse (`--species mouse`) to map genes to their one-to-one human orthologs, which the results will say"
            } else {
                "the model has no table of orthologs, orthologs_mouse.tsv.gz, so map the genes to human orthologs first"
            };
            Err(wrong(format!(
                "the genes are of mouse ({evidence}), and the model knows those of human: {way}; or choose human (`--species human`) if the genes are of human"
            )))
        }
        (None, Some(species)) => Err(wrong(format!(
            "the genes are of {species} ({evidence}), and the model knows those of human: map them to human orthologs first, for example with \
             Ensembl BioMart; or choose human (`--species human`) if the genes are of human"
        ))),
    }
}

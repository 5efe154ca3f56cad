//! What was found in a file and what was decided about it, as a person reads it.

use super::{Droplets, GeneReport, NameKind, NameList, Species, ValueReport};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// What was found in a file, and everything that was decided about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputReport {
    /// The file's name as the user gave it.
    pub file: String,
    /// [`super::CellMatrix::format`].
    pub format: String,
    /// What was read in it: [`super::CellMatrix::matrix`].
    pub matrix: String,
    /// [`super::CellMatrix::notes`].
    pub notes: Vec<String>,
    /// Cells, without the droplets that were left out.
    pub n_cells: usize,
    /// Genes in the file.
    pub n_genes: usize,
    /// The empty droplets that were left out; `None` where all barcodes are taken for cells.
    pub droplets: Option<DropletReport>,
    /// How the genes were found.
    pub genes: GeneReport,
    /// What the values are.
    pub values: ValueReport,
}

/// The empty droplets that were left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DropletReport {
    /// How many.
    pub n_dropped: usize,
    /// [`Droplets::n_barcodes`].
    pub n_barcodes: usize,
    /// [`Droplets::min_counts`].
    pub min_counts: u64,
    /// [`Droplets::chosen`].
    pub chosen: bool,
}

impl DropletReport {
    pub(super) const fn of(droplets: &Droplets) -> Self {
        Self {
            n_dropped: droplets.n_barcodes - droplets.kept.len(),
            n_barcodes: droplets.n_barcodes,
            min_counts: droplets.min_counts,
            chosen: droplets.chosen,
        }
    }
}

impl Display for DropletReport {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (dropped, barcodes, least) = (whole(self.n_dropped), whole(self.n_barcodes), whole_64(self.min_counts));
        let what = if self.chosen {
            "cells"
        } else {
            "barcodes are empty droplets and"
        };
        write!(out, "{dropped} of {barcodes} {what} were left out: fewer than {least} counts")?;
        if self.chosen {
            write!(out, ", as was asked")
        } else {
            write!(
                out,
                ", a tenth of what the largest cells have (the matrix is unfiltered); set the least counts to keep others, 0 keeps all"
            )
        }
    }
}

impl Display for InputReport {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (cells, genes) = (whole(self.n_cells), whole(self.n_genes));
        writeln!(out, "{}: {cells} cells × {genes} genes, read from {}", self.file, self.matrix)?;
        for note in &self.notes {
            writeln!(out, "  {note}")?;
        }
        if let Some(droplets) = &self.droplets {
            writeln!(out, "  {droplets}")?;
        }
        for line in self.genes.lines() {
            writeln!(out, "  {line}")?;
        }
        write!(out, "  values: {}", self.values.text)?;
        if let Some(empty) = self.values.empty_cells() {
            write!(out, "\n  {empty}")?;
        }
        Ok(())
    }
}

impl GeneReport {
    /// What matters of it in a few sentences, the first of which begins with `genes:`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.species == Species::Mouse {
            lines.push(format!(
                "mouse mapped to human: genes are taken for their one-to-one human orthologs, as was asked ({})",
                self.recognition.evidence
            ));
        }
        if let Some(species) = self
            .recognition
            .species
            .as_deref()
            .filter(|species| species.contains(" and "))
        {
            lines.push(format!(
                "genes of {species} ({}); only those of human are used, and the cells of another species get labels that mean nothing",
                self.recognition.evidence
            ));
        }
        let columns: Vec<String> = self.columns.iter().map(|column| format!("`{}`", column.name)).collect();
        let of = if self.n_genes < self.n_vocabulary {
            "the file's"
        } else {
            "the model's"
        };
        let mut first = format!(
            "genes: {} of the model's {} found by {} ({:.1} % of {of})",
            whole(self.n_matched),
            whole(self.n_vocabulary),
            columns.join(" and "),
            100.0 * self.share
        );
        if let Some(genome) = &self.genome {
            first.push_str(&format!(", the prefix {genome} taken off"));
        }
        lines.push(first);
        let mut say = |names: &NameList, what: &str| {
            if names.n > 0 {
                lines.push(format!("{} {what}: {names}", whole(names.n)));
            }
        };
        say(&self.by_alias, "of these by a previous symbol or an alias");
        say(&self.by_spelling, "of these in another spelling");
        say(
            &self.by_suffix,
            "of these by the name before a number that was added to make it unique",
        );
        say(&self.merged, "added to another, being the same gene again");
        say(&self.ambiguous, "left out, since the name means two genes");
        say(
            &self.dates,
            "left out as dates, which a spreadsheet makes of genes such as SEPT2",
        );
        say(&self.other_genome, "left out, being of another genome");
        lines
    }

    /// How the genes were found, all steps in one sentence.
    #[must_use]
    pub fn steps(&self) -> String {
        let steps = [
            (&self.by_id, "by Ensembl id"),
            (&self.by_symbol, "by symbol"),
            (&self.by_alias, "by previous symbol or alias"),
            (&self.by_spelling, "by another spelling"),
            (&self.by_suffix, "by the name before an added number"),
        ];
        let steps = steps.into_iter().filter(|(names, _)| names.n > 0);
        steps
            .map(|(names, how)| format!("{} {how}", whole(names.n)))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl ValueReport {
    /// A sentence about cells that have no counts, when some were seen.
    #[must_use]
    pub fn empty_cells(&self) -> Option<String> {
        let (empty, sampled) = (whole(self.n_empty_cells), whole(self.n_sampled_cells));
        (self.n_empty_cells > 0)
            .then(|| format!("{empty} of the {sampled} cells that were looked at have no counts; such cells get an empty answer"))
    }
}

impl Display for NameList {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.first.join(", "))?;
        if self.n > self.first.len() {
            write!(out, ", …")?;
        }
        Ok(())
    }
}

impl Display for NameKind {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ensembl => "Ensembl ids",
            Self::Symbol => "symbols",
            Self::Mixed => "Ensembl ids and symbols",
        })
    }
}

/// 32738 → `32,738`
pub(super) fn whole(n: usize) -> String {
    whole_64(n as u64)
}

fn whole_64(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

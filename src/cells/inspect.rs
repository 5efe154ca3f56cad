//! What can be said about a matrix before it is used, also about one that cannot be.

use super::report::whole;
use super::species::recognise;
use super::tokens::look_at_values;
use super::{
    CellColumn, CellMatrix, DropletReport, GeneMatch, GeneReport, MatchOptions, NameColumn, Preprocess, Recognition, ValueReport,
    Vocabulary,
};
use serde::Serialize;
use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};

/// Beyond this many cells the columns of `obs` are not read to count what is in them.
const MAX_CELLS_TO_COUNT: usize = 2_000_000;
/// A grouping of cells has no more groups.
const MAX_GROUPS: usize = 500;

/// A column that the file has about its cells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CellColumnReport {
    /// Its name.
    pub name: String,
    /// `categories` or `numbers`; `unread` where it could not be read, or the file is too large to count in passing.
    pub kind: &'static str,
    /// How many different categories, or whole numbers, the cells have; `None` where they are other numbers.
    pub n_categories: Option<usize>,
    /// Whether it seems to hold clusters or cell types, by its name.
    pub is_grouping: bool,
}

/// What a file is to a model: all that was found, and why it cannot be used if it cannot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The file's name as the user gave it.
    pub file: String,
    /// [`CellMatrix::format`].
    pub format: String,
    /// What is read in it: [`CellMatrix::matrix`].
    pub matrix: String,
    /// [`CellMatrix::matrices`].
    pub matrices: Vec<String>,
    /// [`CellMatrix::notes`].
    pub notes: Vec<String>,
    /// Cells, without the droplets that are left out.
    pub n_cells: usize,
    /// Genes in the file.
    pub n_genes: usize,
    /// The empty droplets that are left out; `None` where all barcodes are taken for cells.
    pub droplets: Option<DropletReport>,
    /// What the names of the genes say about the species.
    pub recognition: Recognition,
    /// Every column that may name genes.
    pub gene_columns: Vec<NameColumn>,
    /// How the genes are found; `None` when they are not.
    pub genes: Option<GeneReport>,
    /// What the values are; `None` when they cannot be used.
    pub values: Option<ValueReport>,
    /// What the file says about its cells.
    pub cell_columns: Vec<CellColumnReport>,
    /// [`CellMatrix::embeddings`].
    pub embeddings: Vec<String>,
    /// Why the file cannot be used; `None` when it can.
    pub problem: Option<String>,
}

/// Looks at a matrix: genes, values, and what is said about the cells. What is wrong with it is part of the answer. Without a `vocabulary`,
/// as for a model without `vocab.tsv`, the genes are not looked up, and `problem` says so.
#[must_use]
pub fn inspect(
    matrix: &dyn CellMatrix,
    vocabulary: Option<&Vocabulary>,
    preprocess: &Preprocess,
    options: &MatchOptions,
) -> Inspection {
    let genes = match vocabulary {
        Some(vocabulary) => GeneMatch::new(matrix, vocabulary, options)
            .map(|matched| matched.report)
            .map_err(|error| error.to_string()),
        None => Err("the model has no vocab.tsv, so it knows no gene by name".to_owned()),
    };
    let values = look_at_values(matrix, preprocess)
        .map(|(sample, values, arithmetic)| sample.report(&values, arithmetic.conversion, preprocess.target_sum))
        .map_err(|error| error.to_string());
    let problems: Vec<String> = [genes.as_ref().err(), values.as_ref().err()]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    Inspection {
        file: matrix.file().to_owned(),
        format: matrix.format().to_owned(),
        matrix: matrix.matrix().to_owned(),
        matrices: matrix.matrices().to_vec(),
        notes: matrix.notes().to_vec(),
        n_cells: matrix.n_cells(),
        n_genes: matrix.n_genes(),
        droplets: matrix.droplets().map(DropletReport::of),
        recognition: recognise(matrix.gene_columns()),
        gene_columns: matrix.gene_columns().iter().map(NameColumn::of).collect(),
        genes: genes.ok(),
        values: values.ok(),
        cell_columns: matrix.cell_columns().iter().map(|name| cell_column(matrix, name)).collect(),
        embeddings: matrix.embeddings().to_vec(),
        problem: (!problems.is_empty()).then(|| problems.join("\n")),
    }
}

fn cell_column(matrix: &dyn CellMatrix, name: &str) -> CellColumnReport {
    let column = if matrix.n_cells() > MAX_CELLS_TO_COUNT {
        None
    } else {
        // A column that cannot be read is no reason not to read the matrix.
        matrix.cell_column(name).ok().flatten()
    };
    let (kind, n_categories) = match column {
        Some(CellColumn::Categories { codes, .. }) => {
            let used: HashSet<u32> = codes.into_iter().flatten().collect();
            ("categories", Some(used.len()))
        }
        Some(CellColumn::Numbers(numbers)) => {
            let is_whole = |number: &&f64| number.fract() == 0.0;
            let whole: HashSet<u64> = numbers.iter().filter(is_whole).map(|number| number.to_bits()).collect();
            let all_whole = numbers.iter().all(|number| number.is_nan() || number.fract() == 0.0);
            ("numbers", all_whole.then_some(whole.len()))
        }
        None => ("unread", None),
    };
    CellColumnReport {
        name: name.to_owned(),
        kind,
        n_categories,
        is_grouping: is_grouping(name) && n_categories.is_some_and(|n| (1..=MAX_GROUPS).contains(&n)),
    }
}

/// Names that clusters and cell types have in the tools of the field.
fn is_grouping(name: &str) -> bool {
    const PARTS: [&str; 9] = [
        "leiden",
        "louvain",
        "cluster",
        "cell_type",
        "celltype",
        "cell type",
        "_snn_res",
        "annotation",
        "phenograph",
    ];
    let lower = name.to_lowercase();
    PARTS.iter().any(|part| lower.contains(part))
        || ["ident", "active.ident", "label", "labels", "cell.type", "class"].contains(&lower.as_str())
}

/// A label and its text, the text aligned.
fn line(out: &mut Formatter<'_>, label: &str, text: impl Display) -> fmt::Result {
    writeln!(out, "  {label:<10} {text}")
}

impl Display for Inspection {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.file)?;
        line(out, "format", &self.format)?;
        line(
            out,
            "size",
            format_args!("{} cells × {} genes", whole(self.n_cells), whole(self.n_genes)),
        )?;
        let others: Vec<&str> = self
            .matrices
            .iter()
            .map(String::as_str)
            .filter(|name| *name != self.matrix)
            .collect();
        match others.as_slice() {
            [] => line(out, "matrix", &self.matrix)?,
            others => line(
                out,
                "matrix",
                format_args!("{} (the file also has {})", self.matrix, others.join(", ")),
            )?,
        }
        for note in &self.notes {
            line(out, "", note)?;
        }
        if let Some(droplets) = &self.droplets {
            line(out, "droplets", droplets)?;
        }
        if let Some(values) = &self.values {
            line(out, "values", &values.text)?;
            let of = if values.n_sampled_cells == self.n_cells {
                "all cells".to_owned()
            } else {
                format!("{} cells spread over the file", whole(values.n_sampled_cells))
            };
            let (genes, what) = (
                whole(values.median_genes),
                if values.kind.is_counts() { "counts" } else { "in sum" },
            );
            line(
                out,
                "",
                format_args!(
                    "a cell has {:.0} {what}, in {genes} genes (median of {of})",
                    values.median_sum
                ),
            )?;
            if let Some(empty) = values.empty_cells() {
                line(out, "", empty)?;
            }
        }
        line(
            out,
            "species",
            match &self.recognition.species {
                Some(species) => format!("{species}: {}", self.recognition.evidence),
                None => self.recognition.evidence.clone(),
            },
        )?;
        let columns: Vec<String> = self
            .gene_columns
            .iter()
            .map(|column| format!("{} ({})", column.name, column.kind))
            .collect();
        line(out, "gene names", columns.join(", "))?;
        if let Some(genes) = &self.genes {
            for text in genes.lines() {
                match text.strip_prefix("genes: ") {
                    Some(text) => {
                        line(out, "genes", text)?;
                        line(out, "", genes.steps())?;
                    }
                    None => line(out, "", text)?,
                }
            }
            if genes.unmatched.n > 0 {
                line(
                    out,
                    "",
                    format_args!(
                        "{} genes of the file the model does not know: {}",
                        whole(genes.unmatched.n),
                        genes.unmatched
                    ),
                )?;
            }
            if genes.missing.n > 0 {
                line(
                    out,
                    "",
                    format_args!(
                        "{} genes of the model the file lacks: {}",
                        whole(genes.missing.n),
                        genes.missing
                    ),
                )?;
            }
        }
        let columns: Vec<String> = self
            .cell_columns
            .iter()
            .map(|column| match (column.kind, column.n_categories) {
                ("categories", Some(1)) => format!("{} (1 value)", column.name),
                ("categories", Some(n)) => format!("{} ({} values)", column.name, whole(n)),
                (kind, _) => format!("{} ({kind})", column.name),
            })
            .collect();
        if !columns.is_empty() {
            line(out, "cells", columns.join(", "))?;
        }
        let groupings = self.cell_columns.iter().filter(|column| column.is_grouping);
        let groupings: Vec<&str> = groupings.map(|column| column.name.as_str()).collect();
        if !groupings.is_empty() {
            let text = format_args!("{}: clusters or cell types, by the name", groupings.join(", "));
            line(out, "groups", text)?;
        }
        if !self.embeddings.is_empty() {
            line(out, "embeddings", self.embeddings.join(", "))?;
        }
        match &self.problem {
            Some(problem) => write!(out, "  cannot be annotated: {problem}"),
            None => write!(out, "  ready to be annotated"),
        }
    }
}

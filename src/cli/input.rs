//! How a matrix is read: the same arguments for every command that reads one.

use clap::{Args, ValueEnum};
use scdiva::cells::{MatchOptions, Species};
use scdiva::read::OpenOptions;

/// What is found out about a matrix, unless it is said here.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How the matrix is read")]
pub(super) struct Input {
    /// Which matrix of the file: X, raw/X, or the name of a layer [default: counts, if there are any]
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Which column names the genes [default: whichever fits best]
    #[arg(long, value_name = "NAME")]
    gene_column: Option<String>,
    /// Whose genes they are; `mouse` maps them to their one-to-one human orthologs [default: told by their names]
    #[arg(long, value_enum)]
    species: Option<SpeciesName>,
    /// The least counts of a cell; 0 keeps all [default: all cells, but for the empty droplets of an unfiltered matrix]
    #[arg(long, value_name = "N")]
    min_counts: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SpeciesName {
    Human,
    Mouse,
}

impl Input {
    /// What concerns the file.
    pub(super) fn open_options(&self) -> OpenOptions {
        let mut options = OpenOptions::default();
        options.layer.clone_from(&self.layer);
        options.min_counts = self.min_counts;
        options
    }

    /// What concerns its genes.
    pub(super) fn match_options(&self) -> MatchOptions {
        let mut options = self.species_options();
        options.gene_column.clone_from(&self.gene_column);
        options
    }

    /// What also concerns the genes of another matrix of the same species.
    pub(super) fn species_options(&self) -> MatchOptions {
        let mut options = MatchOptions::default();
        options.species = self.species.map(|species| match species {
            SpeciesName::Human => Species::Human,
            SpeciesName::Mouse => Species::Mouse,
        });
        options
    }
}

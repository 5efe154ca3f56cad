//! `scdiva fit`, and what `scdiva annotate --reference` shares with it.

use super::Outcome;
use super::heads::HeadPlace;
use super::input::Input;
use super::session::{DeviceArgs, Session, progress_bar, show};
use clap::Args;
use scdiva::cells::MatchOptions;
use scdiva::model::Head;
use scdiva::read::{self, Files, OpenOptions};
use scdiva::tasks::{CellLabels, FitOptions};
use scdiva::{Result, ScDiVa};
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, Args)]
pub(super) struct Fit {
    /// Cells whose types are known, in any format that has columns of cells, such as .h5ad
    #[arg(value_name = "REFERENCE")]
    reference: PathBuf,
    /// The obs column with the types
    #[arg(long, value_name = "COLUMN")]
    label_key: String,
    /// Where the head goes: a name, to be given to `annotate --head` as it is, or a file that ends with .safetensors
    #[arg(long, value_name = "NAME|FILE")]
    save_head: String,
    /// Replace a saved head of this name
    #[arg(long)]
    replace: bool,
    /// Of a type with more cells, use only so many, evenly spread over the file
    #[arg(long, value_name = "N", default_value_t = FitOptions::default().most_cells)]
    reference_cells: usize,
    #[command(flatten)]
    how: Input,
    #[command(flatten)]
    device: DeviceArgs,
}

/// A reference, and how it is read.
pub(super) struct Reference<'a> {
    pub(super) path: &'a Path,
    pub(super) label_key: &'a str,
    pub(super) most_cells: usize,
    pub(super) open_options: OpenOptions,
    pub(super) match_options: MatchOptions,
}

impl Fit {
    pub(super) async fn run(self, session: &Session) -> Result<Outcome> {
        let place = HeadPlace::new(&session.model_files()?, &self.save_head, self.replace, false)?;
        let mut scdiva = session.open(&self.device).await?;
        let reference = Reference {
            path: &self.reference,
            label_key: &self.label_key,
            most_cells: self.reference_cells,
            open_options: self.how.open_options(),
            match_options: self.how.match_options(),
        };
        reference.fit(&mut scdiva, Some(&place)).await?;
        Ok(Outcome::Done)
    }
}

impl Reference<'_> {
    /// Fits a head, says how good it is, and saves it where that is asked for.
    ///
    /// # Errors
    /// What [`CellLabels::of_column`] and [`ScDiVa::fit_head`] say; [`scdiva::Error::Io`] when it cannot be saved.
    pub(super) async fn fit(&self, scdiva: &mut ScDiVa, place: Option<&HeadPlace>) -> Result<Head> {
        let start = Instant::now();
        let files = Files::from_path(self.path)?;
        let matrix = read::open(&files, &self.open_options, scdiva.vocabulary())?;
        let labels = CellLabels::of_column(matrix.as_ref(), self.label_key)?;
        let mut options = FitOptions {
            most_cells: self.most_cells,
            ..FitOptions::default()
        };
        if let Some(place) = place {
            options.name.clone_from(&place.name);
        }
        // Cells of each type are few, so how many there will be is told with the first of them.
        let mut bar = None;
        let mut embedded = None;
        let fitted = scdiva
            .fit_head(matrix.as_ref(), &self.match_options, &labels, &options, &mut |progress| {
                let bar = bar.get_or_insert_with(|| progress_bar(progress.n_cells));
                if progress.n_done == progress.n_cells {
                    embedded.get_or_insert_with(Instant::now);
                }
                show(bar, 0)(progress)
            })
            .await?;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        say!("{}", fitted.report);
        let fit = embedded.map_or(0.0, |embedded| embedded.elapsed().as_secs_f64());
        let all = start.elapsed().as_secs_f64();
        say!("  {all:.1} s, {fit:.1} of them for the fit");
        if let Some(place) = place {
            place.write(&fitted.file)?;
        }
        Ok(fitted.head)
    }
}

//! `scdiva inspect`.

use super::Outcome;
use super::input::Input;
use super::session::{Session, io_error};
use clap::Args;
use scdiva::Result;
use scdiva::cells::inspect;
use scdiva::read::{self, Files};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The matrix: a file, or the folder of a 10x matrix
    input: PathBuf,
    #[command(flatten)]
    how: Input,
    /// Write it as JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(super) fn run(self, session: &Session) -> Result<Outcome> {
        let model = session.model_files()?;
        let config = model.config()?;
        let vocabulary = model.vocabulary(&config)?;
        let matrix = read::open(&Files::from_path(&self.input)?, &self.how.open_options(), vocabulary.as_ref())?;
        let found = inspect(
            matrix.as_ref(),
            vocabulary.as_ref(),
            &config.preprocess,
            &self.how.match_options(),
        );
        let mut out = io::stdout().lock();
        let written = if self.json {
            serde_json::to_writer_pretty(&mut out, &found)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out))
        } else {
            writeln!(out, "{found}")
        };
        written.map_err(io_error(Path::new("stdout")))?;
        Ok(match found.problem {
            None => Outcome::Done,
            Some(_) => Outcome::NothingAnnotated,
        })
    }
}

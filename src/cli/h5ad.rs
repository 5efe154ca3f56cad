//! Results in an `.h5ad`: the user's own, or one that is made of another format.

use super::output::OutputPath;
use super::results::ResultArgs;
use super::session::{io_error, progress_bar, show};
use scdiva::cells::CellMatrix;
use scdiva::run::{Groups, Results, WholeOptions, h5ad_additions, h5ad_parameters};
use scdiva::tasks::Progress;
use scdiva::write::file::NewFile;
use scdiva::write::h5ad::{Additions, H5adWriter};
use scdiva::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Where an `.h5ad` comes from.
#[derive(Clone, Copy)]
pub(super) enum Original<'a> {
    /// The user's own, to which answers are added.
    H5ad(&'a Path),
    /// Another format, of which one is made.
    Matrix(&'a dyn CellMatrix),
}

impl<'a> Original<'a> {
    /// What an input is. `own` is what [`own_h5ad`] says.
    ///
    /// # Errors
    /// [`Error::File`] for an `.h5ad` of which droplets are left out: its rows are not the run's.
    pub(super) fn of(own: Option<&'a Path>, matrix: &'a dyn CellMatrix) -> Result<Self> {
        match (own, matrix.droplets()) {
            (Some(path), None) => Ok(Self::H5ad(path)),
            (Some(_), Some(_)) => {
                let problem = "empty droplets were left out, so results do not fit its rows; give `--min-counts 0`, or write another format";
                Err(Error::file(matrix.file(), "obs", problem))
            }
            _ => Ok(Self::Matrix(matrix)),
        }
    }
}

/// The `.h5ad` that a matrix was read from, when it is a file of its own: `input`, or the one in this folder. One in an archive is not.
///
/// # Errors
/// [`Error::Argument`] when it is in a folder and `output` would replace it; [`OutputPath::check`] does not look into folders.
pub(super) fn own_h5ad(input: &Path, matrix: &dyn CellMatrix, output: Option<&OutputPath>) -> Result<Option<PathBuf>> {
    let file = Path::new(matrix.file());
    if matrix.format() != H5AD {
        return Ok(None);
    }
    if !input.is_dir() {
        return Ok((matrix.file() == input.display().to_string()).then(|| input.to_owned()));
    }
    // Called by its name in the folder, or by that with the folder before it.
    let from_here = file.starts_with(input).then(|| file.to_owned());
    let own = [Some(input.join(file)), from_here]
        .into_iter()
        .flatten()
        .find(|path| path.is_file());
    let place = |path: &Path| fs::canonicalize(path).ok();
    if let (Some(own), Some(output)) = (&own, output.and_then(OutputPath::target))
        && place(own).is_some()
        && place(own) == place(output)
    {
        return Err(Error::Argument {
            operation: "write",
            argument: "output",
            problem: format!("{} is the input; wanted another file", own.display()),
        });
    }
    Ok(own)
}

/// [`CellMatrix::format`] of what answers can be added to.
const H5AD: &str = "AnnData (.h5ad)";
/// What stands in that of everything that has more in it than a matrix and what is known of its cells and genes.
const ANNDATA: &str = "AnnData";

impl ResultArgs {
    /// Looks whether an `.h5ad` can take the results, before anything long begins, and says what a new one will not have.
    ///
    /// # Errors
    /// [`Error::File`] that names what is in the way.
    pub(super) fn check_h5ad(&self, original: Original<'_>, whole: &WholeOptions) -> Result<()> {
        let additions = self.additions(whole);
        match original {
            Original::H5ad(path) => {
                let file = File::open(path).map_err(io_error(path))?;
                H5adWriter::open(&path.display().to_string(), Untouched(file), &additions).map(drop)
            }
            Original::Matrix(matrix) => {
                if matrix.format().contains(ANNDATA) {
                    say!(
                        "{}: a new .h5ad is made of {}, obs, obsm and the names of genes; what else there is of layers, raw, uns, varm, obsp, varp and var does not go into it",
                        matrix.file(),
                        matrix.matrix()
                    );
                }
                let columns = matrix.cell_columns().iter().map(|name| ("obs", &additions.columns, name));
                let embeddings = matrix.embeddings().iter().map(|name| ("obsm", &additions.embeddings, name));
                match columns.chain(embeddings).find(|(_, ours, name)| ours.contains(name)) {
                    None => Ok(()),
                    Some((place, _, name)) => {
                        let problem = "exists already, and nothing is overwritten; rename or remove it";
                        Err(Error::file(matrix.file(), format_args!("{place}/{name}"), problem))
                    }
                }
            }
        }
    }

    fn additions(&self, whole: &WholeOptions) -> Additions {
        h5ad_additions(whole.groups.is_some(), whole.umap, self.replace)
    }

    /// The `.h5ad` of a complete run, whose name is that of `original` when that is to be replaced. `look_again`: of [`super::results::Target`].
    /// Gives whether it was.
    pub(super) fn write_h5ad(
        &self,
        results: &mut Results<File>,
        whole: &WholeOptions,
        output: &Path,
        original: Original<'_>,
        look_again: &dyn Fn() -> Result<()>,
    ) -> Result<bool> {
        let (name, additions) = (output.display().to_string(), self.additions(whole));
        let mut in_place = false;
        let (new, writer) = match original {
            Original::H5ad(input) => {
                in_place = fs::canonicalize(input)
                    .ok()
                    .is_some_and(|input| fs::canonicalize(output).ok() == Some(input));
                let new = if in_place {
                    NewFile::replace(input)?
                } else {
                    NewFile::copy(input, output)?
                };
                // The copy is of what stands there now, which publishing makes sure of from here on.
                look_again()?;
                let writer = H5adWriter::open(&name, new.open()?, &additions)?;
                (new, writer)
            }
            Original::Matrix(matrix) => {
                let new = NewFile::create(output)?;
                let bar = progress_bar(matrix.n_cells());
                let mut show = show(&bar, 0);
                let n_cells = matrix.n_cells();
                let writer = H5adWriter::create(&name, new.open()?, matrix, &additions, &mut |n_done| match show(Progress {
                    n_done,
                    n_cells,
                }) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(Error::Cancelled),
                })?;
                bar.finish_and_clear();
                look_again()?;
                (new, writer)
            }
        };
        let votes_of = match &whole.groups {
            None => None,
            Some(Groups::Clusters) => Some("clusters"),
            Some(Groups::Given { .. }) => self.groups.as_deref(),
        };
        let parameters = h5ad_parameters(results.min_probability(), self.min_share, votes_of, whole.umap);
        results.write_h5ad(&name, writer, parameters)?;
        new.publish()?;
        Ok(in_place)
    }
}

/// A file that is looked at as if it could be written to.
struct Untouched(File);

impl Read for Untouched {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Seek for Untouched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl Write for Untouched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

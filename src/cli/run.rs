//! A run over a matrix: computed block by block into a journal beside the result, from which it goes on after a kill.

use super::output::OutputPath;
use super::session::{io_error, progress_bar, show};
use clap::Args;
use scdiva::analysis::device_of_run;
use scdiva::cells::{CellMatrix, Tokenizer};
use scdiva::model::Head;
use scdiva::read::Files;
use scdiva::run::{Journal, RunHeader, RunInput, RunModel, Shard};
use scdiva::tasks::TissueDecision;
use scdiva::{Error, Result, ScDiVa};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// What follows the name of a result that is not complete yet.
const PARTIAL: &str = "partial";

#[derive(Debug, Clone, Default, Args)]
pub(super) struct RunArgs {
    /// Go on with the run that was ended before its end; where there is none, begin
    #[arg(long)]
    pub(super) resume: bool,
    /// Compute only the i-th of n parts of the cells; OUT is then a part (.scdiva), and `scdiva merge` joins all n
    #[arg(long, value_name = "i/n")]
    pub(super) shard: Option<Shard>,
}

impl RunArgs {
    /// Refuses a part by the name of something else, which a program that is given it would take it for.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub(super) fn check_part(&self, output: &Path) -> Result<()> {
        let ending = output.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if self.shard.is_none() || !["csv", "tsv", "parquet", "h5ad", "npy"].contains(&ending.as_str()) {
            return Ok(());
        }
        let (found, wanted) = (output.display(), output.with_extension("scdiva"));
        Err(Error::Argument {
            operation: "run",
            argument: "output",
            problem: format!(
                "{found}: a part is no .{ending}, which `merge` writes; wanted another name, such as {}",
                wanted.display()
            ),
        })
    }
}

/// Where a journal is.
#[derive(Debug)]
enum Place {
    /// Beside the result.
    Beside(PathBuf),
    /// In a file without a name, for results that go to stdout or a device.
    Nowhere,
}

impl Place {
    fn of(output: Option<&OutputPath>) -> Self {
        match output.and_then(|output| output.beside(PARTIAL)) {
            Some(path) => Self::Beside(path),
            None => Self::Nowhere,
        }
    }
}

/// A journal on disk.
#[derive(Debug)]
pub(super) struct JournalFile {
    pub(super) journal: Journal<File>,
    path: Option<PathBuf>,
}

impl JournalFile {
    /// Starts a journal, or goes on with the one that is there.
    ///
    /// # Errors
    /// [`Error::File`] when there is one and `resume` is not set, or it is another run's; [`Error::Io`] when another process writes it.
    fn open(place: Place, header: RunHeader, resume: bool) -> Result<Self> {
        let Place::Beside(path) = place else {
            // It has no name of its own, so what goes wrong with it is said of the place.
            let folder = std::env::temp_dir();
            let name = format!(
                "{}: the temporary folder, where answers are kept until they are written out; TMPDIR names another, or give `-o FILE`",
                folder.display()
            );
            let file = tempfile::tempfile().map_err(io_error(Path::new(&name)))?;
            let journal = Journal::create(&name, file, header)?;
            return Ok(Self { journal, path: None });
        };
        let name = path.display().to_string();
        let failed = |source| Error::Io {
            file: name.clone(),
            source,
        };
        let mut open = OpenOptions::new();
        let mut file = open
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(&failed)?;
        let is_locked = match file.try_lock() {
            Ok(()) => true,
            // Some file systems know no locks.
            Err(TryLockError::Error(_)) => false,
            Err(TryLockError::WouldBlock) => {
                return Err(locked(&name));
            }
        };
        let begin = |file: File| {
            file.set_len(0).map_err(&failed)?;
            let journal = Journal::create(&name, file, header.clone())?;
            Ok(Self {
                journal,
                path: Some(path.clone()),
            })
        };
        let is_empty = file.metadata().map_err(&failed)?.len() == 0;
        // Of a run that was killed before its first answer there is nothing to lose, and where it holds no lock it has ended.
        if is_empty || ((resume || is_locked) && Journal::is_stub(&mut file).map_err(&failed)?) {
            return begin(file);
        }
        let there = Journal::open(&name, file)?;
        if is_locked && there.n_blocks() == 0 && !there.was_torn() && !there.is_complete() {
            return begin(there.into_file());
        }
        if !resume {
            return Err(unfinished(&there));
        }
        header.expect_same_run(&name, there.header())?;
        if there.header().cells != header.cells {
            let (was, is) = (&there.header().cells, &header.cells);
            let problem = format!(
                "belongs to another run: cells {} to {} there, {} to {} here",
                was.start, was.end, is.start, is.end
            );
            return Err(Error::file(name, "cells", problem));
        }
        there.file().set_len(there.size()).map_err(failed)?;
        let done = there.next_cell() - there.header().cells.start;
        say!("{name}: {done} cells are done already");
        Ok(Self {
            journal: there,
            path: Some(path),
        })
    }

    /// Looks, before anything long begins, whether answers that nobody asked to go on with stand where the journal will be.
    ///
    /// # Errors
    /// As [`Self::open`] for these; what else may be there it says itself.
    pub(super) fn expect_free(output: Option<&OutputPath>, resume: bool) -> Result<()> {
        let Place::Beside(path) = Place::of(output) else {
            return Ok(());
        };
        let Ok(file) = File::open(&path) else {
            return Ok(());
        };
        let name = path.display().to_string();
        if matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            return Err(locked(&name));
        }
        match Journal::open(&name, file) {
            Ok(there) if !resume && there.n_blocks() > 0 => Err(unfinished(&there)),
            _ => Ok(()),
        }
    }

    /// Removes a complete journal whose results are written out; where they are not, it stays, and that is said.
    ///
    /// # Errors
    /// What `written` says.
    pub(super) fn settle<T>(path: Option<PathBuf>, written: Result<T>) -> Result<T> {
        match (&written, &path) {
            (Ok(_), _) => Self::remove(path),
            (Err(_), Some(path)) => say!(
                "{}: all cells are done and kept; `--resume` writes the results",
                path.display()
            ),
            (Err(_), None) => {}
        }
        written
    }

    /// Removes the journal: its results are written out, or there are none in it.
    fn remove(path: Option<PathBuf>) {
        if let Some(path) = path {
            let _gone = fs::remove_file(path);
        }
    }

    /// The complete journal itself is the result: a part, to be merged.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn keep_as(self, output: &OutputPath) -> Result<()> {
        match (&self.path, output.target()) {
            (Some(path), Some(target)) => {
                // What has its name is on the disk.
                self.journal.file().sync_all().map_err(io_error(path))?;
                fs::rename(path, target).map_err(io_error(target))?;
                output.say_if_replaced();
                Ok(())
            }
            _ => {
                let problem = format!("{} is no file; a part must be one", output.name());
                Err(Error::Argument {
                    operation: "run",
                    argument: "output",
                    problem,
                })
            }
        }
    }

    /// The journal, and where it is.
    pub(super) fn into_parts(self) -> (Journal<File>, Option<PathBuf>) {
        (self.journal, self.path)
    }
}

fn locked(name: &str) -> Error {
    Error::file(name, "journal", "another process is writing it")
}

fn unfinished(there: &Journal<File>) -> Error {
    let (cells, done) = (&there.header().cells, there.next_cell());
    let problem = format!(
        "an earlier run ended after {} of {} cells; `--resume` goes on with it, or remove this file",
        done - cells.start,
        cells.len()
    );
    Error::file(there.name(), "journal", problem)
}

/// Refuses to put a part in the place of a finished one that is not this one computed again.
///
/// # Errors
/// [`Error::File`] that says what is there.
fn expect_no_other_part(path: &Path, header: &RunHeader) -> Result<()> {
    let name = path.display().to_string();
    // What is not there, or no part, is replaced as any file.
    let there = File::open(path).ok().and_then(|file| Journal::open(&name, file).ok());
    let Some(there) = there.filter(Journal::is_complete) else {
        return Ok(());
    };
    let advice = "; wanted another name, or remove this part";
    match header.expect_same_run(&name, there.header()) {
        Err(Error::File { file, place, problem }) => return Err(Error::file(file, place, problem + advice)),
        same => same?,
    }
    let (was, is) = (&there.header().cells, &header.cells);
    if was == is {
        return Ok(());
    }
    let problem = format!(
        "a finished part of cells {} to {}; cells {} to {} are to be computed{advice}",
        was.start, was.end, is.start, is.end
    );
    Err(Error::file(name, "cells", problem))
}

/// Looks whether the input still is what the run read: a row of one file must not get the answer of another.
///
/// # Errors
/// [`Error::File`] when it is another now; [`Error::Io`] when it cannot be read any more.
pub(super) fn expect_unchanged(input: &Files, header: &RunHeader) -> Result<()> {
    if input.fingerprint()? == header.input.fingerprint {
        return Ok(());
    }
    let problem = "not what it was when the run began, so the results are not written; with the old content in its place `--resume` writes them";
    Err(Error::file(&header.input.file, "content", problem))
}

/// What a run is, before it begins.
pub(super) struct Plan<'a> {
    pub(super) matrix: &'a dyn CellMatrix,
    pub(super) tokenizer: &'a Tokenizer<'a>,
    /// [`scdiva::read::Files::fingerprint`].
    pub(super) fingerprint: String,
    /// `None` for embeddings alone.
    pub(super) head: Option<&'a Head>,
    pub(super) min_probability: f32,
    pub(super) tissue: TissueDecision,
    pub(super) keep_embedding: bool,
}

impl Plan<'_> {
    fn header(&self, scdiva: &ScDiVa, shard: Option<Shard>) -> Result<RunHeader> {
        let info = scdiva.info();
        let n_cells = self.matrix.n_cells();
        let report =
            serde_json::to_value(self.tokenizer.report()).map_err(|error| Error::file(self.matrix.file(), "report", error))?;
        Ok(RunHeader {
            version: info.version.to_owned(),
            input: RunInput {
                file: self.matrix.file().to_owned(),
                fingerprint: self.fingerprint.clone(),
                n_cells,
                report,
            },
            model: RunModel {
                name: info.model.config.name.clone(),
                hash: scdiva.model_hash()?,
                head: self.head.map(|head| head.name.clone()),
                head_hash: self.head.map(|head| head.hash.clone()),
                labels: self.head.map_or_else(Vec::new, |head| head.labels.clone()),
                ontology_ids: self.head.map_or_else(Vec::new, |head| head.ontology_ids.clone()),
                n_embedding: if self.keep_embedding {
                    info.model.config.hidden_size
                } else {
                    0
                },
            },
            device: device_of_run(&info.device),
            min_probability: self.min_probability,
            tissue: self.tissue.clone(),
            cells: shard.unwrap_or(Shard::WHOLE).cells(n_cells),
        })
    }

    /// Computes what the journal does not have yet. What was computed stays when this fails.
    ///
    /// # Errors
    /// What [`JournalFile::open`] and [`ScDiVa::answer_blocks`] say.
    pub(super) async fn compute(&self, scdiva: &mut ScDiVa, output: Option<&OutputPath>, args: &RunArgs) -> Result<JournalFile> {
        let header = self.header(scdiva, args.shard)?;
        let mut file = JournalFile::open(Place::of(output), header.clone(), args.resume)?;
        if let (Some(_), Some(part)) = (args.shard, output.and_then(OutputPath::target))
            && let Err(error) = expect_no_other_part(part, &header)
        {
            if file.journal.n_blocks() == 0 {
                JournalFile::remove(file.path);
            }
            return Err(error);
        }
        let cells = file.journal.next_cell()..file.journal.header().cells.end;
        let n_done = cells.start - file.journal.header().cells.start;
        let bar = progress_bar(n_done + cells.len());
        bar.set_position(n_done as u64);
        bar.reset_eta();
        let journal = &mut file.journal;
        let computed = scdiva
            .answer_blocks(self.tokenizer, self.head, cells, &mut show(&bar, n_done), &mut |block| {
                let names = self.matrix.cell_names(block.cells.clone())?;
                journal.append(&names, &block)
            })
            .await;
        bar.finish_and_clear();
        if let Err(error) = computed {
            let n_kept = file.journal.next_cell() - file.journal.header().cells.start;
            match (&file.path, n_kept) {
                (path, 0) => JournalFile::remove(path.clone()),
                (Some(path), _) => say!("{}: {n_kept} cells are kept; `--resume` goes on", path.display()),
                (None, _) => {}
            }
            return Err(error);
        }
        Ok(file)
    }
}

//! Heads of the user's own: files, or names in the user's folder of heads, where each model has a folder by its hash.

use super::output::OutputPath;
use super::session::io_error;
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use scdiva::model::{Head, TensorFile};
use scdiva::read::{FileSource, Source};
use scdiva::write::file::NewFile;
use scdiva::{Error, ModelFiles, Result, ScDiVa};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

const ENDING: &str = "safetensors";

/// Another folder than the one where the system keeps a user's data.
const FOLDER: &str = "SCDIVA_HEADS";

/// How much of a model's hash names its folder.
const N_DIGITS: usize = 16;

/// Where a head is written.
#[derive(Debug, Clone)]
pub(super) struct HeadPlace {
    /// The head's name.
    pub(super) name: String,
    path: PathBuf,
    is_saved: bool,
    /// Whether the head that is there must be the one that is written: a run that goes on has saved it already.
    must_be_same: bool,
}

impl HeadPlace {
    /// What `--save-head` means: a file, when it looks like one, else a name in the folder of the model's heads. To be asked before anything
    /// long begins. With `resume` the head that is there may be the one that will be written.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that cannot be one or is of a head of the model; [`Error::File`] when there is one and neither
    /// `replace` nor `resume` is set, or something else; [`Error::Io`].
    pub(super) fn new(model: &ModelFiles, what: &str, replace: bool, resume: bool) -> Result<Self> {
        let mut place = if is_file(what) {
            let path = PathBuf::from(what);
            if path.extension().is_none_or(|ending| ending != ENDING) {
                return Err(wrong(
                    "save-head",
                    format!("{what}: wanted a file that ends with .{ENDING}, or a name"),
                ));
            }
            Self {
                name: stem(&path),
                path,
                is_saved: false,
                must_be_same: false,
            }
        } else {
            let is_plain = |c: char| c.is_alphanumeric() || "-_.+".contains(c);
            let problem = if what.is_empty() || what.starts_with('.') || !what.chars().all(is_plain) {
                Some("wanted letters, digits, `-`, `_`, `.` and `+`, or a file that ends with .safetensors")
            } else if model.heads().iter().any(|head| head == what) {
                Some("a head of the model, which would go before it; wanted another name")
            } else {
                None
            };
            if let Some(problem) = problem {
                return Err(wrong("save-head", format!("{what:?}: {problem}")));
            }
            Self {
                name: what.to_owned(),
                path: path_of(model, what)?,
                is_saved: true,
                must_be_same: false,
            }
        };
        if place.path.exists() && !replace && !resume {
            let problem = "there is one already; `--replace` replaces it";
            return Err(Error::file(place.path.display(), "head", problem));
        }
        if place.path.exists() {
            expect_head(&place.path)?;
            place.must_be_same = !replace;
        }
        if place.is_saved
            && let Some(folder) = place.path.parent()
        {
            fs::create_dir_all(folder).map_err(io_error(folder))?;
        }
        // Tried, so that nothing long is done in vain; what is not published goes away.
        NewFile::create(&place.path)?;
        Ok(place)
    }

    /// Refuses a result that would stand where the head does.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub(super) fn expect_not(&self, output: &OutputPath) -> Result<()> {
        let place = |path: &Path| {
            let there = path.canonicalize().or_else(|_| std::path::absolute(path));
            there.unwrap_or_else(|_| path.to_owned())
        };
        if output.target().is_none_or(|target| place(target) != place(&self.path)) {
            return Ok(());
        }
        let problem = format!("{} is where --save-head goes; wanted another file", output.name());
        Err(wrong("output", problem))
    }

    /// Writes the file, in one step, and says so.
    ///
    /// # Errors
    /// [`Error::File`] when another head is there and is not to be replaced; [`Error::Io`].
    pub(super) fn write(&self, bytes: &[u8]) -> Result<()> {
        if self.must_be_same {
            if fs::read(&self.path).map_err(io_error(&self.path))? == bytes {
                say!("{}: saved already", self.path.display());
                return Ok(());
            }
            let problem = "there is one already, and not of this reference; `--replace` replaces it";
            return Err(Error::file(self.path.display(), "head", problem));
        }
        let mut file = NewFile::create(&self.path)?;
        file.write_all(bytes).map_err(io_error(&self.path))?;
        file.publish()?;
        let how = if self.is_saved {
            self.name.clone()
        } else {
            self.path.display().to_string()
        };
        say!("saved: {}; `--head {how}` uses it", self.path.display());
        Ok(())
    }
}

/// Refuses to replace what is not a head. One of another model is one.
fn expect_head(path: &Path) -> Result<()> {
    let name = path.display().to_string();
    let source = Arc::new(FileSource::open(path)?);
    let is_head =
        TensorFile::open(&name, source).is_ok_and(|file| file.metadata().get("kind").is_some_and(|kind| kind == "annotate"));
    if is_head {
        return Ok(());
    }
    let problem = "what is there is not a head, and is not replaced; wanted another name";
    Err(Error::file(name, "head", problem))
}

/// What `--head` means: a head of the model, a file, or a saved head.
///
/// # Errors
/// [`Error::Argument`] when there is none of this name, with those that there are; what [`ScDiVa::head`] and [`ScDiVa::read_head`] say.
pub(super) fn head(scdiva: &ScDiVa, model: &ModelFiles, name: Option<&str>) -> Result<Head> {
    let Some(name) = name.filter(|name| !model.heads().iter().any(|head| head == name)) else {
        return scdiva.head(name);
    };
    let path = if is_file(name) {
        PathBuf::from(name)
    } else {
        path_of(model, name)?
    };
    if !is_file(name) && !path.exists() {
        let there = [model.heads(), saved(model)?].concat();
        let problem = match there.as_slice() {
            [] => format!("{name}, but the model has no heads/NAME.safetensors and none is saved"),
            there => format!("{name}, wanted one of {}", there.join(", ")),
        };
        return Err(wrong("head", problem));
    }
    let source: Arc<dyn Source> = Arc::new(FileSource::open(&path)?);
    scdiva.read_head(&stem(&path), &path.display().to_string(), &source)
}

/// The names of the saved heads of a model, in order.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be read.
pub(super) fn saved(model: &ModelFiles) -> Result<Vec<String>> {
    let folder = folder(model)?;
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error(&folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.map_err(io_error(&folder))?.path();
        let is_head = path.extension().is_some_and(|ending| ending == ENDING);
        names.extend(is_head.then(|| stem(&path)).filter(|name| !name.starts_with('.')));
    }
    names.sort();
    Ok(names)
}

/// Whether this is the name of a file rather than of a head.
pub(super) fn is_file(what: &str) -> bool {
    what.contains(std::path::is_separator) || Path::new(what).extension().is_some_and(|ending| ending == ENDING)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn path_of(model: &ModelFiles, name: &str) -> Result<PathBuf> {
    Ok(folder(model)?.join(format!("{name}.{ENDING}")))
}

/// Where the heads of a model are saved.
fn folder(model: &ModelFiles) -> Result<PathBuf> {
    let all = match env::var_os(FOLDER).filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => choose_native_strategy()
            .map_err(|error| wrong("head", format!("{error}; set {FOLDER} to a folder")))?
            .data_dir()
            .join("scdiva")
            .join("heads"),
    };
    let mut hash = model.weights_hash()?;
    hash.truncate(N_DIGITS);
    Ok(all.join(OsString::from(hash)))
}

fn wrong(argument: &'static str, problem: String) -> Error {
    Error::Argument {
        operation: "annotate",
        argument,
        problem,
    }
}

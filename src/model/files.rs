//! A model folder, or the same names under one address.

use super::config::Config;
use crate::cells::Vocabulary;
use crate::error::{Error, Result};
use crate::read::Source;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The files of one model by their names inside the folder: `config.json`, `model.safetensors`, `vocab.tsv`,
/// `heads/NAME.safetensors`, and perhaps `orthologs_mouse.tsv.gz`. Source: spec section 5.
#[derive(Clone)]
pub struct ModelFiles {
    name: String,
    files: BTreeMap<String, Arc<dyn Source>>,
}

/// What all that is learned on top of a model depends on.
const WEIGHTS: &str = "model.safetensors";
/// What genes of mouse mean.
const MOUSE_ORTHOLOGS: &str = "orthologs_mouse.tsv.gz";

impl std::fmt::Debug for ModelFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelFiles")
            .field("name", &self.name)
            .field("files", &self.files.keys())
            .finish()
    }
}

impl ModelFiles {
    /// An empty set; `name` stands before the file names in errors.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            // `path` puts a slash between.
            name: name.trim_end_matches('/').to_owned(),
            files: BTreeMap::new(),
        }
    }

    /// The files of a folder. Files of other names in it are left alone.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder or a file cannot be read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn from_folder(path: &std::path::Path) -> Result<Self> {
        let mut files = Self::new(path.display().to_string());
        for (name, file) in crate::read::folder(path, &["", "heads"])? {
            files.insert(name, Arc::new(file));
        }
        Ok(files)
    }

    /// The model that is part of this library, `models/mini`.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn embedded() -> Self {
        let mut files = Self::new("models/mini");
        files.insert("config.json", Arc::new(include_bytes!("../../models/mini/config.json")));
        files.insert(
            "model.safetensors",
            Arc::new(include_bytes!("../../models/mini/model.safetensors")),
        );
        files.insert("vocab.tsv", Arc::new(include_bytes!("../../models/mini/vocab.tsv")));
        let orthologs = include_bytes!("../../models/mini/orthologs_mouse.tsv.gz");
        files.insert(MOUSE_ORTHOLOGS, Arc::new(orthologs));
        let head = include_bytes!("../../models/mini/heads/cell_types.safetensors");
        files.insert("heads/cell_types.safetensors", Arc::new(head));
        files
    }

    /// Adds a file under its name inside the model folder.
    pub fn insert(&mut self, file: impl Into<String>, source: Arc<dyn Source>) {
        self.files.insert(file.into(), source);
    }

    /// The name that errors show for a file of this model.
    #[must_use]
    pub fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.name)
    }

    /// A file, if it is there.
    #[must_use]
    pub fn get(&self, file: &str) -> Option<Arc<dyn Source>> {
        self.files.get(file).cloned()
    }

    /// A file that must be there.
    ///
    /// # Errors
    /// [`Error::File`] that names what is missing.
    pub fn require(&self, file: &str) -> Result<Arc<dyn Source>> {
        self.get(file).ok_or_else(|| Error::file(&self.name, file, "missing"))
    }

    /// The whole of a small file that must be there.
    ///
    /// # Errors
    /// [`Error::File`] when it is missing or over 256 MiB, [`Error::Io`].
    pub fn read(&self, file: &str) -> Result<Vec<u8>> {
        const MOST: u64 = 256 << 20;
        let source = self.require(file)?;
        let size = source.size();
        if size > MOST {
            return Err(Error::file(&self.name, file, format_args!("{size} bytes, more than {MOST}")));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        source.read_at(0, &mut bytes).map_err(|source| Error::Io {
            file: self.path(file),
            source,
        })?;
        Ok(bytes)
    }

    /// SHA-256 over names, sizes and bytes of the model's files, in hexadecimal; where the folder lies, and what else is in it, does not
    /// count.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be read.
    pub fn hash(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        let own =
            |file: &str| ["config.json", WEIGHTS, "vocab.tsv", MOUSE_ORTHOLOGS].contains(&file) || head_name(file).is_some();
        for (file, source) in self.files.iter().filter(|(file, _)| own(file)) {
            hasher.update(format!("{}:{file}:{}\n", file.len(), source.size()));
            update(&mut hasher, &self.path(file), source.as_ref())?;
        }
        Ok(hexadecimal(hasher))
    }

    /// SHA-256 of `model.safetensors`, in hexadecimal: what a head that was fitted on these weights names.
    ///
    /// # Errors
    /// [`Error::File`] when it is missing, [`Error::Io`] when it cannot be read.
    pub fn weights_hash(&self) -> Result<String> {
        sha256(&self.path(WEIGHTS), self.require(WEIGHTS)?.as_ref())
    }

    /// The sizes of the model, without its weights being read.
    ///
    /// # Errors
    /// [`Error::File`] when `config.json` is broken, or is missing and the tensors are not those of the released model; [`Error::Io`].
    pub fn config(&self) -> Result<Config> {
        match self.get("config.json") {
            Some(_) => Config::parse(&self.path("config.json"), &self.read("config.json")?),
            None => Ok(super::Checkpoint::open(self)?.config),
        }
    }

    /// The genes that the model knows, and what those of mouse mean to it where it has a table of orthologs; `None` without `vocab.tsv`.
    ///
    /// # Errors
    /// What [`Vocabulary::parse`] and [`Vocabulary::add_mouse_orthologs`] say.
    pub fn vocabulary(&self, config: &Config) -> Result<Option<Vocabulary>> {
        if self.get("vocab.tsv").is_none() {
            return Ok(None);
        }
        let (file, bytes) = (self.path("vocab.tsv"), self.read("vocab.tsv")?);
        let mut vocabulary = Vocabulary::parse(&file, &bytes, config.vocab_size, &config.reserved_ids)?;
        if self.get(MOUSE_ORTHOLOGS).is_some() {
            vocabulary.add_mouse_orthologs(&self.path(MOUSE_ORTHOLOGS), &self.read(MOUSE_ORTHOLOGS)?)?;
        }
        Ok(Some(vocabulary))
    }

    /// Names of the heads: `NAME` of every `heads/NAME.safetensors`, sorted.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        let names = self.files.keys().filter_map(|file| head_name(file));
        names.map(str::to_owned).collect()
    }
}

/// `NAME` of `heads/NAME.safetensors`.
fn head_name(file: &str) -> Option<&str> {
    file.strip_prefix("heads/")?.strip_suffix(".safetensors")
}

/// SHA-256 of a file, in hexadecimal; `file` is how the user calls it.
pub(super) fn sha256(file: &str, source: &dyn Source) -> Result<String> {
    let mut hasher = Sha256::new();
    update(&mut hasher, file, source)?;
    Ok(hexadecimal(hasher))
}

fn update(hasher: &mut Sha256, file: &str, source: &dyn Source) -> Result<()> {
    const PIECE: u64 = 1 << 20;
    let (mut piece, size) = (Vec::new(), source.size());
    for start in (0..size).step_by(1 << 20) {
        piece.resize(usize::try_from(PIECE.min(size - start)).unwrap_or_default(), 0);
        source.read_at(start, &mut piece).map_err(|source| Error::Io {
            file: file.to_owned(),
            source,
        })?;
        hasher.update(&piece);
    }
    Ok(())
}

fn hexadecimal(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

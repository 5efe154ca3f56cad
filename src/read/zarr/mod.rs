//! Zarr, format 2 and 3, as a [`Container`]: a folder or zip archive in which every group and array has its own metadata and every chunk is a
//! file. A reader of its own, since the crate `zarrs` needs a C compiler for Zstandard and Blosc in wasm, and a hundred crates.

mod array;
mod cache;
mod codecs;
mod metadata;

use super::Source;
use super::container::{Array, Container, Node};
use crate::error::{Error, Result};
use array::ZarrArray;
use cache::Cache;
use metadata::Layout;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

const ARRAY_V2: &str = ".zarray";
const GROUP_V2: &str = ".zgroup";
const ATTRIBUTES_V2: &str = ".zattrs";
const NODE_V3: &str = "zarr.json";
/// No metadata are larger, not even those of a whole store in one.
const MAX_METADATA_SIZE: u64 = 1 << 26;

/// Whether a file of a folder or archive is a group's or an array's metadata, by its name.
pub(super) fn is_metadata(name: &str) -> bool {
    let own = name.rsplit('/').next().unwrap_or_default();
    [ARRAY_V2, GROUP_V2, NODE_V3].contains(&own)
}

/// The folders that hold `AnnData`, by the names of all files: those with `obs` and `var`. The one that all
/// files are in has an empty name.
pub(super) fn roots(files: &[(String, Arc<dyn Source>)]) -> Vec<String> {
    let root_of = |part: &str, name: &str| {
        let folder = name.rsplit_once('/').filter(|_| is_metadata(name))?.0;
        let root = folder.strip_suffix(part)?;
        (root.is_empty() || root.ends_with('/')).then(|| root.trim_end_matches('/').to_owned())
    };
    let of = |part: &'static str| files.iter().filter_map(move |(name, _)| root_of(part, name));
    let [mut with_var, mut with_obs] = [(); 2].map(|()| BTreeSet::new());
    with_var.extend(of("var"));
    with_obs.extend(of("obs"));
    with_obs.intersection(&with_var).cloned().collect()
}

/// A store of groups and arrays.
pub(super) struct Store(Arc<Files>);

/// What a store and its arrays share.
struct Files {
    name: String,
    /// By path below the root.
    files: BTreeMap<String, Arc<dyn Source>>,
    cache: Mutex<Cache>,
}

impl Files {
    /// What stands in a file of metadata, if it is there.
    fn json(&self, path: &str) -> Result<Option<Value>> {
        let Some(source) = self.files.get(path) else {
            return Ok(None);
        };
        if source.size() > MAX_METADATA_SIZE {
            let problem = format_args!("{} bytes of metadata are too many", source.size());
            return Err(Error::file(&self.name, path, problem));
        }
        let mut bytes = vec![0; usize::try_from(source.size()).unwrap_or(0)];
        source.read_at(0, &mut bytes).map_err(|error| self.unreadable(path, error))?;
        match serde_json::from_slice(&bytes) {
            Ok(json) => Ok(Some(json)),
            Err(error) => Err(Error::file(
                &self.name,
                path,
                format_args!("no JSON as it should be: {error}"),
            )),
        }
    }

    fn unreadable(&self, path: &str, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Error::file(&self.name, path, source),
            _ => Error::Io {
                file: format!("{}/{path}", self.name),
                source,
            },
        }
    }
}

fn below(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ => format!("{path}/{name}"),
    }
}

impl Store {
    /// The files below a root, one of [`roots`]; `name` is how the user calls the whole.
    pub(super) fn open(name: &str, root: &str, files: &[(String, Arc<dyn Source>)]) -> Self {
        let inside = |name: &str| match root {
            "" => Some(name.to_owned()),
            _ => Some(name.strip_prefix(root)?.strip_prefix('/')?.to_owned()),
        };
        let files = files
            .iter()
            .filter_map(|(name, source)| Some((inside(name)?, Arc::clone(source))));
        Self(Arc::new(Files {
            name: name.to_owned(),
            files: files.collect(),
            cache: Mutex::default(),
        }))
    }

    fn attribute(&self, path: &str, name: &str) -> Result<Option<Value>> {
        let attributes = match self.0.json(&below(path, NODE_V3))? {
            Some(mut node) => node.get_mut("attributes").map(Value::take),
            None => self.0.json(&below(path, ATTRIBUTES_V2))?,
        };
        Ok(attributes.and_then(|mut attributes| attributes.get_mut(name).map(Value::take)))
    }

    fn array(&self, path: &str, metadata: &str, layout: Result<Layout, String>) -> Result<Option<Node>> {
        let layout = layout.map_err(|problem| Error::file(&self.0.name, below(path, metadata), problem))?;
        let array: Arc<dyn Array> = Arc::new(ZarrArray::new(Arc::clone(&self.0), path, layout));
        Ok(Some(Node::Array(array)))
    }
}

impl Container for Store {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn ending(&self) -> &'static str {
        ".zarr"
    }

    fn node(&self, path: &str) -> Result<Option<Node>> {
        if let Some(node) = self.0.json(&below(path, NODE_V3))? {
            return match node.get("node_type").and_then(Value::as_str) {
                Some("group") => Ok(Some(Node::Group)),
                Some("array") => self.array(path, NODE_V3, Layout::of_v3(&node)),
                _ => Err(Error::file(
                    &self.0.name,
                    below(path, NODE_V3),
                    "neither a group nor an array",
                )),
            };
        }
        if let Some(metadata) = self.0.json(&below(path, ARRAY_V2))? {
            return self.array(path, ARRAY_V2, Layout::of_v2(&metadata));
        }
        Ok(self.0.files.contains_key(&below(path, GROUP_V2)).then_some(Node::Group))
    }

    fn members(&self, path: &str) -> Result<Vec<String>> {
        let start = below(path, "");
        let (mut names, mut next) = (Vec::new(), start.clone());
        // From one member to the next, past all chunks of it.
        while let Some((file, _)) = self.0.files.range(next..).next() {
            let Some(inside) = file.strip_prefix(&start) else { break };
            let name = inside.split('/').next().unwrap_or_default();
            let member = format!("{start}{name}");
            let has = |metadata: &str| self.0.files.contains_key(&below(&member, metadata));
            if inside.len() > name.len() && (has(NODE_V3) || has(ARRAY_V2) || has(GROUP_V2)) {
                names.push(name.to_owned());
            }
            // `0` comes after `/`, and `a.b` and `a-b` come before `a/`.
            next = if inside.len() > name.len() {
                format!("{member}0")
            } else {
                format!("{member}\0")
            };
        }
        Ok(names)
    }

    fn text_attribute(&self, path: &str, name: &str) -> Result<Option<String>> {
        let attribute = self.attribute(path, name)?;
        Ok(attribute.and_then(|value| value.as_str().map(str::to_owned)))
    }

    fn index_attribute(&self, path: &str, name: &str) -> Result<Option<Vec<i64>>> {
        let Some(value) = self.attribute(path, name)? else {
            return Ok(None);
        };
        let list = value.as_array().and_then(|list| list.iter().map(Value::as_i64).collect());
        match list {
            Some(list) => Ok(Some(list)),
            None => Err(Error::file(
                &self.0.name,
                format_args!("{path}, attribute {name}"),
                format_args!("{value}; wanted a list of whole numbers"),
            )),
        }
    }
}

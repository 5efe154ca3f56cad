//! What a head says about itself: the texts beside its tensors.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};

/// A tissue, by the labels of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tissue {
    /// Its name, such as `blood`.
    pub name: String,
    /// The labels that are found there, by their place in [`super::Head::labels`], rising.
    pub labels: Vec<usize>,
    /// Labels of other tissues that cells of this one are easily taken for, rising: they say nothing against it.
    pub ambiguous: Vec<usize>,
}

/// Names that stand for a choice, so that no tissue may have them.
const RESERVED: [&str; 2] = ["any", "auto"];

pub(super) struct Metadata {
    pub(super) file: String,
    pub(super) entries: HashMap<String, String>,
}

impl Metadata {
    pub(super) fn error(&self, key: &str, problem: String) -> Error {
        Error::file(&self.file, format_args!("metadata {key}"), problem)
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(String::as_str)
    }

    pub(super) fn text(&self, key: &str) -> Result<&str> {
        self.get(key).ok_or_else(|| self.error(key, "missing".to_owned()))
    }

    pub(super) fn list(&self, key: &str) -> Result<Vec<String>> {
        self.json(key, self.text(key)?, "a JSON array of texts")
    }

    /// 0 where nothing is said.
    pub(super) fn min_probability(&self) -> Result<f32> {
        const KEY: &str = "min_probability";
        let Some(text) = self.get(KEY) else { return Ok(0.0) };
        let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
        number.ok_or_else(|| self.error(KEY, format!("{text:?}, wanted a number from 0 to 1")))
    }

    /// A SHA-256 in hexadecimal.
    pub(super) fn model_hash(&self) -> Result<Option<&str>> {
        const KEY: &str = "model_hash";
        let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match self.get(KEY) {
            Some(text) if !is_hash(text) => Err(self.error(KEY, format!("{text:?}, wanted 64 hexadecimal digits in lower case"))),
            hash => Ok(hash),
        }
    }

    /// By name. `labels` are those of the head.
    pub(super) fn tissues(&self, labels: &[String]) -> Result<Vec<Tissue>> {
        let mut ambiguous = self.lists_of_labels("tissue_ambiguous", labels)?;
        let tissues = self.lists_of_labels("tissues", labels)?;
        if let Some(name) = tissues
            .keys()
            .find(|name| name.is_empty() || RESERVED.contains(&name.as_str()))
        {
            return Err(self.error("tissues", format!("a tissue called {name:?}, which means something else")));
        }
        let tissues = tissues.into_iter().map(|(name, labels)| Tissue {
            ambiguous: ambiguous.remove(&name).unwrap_or_default(),
            name,
            labels,
        });
        let tissues: Vec<Tissue> = tissues.collect();
        if let Some(tissue) = tissues.iter().find(|tissue| tissue.labels.is_empty()) {
            return Err(self.error("tissues", format!("no label is found in {:?}", tissue.name)));
        }
        match ambiguous.keys().next() {
            Some(name) => Err(self.error("tissue_ambiguous", format!("{name:?} is none of the tissues"))),
            None => Ok(tissues),
        }
    }

    /// A JSON object of lists of labels; empty where nothing is said.
    fn lists_of_labels(&self, key: &str, labels: &[String]) -> Result<BTreeMap<String, Vec<usize>>> {
        let Some(text) = self.get(key) else {
            return Ok(BTreeMap::new());
        };
        let lists: BTreeMap<String, Vec<String>> = self.json(key, text, "a JSON object of arrays of labels")?;
        let place = |label: &String| {
            let place = labels.iter().position(|known| known == label);
            place.ok_or_else(|| self.error(key, format!("{label:?} is none of the head's labels")))
        };
        let mut all = BTreeMap::new();
        for (name, list) in lists {
            let mut places = list.iter().map(place).collect::<Result<Vec<usize>>>()?;
            places.sort_unstable();
            places.dedup();
            all.insert(name, places);
        }
        Ok(all)
    }

    fn json<T: DeserializeOwned>(&self, key: &str, text: &str, wanted: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|e| self.error(key, format!("{e}, wanted {wanted}")))
    }
}

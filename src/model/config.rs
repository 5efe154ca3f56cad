//! `config.json`: the sizes of a model and how its tokens are made.

use crate::cells::{Preprocess, Serialization};
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// The sizes of a model. Source: spec section 1; the released `config.json` spells the keys in capitals, both are read.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Config {
    /// What the model calls itself.
    pub name: String,
    /// V: gene ids run from 0 to V − 1.
    pub vocab_size: usize,
    /// D: width of a token.
    pub hidden_size: usize,
    /// N: number of blocks.
    pub num_layers: usize,
    /// H: number of attention heads; the head size D / H is even.
    pub num_heads: usize,
    /// F: width inside the feed-forward half of a block.
    pub intermediate_size: usize,
    /// The most genes that one cell may have.
    pub max_genes: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Gene id of padding; never attended.
    pub pad_token_id: u32,
    /// Gene id that fills up short cells; never attended.
    pub pad_fill_token_id: u32,
    /// Gene ids that are no genes: the two paddings, mask, begin, end.
    pub reserved_ids: Vec<u32>,
    /// Added under the root of `RMSNorm` and of the one `LayerNorm`.
    pub norm_eps: f32,
    /// How counts become values.
    pub preprocess: Preprocess,
    /// In which order genes become tokens.
    pub serialization: Serialization,
}

impl Config {
    /// The released 94.5 M-parameter model.
    #[must_use]
    pub fn released() -> Self {
        Self {
            name: "scDiVa".to_owned(),
            vocab_size: 41_818,
            hidden_size: 512,
            num_layers: 12,
            num_heads: 8,
            intermediate_size: 2_048,
            max_genes: 1_200,
            rope_theta: 10_000.0,
            pad_token_id: 0,
            pad_fill_token_id: 41_815,
            reserved_ids: vec![0, 1, 41_815, 41_816, 41_817],
            norm_eps: 1e-5,
            preprocess: Preprocess::default(),
            serialization: Serialization::default(),
        }
    }

    /// Width of one attention head, D / H.
    #[must_use]
    pub const fn head_size(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// Reads a `config.json`; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::File`] for a missing, doubtful or impossible size.
    ///
    /// ```
    /// let text = br#"{"VOCAB_SIZE": 100, "HIDDEN_DIM": 64, "N_LAYERS": 2, "N_HEADS": 4, "D_HID": 128, "MAX_GENE_LEN": 32}"#;
    /// let config = scdiva::model::Config::parse("config.json", text)?;
    /// assert_eq!((config.vocab_size, config.head_size()), (100, 16));
    /// # Ok::<(), scdiva::Error>(())
    /// ```
    pub fn parse(file: &str, text: &[u8]) -> Result<Self> {
        let keys: Map<String, Value> = serde_json::from_slice(text).map_err(|e| {
            Error::file(
                file,
                format_args!("line {}, column {}", e.line(), e.column()),
                format_args!("not a JSON object: {e}"),
            )
        })?;
        let keys = Keys { file, keys };
        let vocab_size = keys.size(&["vocab_size", "VOCAB_SIZE"], None)?;
        let pad_token_id = keys.id(&["pad_token_id", "PAD_TOKEN_ID"], 0)?;
        let pad_fill_token_id = keys.id(&["pad_fill_token_id", "PAD_FILL_TOKEN_ID"], vocab_size.saturating_sub(3))?;
        let config = Self {
            name: keys.name()?,
            vocab_size,
            hidden_size: keys.size(&["hidden_size", "HIDDEN_DIM", "SCGPT_DIM"], None)?,
            num_layers: keys.size(&["num_layers", "N_LAYERS"], None)?,
            num_heads: keys.size(&["num_heads", "N_HEADS"], None)?,
            intermediate_size: keys.size(&["intermediate_size", "D_HID"], None)?,
            max_genes: keys.size(&["max_genes", "MAX_GENE_LEN"], None)?,
            rope_theta: keys.number(&["rope_theta", "ROPE_THETA"], Some(10_000.0))?,
            pad_token_id,
            pad_fill_token_id,
            reserved_ids: vec![
                pad_token_id,
                keys.id(&["mask_token_id", "MASK_TOKEN_ID"], 1)?,
                pad_fill_token_id,
                keys.id(&["bos_token_id", "BOS_TOKEN_ID"], vocab_size.saturating_sub(2))?,
                keys.id(&["eos_token_id", "EOS_TOKEN_ID"], vocab_size.saturating_sub(1))?,
            ],
            #[expect(clippy::cast_possible_truncation, reason = "the model computes in f32")]
            norm_eps: keys.number(&["norm_eps", "NORM_EPS"], Some(1e-5))? as f32,
            preprocess: keys.part("preprocess")?,
            serialization: keys.part("serialization")?,
        };
        config.check(file)?;
        Ok(config)
    }

    fn check(&self, file: &str) -> Result<()> {
        let at_least_one = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_layers", self.num_layers),
            ("num_heads", self.num_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_genes", self.max_genes),
        ];
        for (key, size) in at_least_one {
            // Sizes meet again as u32 in shaders; 2^24 rows or columns of f32 are past every device.
            if !(1..=1 << 24).contains(&size) {
                return Err(Error::file(file, key, format_args!("{size}, wanted 1 to {}", 1 << 24)));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_heads) || !self.head_size().is_multiple_of(2) {
            return Err(Error::file(
                file,
                "num_heads",
                format_args!(
                    "{} heads do not divide hidden_size {} into heads of an even size",
                    self.num_heads, self.hidden_size
                ),
            ));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return Err(Error::file(
                file,
                "rope_theta",
                format_args!("{}, wanted a positive number", self.rope_theta),
            ));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps > 0.0) {
            return Err(Error::file(
                file,
                "norm_eps",
                format_args!("{}, wanted a positive number", self.norm_eps),
            ));
        }
        for (key, id) in [
            ("pad_token_id", self.pad_token_id),
            ("pad_fill_token_id", self.pad_fill_token_id),
        ] {
            if id as usize >= self.vocab_size {
                return Err(Error::file(
                    file,
                    key,
                    format_args!("{id}, but vocab_size is {}", self.vocab_size),
                ));
            }
        }
        Ok(())
    }
}

struct Keys<'a> {
    file: &'a str,
    keys: Map<String, Value>,
}

impl Keys<'_> {
    /// The value under any of the spellings; where several stand, they must say the same.
    fn find(&self, spellings: &[&str]) -> Result<Option<(String, &Value)>> {
        let mut found: Option<(String, &Value)> = None;
        for &key in spellings {
            let Some(value) = self.keys.get(key) else { continue };
            match &found {
                None => found = Some((key.to_owned(), value)),
                Some((first, other)) if *other != value => {
                    return Err(Error::file(self.file, key, format_args!("{value}, but {first} is {other}")));
                }
                Some(_) => {}
            }
        }
        Ok(found)
    }

    fn number(&self, spellings: &[&str], default: Option<f64>) -> Result<f64> {
        match self.find(spellings)? {
            Some((key, value)) => value
                .as_f64()
                .ok_or_else(|| Error::file(self.file, key, format_args!("{value}, wanted a number"))),
            None => default.ok_or_else(|| Error::file(self.file, spellings.join(" or "), "missing")),
        }
    }

    fn size(&self, spellings: &[&str], default: Option<usize>) -> Result<usize> {
        match self.find(spellings)? {
            Some((key, value)) => value
                .as_u64()
                .and_then(|size| usize::try_from(size).ok())
                .ok_or_else(|| Error::file(self.file, key, format_args!("{value}, wanted a whole number"))),
            None => default.ok_or_else(|| Error::file(self.file, spellings.join(" or "), "missing")),
        }
    }

    fn id(&self, spellings: &[&str], default: usize) -> Result<u32> {
        let id = self.size(spellings, Some(default))?;
        u32::try_from(id).map_err(|_| Error::file(self.file, spellings.join(" or "), format_args!("{id} is no gene id")))
    }

    fn name(&self) -> Result<String> {
        match self.keys.get("name") {
            None => Ok("unnamed".to_owned()),
            Some(Value::String(name)) => Ok(name.clone()),
            Some(other) => Err(Error::file(self.file, "name", format_args!("{other}, wanted text"))),
        }
    }

    fn part<T: serde::de::DeserializeOwned + Default>(&self, key: &str) -> Result<T> {
        match self.keys.get(key) {
            None => Ok(T::default()),
            Some(value) => T::deserialize(value).map_err(|e| Error::file(self.file, key, e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = r#"{"name": "mini", "vocab_size": 100, "hidden_size": 64, "num_layers": 2, "num_heads": 4,
        "intermediate_size": 96, "max_genes": 32, "norm_eps": 1e-5}"#;

    #[test]
    fn both_spellings_say_the_same() {
        let released = r#"{"name": "mini", "VOCAB_SIZE": 100, "HIDDEN_DIM": 64, "SCGPT_DIM": 64, "N_LAYERS": 2, "N_HEADS": 4,
            "D_HID": 96, "MAX_GENE_LEN": 32, "ROPE_THETA": 10000}"#;
        let ours = Config::parse("a", OURS.as_bytes()).unwrap();
        assert_eq!(ours, Config::parse("b", released.as_bytes()).unwrap());
        assert_eq!(ours.pad_fill_token_id, 97);
    }

    #[test]
    fn refusals_name_the_file_and_the_key() {
        let cases = [
            (OURS.replace("\"num_layers\": 2,", ""), "num_layers"),
            (OURS.replace("\"num_heads\": 4", "\"num_heads\": 3"), "num_heads"),
            (
                OURS.replace("\"hidden_size\": 64", "\"hidden_size\": 64, \"HIDDEN_DIM\": 128"),
                "HIDDEN_DIM",
            ),
            (OURS.replace("\"max_genes\": 32", "\"max_genes\": 0"), "max_genes"),
            (OURS.replace("\"vocab_size\": 100", "\"vocab_size\": \"many\""), "vocab_size"),
            (OURS.replace("1e-5", "-1"), "norm_eps"),
            (OURS.replace("\"name\"", "name"), "line 1"),
        ];
        for (text, place) in cases {
            let message = Config::parse("some/config.json", text.as_bytes()).unwrap_err().to_string();
            assert!(
                message.starts_with("some/config.json: ") && message.contains(place),
                "{message}"
            );
        }
    }
}

//! The command, run on a small random model.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "several test files share this, each uses a part; a failure is a failed test"
)]

use super::checkpoint;
use crate::reference::model::Sizes;
use crate::reference::random::tensor;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

pub const SEED: u64 = 11;
const N_LABELS: usize = 3;

/// Large enough for the twenty genes of the fixtures.
pub fn sizes() -> Sizes {
    Sizes {
        vocab_size: 32,
        hidden_size: 16,
        num_layers: 2,
        num_heads: 2,
        intermediate_size: 24,
        max_genes: 16,
        rope_theta: 10_000.0,
    }
}

pub fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

/// A folder with a model and room for results.
pub struct Place(pub TempDir);

impl Place {
    /// A random checkpoint without vocabulary and head, as the released one is.
    pub fn bare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        checkpoint::write(folder.path(), &sizes(), SEED, Dtype::F32);
        Self(folder)
    }

    /// With the genes of the fixtures and a head of three labels that always prefers the second and rather the third than the first.
    pub fn new() -> Self {
        let d = sizes().hidden_size;
        Self::with_head(&[0.0; 4].repeat(d), &[0.0; 4 * N_LABELS], &[0.0, 3.0, 1.0])
    }

    /// As [`Place::new`], but each cell gets an answer of its own.
    pub fn telling() -> Self {
        let d = sizes().hidden_size;
        let (first, second) = (tensor(SEED, "0.weight", &[4, d]), tensor(SEED, "2.weight", &[N_LABELS, 4]));
        let large = |weights: Vec<f32>| weights.into_iter().map(|weight| 20.0 * weight).collect::<Vec<f32>>();
        Self::with_head(&large(first), &large(second), &[0.0; N_LABELS])
    }

    fn with_head(first: &[f32], second: &[f32], bias: &[f32; N_LABELS]) -> Self {
        let place = Self::bare();
        let mut vocabulary = "id\tsymbol\tensembl_id\tentropy\n".to_owned();
        for gene in 0..20 {
            writeln!(vocabulary, "{}\tGENE{gene}\tENSG{gene:011}\t0.{gene:02}", gene + 2).unwrap();
        }
        fs::write(place.path("vocab.tsv"), vocabulary).unwrap();
        let d = sizes().hidden_size;
        let bytes = |numbers: &[f32]| numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let tensors = [
            ("0.weight", vec![4, d], bytes(first)),
            ("0.bias", vec![4], bytes(&[0.0; 4])),
            ("2.weight", vec![N_LABELS, 4], bytes(second)),
            ("2.bias", vec![N_LABELS], bytes(bias)),
        ];
        let views = tensors
            .iter()
            .map(|(name, shape, data)| (*name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
        let metadata =
            [("kind", "annotate"), ("labels", r#"["B", "T, naive", "NK"]"#)].map(|(key, text)| (key.to_owned(), text.to_owned()));
        let head = safetensors::serialize(views, Some(metadata.into())).unwrap();
        fs::create_dir(place.path("heads")).unwrap();
        fs::write(place.path("heads/types.safetensors"), head).unwrap();
        place
    }

    /// Writes the head again, with more to say about itself.
    pub fn describe_head(&self, more: &[(&str, &str)]) {
        let path = self.path("heads/types.safetensors");
        let bytes = fs::read(&path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let mut metadata = header.metadata().clone().unwrap();
        metadata.extend(more.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())));
        let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
        fs::write(path, safetensors::serialize(tensors, Some(metadata)).unwrap()).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs the command on the CPU with this model.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// The command on the CPU with this model, to be run in a way of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scdiva"));
        command.args(arguments).args(["--model", &self.text("")]);
        // These open no device.
        if !matches!(arguments, ["merge" | "inspect", ..]) {
            command.args(["--device", "cpu"]);
        }
        command
    }

    /// Starts it, to be killed.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Everything in the folder, without the model.
    pub fn results(&self) -> Vec<String> {
        let entries = self
            .0
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        entries
            .filter(|name| !["config.json", "model.safetensors", "vocab.tsv", "heads"].contains(&name.as_str()))
            .collect()
    }
}

pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn run(arguments: &[&str]) -> Ran {
    Ran::of(Command::new(env!("CARGO_BIN_EXE_scdiva")).args(arguments))
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        Self {
            code: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        self
    }

    pub fn assert_error(&self, parts: &[&str]) {
        self.assert_code(2);
        let error = self
            .stderr
            .lines()
            .rev()
            .find(|line| line.starts_with("error: "))
            .unwrap_or_default();
        for part in parts {
            assert!(
                error.contains(part),
                "`{part}` is not in `{error}`, the last error of\n{}",
                self.stderr
            );
        }
        assert_eq!(self.stdout, "");
    }
}

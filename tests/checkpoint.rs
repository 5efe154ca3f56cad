//! Model files that are not what they should be: each is refused with the file, the place, what was found and what was wanted.
#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use scdiva::model::Tissue;
use scdiva::model::self_test::files;
use scdiva::{DeviceChoice, ModelFiles, ScDiVa};
use std::collections::BTreeMap;
use std::sync::Arc;

struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

type Tensors = BTreeMap<String, Tensor>;

/// The tensors of the self-test's model.
fn tensors() -> Tensors {
    let bytes = files().unwrap().read("model.safetensors").unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |view: TensorView<'_>| Tensor {
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        data: view.data().to_vec(),
    };
    stored
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, tensor(view)))
        .collect()
}

fn serialize(tensors: &Tensors, metadata: Option<&[(&str, &str)]>) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, t)| (name, TensorView::new(t.dtype, t.shape.clone(), &t.data).unwrap()));
    let metadata = metadata.map(|entries| entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
    safetensors::serialize(views, metadata).unwrap()
}

fn refusal(files: ModelFiles) -> String {
    pollster::block_on(ScDiVa::open(files, DeviceChoice::Cpu))
        .unwrap_err()
        .to_string()
}

/// The self-test's model with changed tensors.
fn with(change: impl FnOnce(&mut Tensors)) -> ModelFiles {
    let mut tensors = tensors();
    change(&mut tensors);
    let mut files = files().unwrap();
    files.insert("model.safetensors", Arc::new(serialize(&tensors, None)));
    files
}

fn with_file(name: &str, bytes: Vec<u8>) -> ModelFiles {
    let mut files = files().unwrap();
    files.insert(name, Arc::new(bytes));
    files
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[track_caller]
fn expect(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    const FILE: &str = "self-test/model.safetensors: ";
    let missing = with(|t| {
        t.remove("layers.0.attn.k_proj.weight");
    });
    expect(&refusal(missing), &[FILE, "layers.0.attn.k_proj.weight", "missing"]);

    let extra = with(|t| {
        let tensor = t.remove("gene_mask_emb").unwrap();
        t.insert(
            "gene_mask_emb".to_owned(),
            Tensor {
                data: tensor.data.clone(),
                shape: tensor.shape.clone(),
                ..tensor
            },
        );
        t.insert("layers.1.norm1.weight".to_owned(), tensor);
    });
    expect(&refusal(extra), &[FILE, "layers.1.norm1.weight", "does not have"]);

    let misshaped = with(|t| t.get_mut("layers.0.mlp.gate_proj.weight").unwrap().shape = vec![20, 24]);
    expect(
        &refusal(misshaped),
        &[FILE, "layers.0.mlp.gate_proj.weight", "[20, 24]", "wanted [24, 20]"],
    );

    for (tensor, value, shown) in [
        ("value_head.2.bias", f32::NAN, "NaN"),
        ("gene_head.weight", f32::INFINITY, "inf"),
    ] {
        let broken = with(|t| {
            let data = &mut t.get_mut(tensor).unwrap().data;
            let at = data.len() - 4;
            data[at..].copy_from_slice(&value.to_le_bytes());
        });
        expect(&refusal(broken), &[FILE, tensor, shown, "finite"]);
    }

    let wrong_type = with(|t| t.get_mut("final_norm.weight").unwrap().dtype = Dtype::I32);
    expect(&refusal(wrong_type), &[FILE, "final_norm.weight", "I32", "F32, F16 or BF16"]);
}

#[test]
fn every_truncation_is_refused() {
    let whole = files().unwrap().read("model.safetensors").unwrap();
    for n_bytes in [0, 1, 7, 8, 9, 100, 2_000, whole.len() / 2, whole.len() - 1] {
        let message = refusal(with_file("model.safetensors", whole[..n_bytes].to_vec()));
        expect(&message, &["self-test/model.safetensors: "]);
    }
    let appended = [whole, vec![0]].concat();
    expect(
        &refusal(with_file("model.safetensors", appended)),
        &["tensor data", "appended"],
    );
    let no_tensors = b"PK\x03\x04 and then something else altogether".to_vec();
    expect(
        &refusal(with_file("model.safetensors", no_tensors)),
        &["header", "no safetensors file"],
    );
}

#[test]
fn missing_files_are_named() {
    let all = files().unwrap();
    let mut without = ModelFiles::new("m");
    expect(&refusal(without.clone()), &["m: model.safetensors: missing"]);
    without.insert("model.safetensors", all.get("model.safetensors").unwrap());
    // Without sizes the tensors would have to be the released ones.
    expect(&refusal(without), &["m/config.json", "hidden_size", "gene_embedding.weight"]);
}

#[test]
fn a_vocabulary_must_fit_the_model() {
    let vocabulary = |id: &str| format!("id\tsymbol\tensembl_id\tentropy\n{id}\tCD3D\tENSG00000167286\t0.5\n").into_bytes();
    expect(
        &refusal(with_file("vocab.tsv", vocabulary("50"))),
        &["self-test/vocab.tsv: line 2", "50"],
    );
    expect(
        &refusal(with_file("vocab.tsv", vocabulary("two"))),
        &["self-test/vocab.tsv: line 2", "two"],
    );
    assert!(
        pollster::block_on(ScDiVa::open(with_file("vocab.tsv", vocabulary("49")), DeviceChoice::Cpu)).is_err(),
        "eos is no gene"
    );
    assert!(pollster::block_on(ScDiVa::open(with_file("vocab.tsv", vocabulary("46")), DeviceChoice::Cpu)).is_ok());
}

#[test]
fn heads_that_do_not_fit_are_named() {
    const FILE: &str = "self-test/heads/types.safetensors: ";
    const METADATA: [(&str, &str); 3] = [("kind", "annotate"), ("labels", r#"["B", "T"]"#), ("pooling", "latent")];
    fn tensor(shape: &[usize]) -> Tensor {
        let numbers = vec![0.5; shape.iter().product()];
        Tensor {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            data: floats(&numbers),
        }
    }
    let head = |width: usize, labels: usize| -> Tensors {
        [
            ("0.weight", tensor(&[6, width])),
            ("0.bias", tensor(&[6])),
            ("2.weight", tensor(&[labels, 6])),
            ("2.bias", tensor(&[labels])),
        ]
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .into()
    };
    let open = |tensors: &Tensors, metadata: &[(&str, &str)]| {
        let files = with_file("heads/types.safetensors", serialize(tensors, Some(metadata)));
        pollster::block_on(ScDiVa::open(files, DeviceChoice::Cpu)).unwrap().head(None)
    };
    assert_eq!(open(&head(20, 2), &METADATA).unwrap().labels, ["B", "T"]);
    type Case<'a> = (Tensors, Vec<(&'a str, &'a str)>, &'a [&'a str]);
    let with = |key: &'static str, text: &'static str| [&METADATA[..], &[(key, text)]].concat();
    let cases: [Case<'_>; 14] = [
        (head(21, 2), METADATA.to_vec(), &["0.weight", "[6, 21]", "[6, 20]"]),
        (head(20, 3), METADATA.to_vec(), &["2.weight", "[3, 6]", "[2, 6]"]),
        (head(20, 2), METADATA[1..].to_vec(), &["metadata kind", "missing"]),
        (
            head(20, 2),
            vec![METADATA[0], ("labels", "B, T")],
            &["metadata labels", "JSON"],
        ),
        (
            head(20, 2),
            vec![METADATA[0], METADATA[1], ("pooling", "max")],
            &["metadata pooling", "max", "latent+mean"],
        ),
        (
            head(20, 2),
            vec![METADATA[0], METADATA[1], ("ontology_ids", r#"["CL:0000236"]"#)],
            &["ontology_ids", "1 ids for 2 labels"],
        ),
        (
            head(20, 2),
            with("min_probability", "1.2"),
            &["metadata min_probability", "1.2", "0 to 1"],
        ),
        (
            head(20, 2),
            with("min_probability", "half"),
            &["metadata min_probability", "half", "0 to 1"],
        ),
        (
            head(20, 2),
            with("tissues", r#"["blood"]"#),
            &["metadata tissues", "JSON object"],
        ),
        (
            head(20, 2),
            with("tissues", r#"{"blood": ["NK"]}"#),
            &["metadata tissues", "\"NK\" is none"],
        ),
        (
            head(20, 2),
            with("tissues", r#"{"any": ["B"]}"#),
            &["metadata tissues", "\"any\""],
        ),
        (
            head(20, 2),
            with("tissue_ambiguous", r#"{"blood": ["B"]}"#),
            &["metadata tissue_ambiguous", "\"blood\" is none of the tissues"],
        ),
        (head(20, 2), with("model_hash", "abc"), &["metadata model_hash", "abc", "64"]),
        (
            head(20, 2),
            with(
                "model_hash",
                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            ),
            &["metadata model_hash", "another model", "0123456789abcdef"],
        ),
    ];
    for (tensors, metadata, parts) in cases {
        let message = open(&tensors, &metadata).unwrap_err().to_string();
        expect(&message, &[FILE]);
        expect(&message, parts);
    }
    let all: Vec<(&str, &str)> = [
        &METADATA[..],
        &[
            ("min_probability", "0.25"),
            ("tissues", r#"{"tonsil": ["T", "B"], "blood": ["T"]}"#),
            ("tissue_ambiguous", r#"{"blood": ["B"]}"#),
            ("reference", "two cells"),
        ],
    ]
    .concat();
    let said = open(&head(20, 2), &all).unwrap();
    assert_eq!((said.min_probability, said.reference.as_deref()), (0.25, Some("two cells")));
    let tissue = |name: &str, labels: &[usize], ambiguous: &[usize]| Tissue {
        name: name.to_owned(),
        labels: labels.to_vec(),
        ambiguous: ambiguous.to_vec(),
    };
    assert_eq!(said.tissues, [tissue("blood", &[1], &[0]), tissue("tonsil", &[0, 1], &[])]);
    let scdiva = pollster::block_on(ScDiVa::open(files().unwrap(), DeviceChoice::Cpu)).unwrap();
    expect(&scdiva.head(None).unwrap_err().to_string(), &["no heads/NAME.safetensors"]);
}

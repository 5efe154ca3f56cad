//! Damaged files: whatever happens to the bytes, an error that names the file, or an answer; no panic, no hang, bounded memory.
//!
//! The fuzz targets in `fuzz/` do the same for longer.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

#[path = "support/archive.rs"]
mod archive;

use archive::{gzip, zip};
use scdiva::cells::{CellMatrix, MatchOptions, Preprocess, Serialization, Tokenizer, Vocabulary};
use scdiva::model::{Checkpoint, Head, ModelFiles};
use scdiva::read::{self, Files, OpenOptions, Source};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Copies of each file; `SCDIVA_MUTATIONS` asks for more.
const N_COPIES: u64 = 400;
/// A damaged copy may declare more cells than a test has time for.
const MAX_CELLS: usize = 1000;
/// No fixture is larger than 200 kB: what a copy of one takes at once, gzip states, caches of blocks and all threads included.
const MAX_MEMORY: usize = 400 << 20;
const MAX_TIME: Duration = Duration::from_secs(5);

/// Counts what is allocated.
struct Counter;

/// What the system refuses is not counted.
fn count(place: *mut u8, layout: Layout) -> *mut u8 {
    if !place.is_null() {
        let now = ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
    }
    place
}

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[expect(
    unsafe_code,
    reason = "an allocator is unsafe to write; this one counts and asks the system's"
)]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(unsafe { System.alloc(layout) }, layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(unsafe { System.alloc_zeroed(layout) }, layout)
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTER: Counter = Counter;

/// Numbers that look random, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

/// Numbers at which sizes and indices go wrong.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// One of many ways to damage a file.
fn damaged(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=random.below(3) {
        let len = bytes.len();
        let (place, n) = (random.below(len), 1 + random.below(16));
        match random.below(7) {
            0 => bytes.truncate(place),
            1 => bytes.iter_mut().skip(place).take(n).for_each(|byte| *byte = random.byte()),
            2 => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << random.below(8);
                }
            }
            3 => {
                let number = EDGES[random.below(EDGES.len())].to_le_bytes();
                let size = [1, 2, 4, 8][random.below(4)];
                bytes
                    .iter_mut()
                    .skip(place)
                    .zip(&number[..size])
                    .for_each(|(byte, &to)| *byte = to);
            }
            4 => drop(bytes.drain(place..len.min(place + n))),
            5 => {
                let piece = bytes[place..len.min(place + n)].to_vec();
                let to = random.below(len);
                bytes.splice(to..to, piece);
            }
            _ => {
                let to = random.below(len);
                bytes.splice(to..to, vec![b",\n\"\t0 "[random.below(6)]; n]);
            }
        }
    }
    bytes
}

fn vocabulary() -> Vocabulary {
    let mut text = "id\tsymbol\tensembl_id\tentropy\n".to_owned();
    for gene in 0..20 {
        writeln!(text, "{}\tGENE{gene}\tENSG{gene:011}\t0.5", 100 + gene).unwrap();
    }
    Vocabulary::parse("vocab.tsv", text.as_bytes(), 120, &[]).unwrap()
}

/// What a user's file goes through: all that it holds is read, and made tokens of.
fn use_up(matrix: &dyn CellMatrix, vocabulary: &Vocabulary) -> scdiva::Result<()> {
    let n_cells = matrix.n_cells().min(MAX_CELLS);
    for start in (0..n_cells).step_by(5) {
        let cells = start..n_cells.min(start + 5);
        let (rows, names) = (matrix.read_rows(cells.clone())?, matrix.cell_names(cells.clone())?);
        assert_eq!((rows.n_rows(), names.len()), (cells.len(), cells.len()));
        assert!(rows.genes.iter().all(|&gene| (gene as usize) < matrix.n_genes()));
    }
    for column in matrix.cell_columns() {
        matrix.cell_column(column)?;
    }
    for embedding in matrix.embeddings() {
        matrix.embedding(embedding)?;
    }
    let tokenizer = Tokenizer::new(
        matrix,
        vocabulary,
        &Preprocess::default(),
        Serialization::default(),
        10,
        &MatchOptions::default(),
    )?;
    for cell in tokenizer.tokens(0..n_cells)? {
        assert!(cell.values.iter().all(|value| value.is_finite() && *value > 0.0), "{cell:?}");
    }
    Ok(())
}

/// Damages one file after the other of what belongs together, and holds every copy to the law.
fn assert_survives(name: &str, files: &[(String, Vec<u8>)], check: impl Fn(Vec<(String, Vec<u8>)>) -> scdiva::Result<()>) {
    check(files.to_vec()).unwrap();
    let n_copies = std::env::var("SCDIVA_MUTATIONS").map_or(N_COPIES, |n| n.parse().unwrap());
    let mut n_refused = 0;
    for copy in 0..n_copies {
        let mut random = Random(copy);
        let mut files = files.to_vec();
        let which = random.below(files.len());
        files[which].1 = damaged(&files[which].1, &mut random);
        let before = ALLOCATED.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let start = Instant::now();
        if let Err(error) = check(files) {
            let message = error.to_string();
            assert!(
                ["file", "io", "argument"].contains(&error.code()),
                "{name}, copy {copy}: {message}"
            );
            assert!(message.starts_with("damaged"), "{name}, copy {copy}: {message}");
            n_refused += 1;
        }
        let (time, memory) = (start.elapsed(), PEAK.load(Ordering::Relaxed).saturating_sub(before));
        assert!(time < MAX_TIME, "{name}, copy {copy}: {time:?}");
        assert!(memory < MAX_MEMORY, "{name}, copy {copy}: {memory} bytes");
    }
    assert!(n_refused > n_copies / 20, "{name}: only {n_refused} copies were refused");
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn triplet() -> [(String, Vec<u8>); 3] {
    let features: String = (0..20)
        .map(|gene| format!("ENSG{gene:011}\tGENE{gene}\tGene Expression\n"))
        .collect();
    let barcodes: String = (0..12).map(|cell| format!("cell-{cell}\n")).collect();
    let entries: String = (0..60)
        .map(|i| format!("{} {} {}\n", i * 7 % 20 + 1, i / 5 + 1, i % 9 + 1))
        .collect();
    let matrix = format!("%%MatrixMarket matrix coordinate integer general\n20 12 60\n{entries}");
    [("features.tsv", features), ("barcodes.tsv", barcodes), ("matrix.mtx", matrix)]
        .map(|(name, text)| (format!("damaged/{name}"), text.into_bytes()))
}

/// In one test, since what is counted is the memory of the whole process.
#[test]
fn every_damaged_copy_gives_an_error_or_an_answer() {
    let vocabulary = vocabulary();
    let open = |files: Vec<(String, Vec<u8>)>| {
        let files = files
            .into_iter()
            .map(|(name, bytes)| (name, Arc::new(bytes) as Arc<dyn Source>));
        let matrix = read::open(
            &Files::many("damaged", files.collect()),
            &OpenOptions::default(),
            Some(&vocabulary),
        )?;
        use_up(matrix.as_ref(), &vocabulary)
    };
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut names: Vec<String> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_file() && entry.path().extension().is_some_and(|extension| extension != "py"))
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut not_opened = Vec::new();
    for name in names {
        let bytes = fixture(&name);
        // Files that hold several matrices, or none of these genes, have their own tests.
        let file = vec![(format!("damaged-{name}"), bytes)];
        if let Err(error) = open(file.clone()) {
            assert!(error.to_string().starts_with("damaged"), "{error}");
            not_opened.push(name);
            continue;
        }
        assert_survives(&name, &file, open);
    }
    let wanted = [
        "data.tsv",
        "seurat.h5seurat",
        "tenx_peaks.h5",
        "tenx_v2_two_genomes.h5",
        "zarr_codecs_v2.zip",
        "zarr_codecs_v3.zip",
    ];
    assert_eq!(not_opened, wanted);
    let plain = triplet();
    assert_survives("10x triplet", &plain, open);
    let packed = plain.map(|(name, bytes)| (format!("{name}.gz"), gzip(&bytes)));
    assert_survives("10x triplet, gzip", &packed, open);
    let archive = [("damaged.zip".to_owned(), zip(&triplet(), 0, false))];
    assert_survives("zip", &archive, open);

    let vocab = [(
        "damaged-vocab.tsv".to_owned(),
        b"id\tsymbol\tensembl_id\tentropy\n7\tCD3D\tENSG00000167286\t0.5\n".to_vec(),
    )];
    assert_survives("vocab.tsv", &vocab, |files| {
        Vocabulary::parse("damaged", &files[0].1, 10, &[0]).map(|_| ())
    });
    let model = |name: &str| std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/mini").join(name)).unwrap();
    let head = [(
        "heads/cell_types.safetensors".to_owned(),
        model("heads/cell_types.safetensors"),
    )];
    let open_head = |files: Vec<(String, Vec<u8>)>| {
        let mut model = ModelFiles::new("damaged");
        files
            .into_iter()
            .for_each(|(name, bytes)| model.insert(name, Arc::new(bytes)));
        Head::open(&model, "cell_types", 128).map(|_| ())
    };
    assert_survives("head", &head, open_head);
    let config = [("config.json".to_owned(), model("config.json"))];
    let tensors: Arc<dyn Source> = Arc::new(model("model.safetensors"));
    assert_survives("config.json", &config, |files| {
        let mut model = ModelFiles::new("damaged");
        model.insert("model.safetensors", Arc::clone(&tensors));
        files
            .into_iter()
            .for_each(|(name, bytes)| model.insert(name, Arc::new(bytes)));
        Checkpoint::open(&model).map(|_| ())
    });
}

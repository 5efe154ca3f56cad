//! How long a file takes to read, and to read and tokenise: `cargo run --release --example read_speed -- FILE [VOCAB.tsv]`.
//!
//! Without a vocabulary, the genes of the file are taken as one.
#![expect(clippy::print_stdout, reason = "a command")]

use scdiva::cells::{MatchOptions, Preprocess, Serialization, Tokenizer, Vocabulary};
use scdiva::read::{self, Files, OpenOptions};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// As `tasks` reads.
const BLOCK: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("wanted the name of a file")?;
    let start = Instant::now();
    let files = Files::from_path(Path::new(&file))?;
    let matrix = read::open(&files, &OpenOptions::default(), None)?;
    let vocabulary = match arguments.next() {
        Some(path) => std::fs::read(path)?,
        None => {
            let mut text = String::from("id\tsymbol\tensembl_id\tentropy\n");
            for (id, gene) in matrix.gene_columns()[0].genes.iter().enumerate() {
                text += &format!("{id}\t{gene}\t\t0.5\n");
            }
            text.into_bytes()
        }
    };
    let vocabulary = Vocabulary::parse("vocab.tsv", &vocabulary, usize::MAX, &[])?;
    let n_cells = matrix.n_cells();
    let blocks = || (0..n_cells).step_by(BLOCK).map(|start| start..n_cells.min(start + BLOCK));
    println!("opened in {:.2} s", start.elapsed().as_secs_f64());

    let start = Instant::now();
    let mut n_values = 0;
    for cells in blocks() {
        n_values += matrix.read_rows(cells)?.values.len();
    }
    println!("{n_values} values read in {:.2} s", start.elapsed().as_secs_f64());

    let start = Instant::now();
    let tokenizer = Tokenizer::new(
        matrix.as_ref(),
        &vocabulary,
        &Preprocess::default(),
        Serialization::default(),
        1200,
        &MatchOptions::default(),
    )?;
    let mut n_tokens = 0;
    for cells in blocks() {
        n_tokens += tokenizer.tokens(cells)?.iter().map(|cell| cell.len()).sum::<usize>();
    }
    println!("{n_tokens} tokens of them in {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}

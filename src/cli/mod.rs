//! The command: arguments, what is said on the terminal, exit codes. Results go to files or stdout, everything else to stderr.

/// Says a line on the terminal, as `eprintln!` does, which panics where nobody listens any more.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::say(format_args!($($text)*))
    };
}

mod annotate;
mod embed;
mod fit;
mod forward;
mod h5ad;
mod heads;
mod info;
mod input;
mod inputs;
mod inspect;
mod interrupt;
mod merge;
mod output;
mod results;
mod run;
mod session;
mod tuning;

use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// Cell types and embeddings of single cells, by the foundation model scDiVa, on any GPU or on the CPU.
///
/// Exit codes: 0 done, 1 nothing could be annotated, 2 error, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "scdiva", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    session: session::Session,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cell types: one row a cell, with probability and runner-up
    Annotate(annotate::Annotate),
    /// Cell embeddings
    Embed(embed::Embed),
    /// A head for the cell types of your own reference, to annotate other matrices with
    Fit(fit::Fit),
    /// Joins the parts of a run that was split with --shard
    Merge(merge::Merge),
    /// The forward pass on given tokens, to check a checkpoint against another program
    Forward(forward::Forward),
    /// The device and the model in use
    Info(info::Info),
    /// What a matrix is to the model, before anything is computed: which matrix, counts or not, species, genes found; exits with 1 when it
    /// cannot be annotated
    Inspect(inspect::Inspect),
}

/// What a command that went through says to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    NothingAnnotated,
}

pub(crate) fn main() -> ExitCode {
    // Usage errors exit with 2 here, --help and --version with 0.
    let Arguments { command, session } = Arguments::parse();
    interrupt::watch();
    let outcome = pollster::block_on(async {
        match command {
            Command::Annotate(command) => command.run(&session).await,
            Command::Embed(command) => command.run(&session).await,
            Command::Fit(command) => command.run(&session).await,
            Command::Merge(command) => command.run(&session).await,
            Command::Forward(command) => command.run(&session).await,
            Command::Info(command) => command.run(&session).await,
            Command::Inspect(command) => command.run(&session),
        }
    });
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::NothingAnnotated) => ExitCode::from(1),
        // The reader of a pipe went away, as `head` does: it has what it wanted.
        Err(scdiva::Error::Io { file, source }) if file == "stdout" && source.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(_) if interrupt::requested() => {
            say!("cancelled");
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => {
            say_error(&error);
            ExitCode::from(2)
        }
    }
}

/// What is not heard, since a pipe was closed or a disk is full, changes nothing: the results go elsewhere.
fn say(line: std::fmt::Arguments<'_>) {
    // In one piece, so that lines of several processes do not mix.
    let _unheard = io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn say_error(error: &scdiva::Error) {
    say!("error: {error}");
}

//! Everything that is done to this repository by command: `cargo xtask help` lists it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its terminal")]

mod peers;
mod serve;
mod setup;
mod shell;
mod test;
mod wasm;

use anyhow::{Result, bail};
use shell::cargo;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  setup                  install what the tests need: system packages (Debian, as root), the wasm target, npm packages
  test [STEP…]           every check, in order; or only the steps named (`test --list` names them)
  wasm                   build the wasm module and the npm package in pkg/dist; print the module's size
  size                   print the size of the module built last
  page                   `wasm`, then build the page in www/dist
  serve [--port N] [--no-build] [--folder FOLDER]
                         `page`, then serve it (or another folder) on localhost (port 8080; 0 takes a free one)
  bench [OPTION…]        how fast kernels, batches, the start are on this machine (`bench --help`)
  bench peers [--small] [--no-build] [--case CASE]… [--threads N] [--seconds S] [--lengths MATRIX.h5ad] [PEER…]
                         time the forward pass beside other libraries (benches/peers/README.md); one table, and JSON in target/peers
  goldens [ARGUMENT…]    compute tests/goldens anew (Python with numpy)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    std::env::set_current_dir(shell::root())?;
    let Some((command, rest)) = arguments.split_first() else {
        bail!("no command\n\n{HELP}");
    };
    match (command.as_str(), rest) {
        ("help" | "--help" | "-h", _) => println!("{HELP}"),
        ("setup", []) => setup::all()?,
        ("test", steps) => test::run(steps)?,
        ("wasm", []) => wasm::package()?,
        ("size", []) => wasm::print_size()?,
        ("page", []) => wasm::page()?,
        ("serve", options) => serve::command(options)?,
        ("bench", [what, options @ ..]) if what == "peers" => peers::command(options)?,
        ("bench", options) => cargo(&["bench", "--bench", "speed", "--"]).args(options).run()?,
        ("goldens", options) => shell::python()?.arg("tests/goldens/make.py").args(options).run()?,
        (command, rest) => bail!("cannot do `{command} {}`\n\n{HELP}", rest.join(" ")),
    }
    Ok(())
}

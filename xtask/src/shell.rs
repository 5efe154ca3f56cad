//! Running other programs: said before it is done, and an error that can be repeated by hand when it fails.

use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The top folder of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A command line that is printed before it runs.
#[derive(Debug)]
pub(crate) struct Shell {
    command: Command,
    set: Vec<(OsString, OsString)>,
}

/// Starts the command line of a program that is found on the path.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Shell {
    Shell {
        command: Command::new(name),
        set: Vec::new(),
    }
}

/// The cargo that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Shell {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args(arguments)
}

/// npm, whose script has another name on Windows.
pub(crate) fn npm(arguments: &[&str]) -> Shell {
    program(if cfg!(windows) { "npm.cmd" } else { "npm" }).args(arguments)
}

/// A Python 3.
pub(crate) fn python() -> Result<Shell> {
    ["python3", "python"]
        .into_iter()
        .find(|name| exists(name))
        .map(program)
        .context("no Python: neither python3 nor python is on the path")
}

/// Whether a program is on the path: it can be asked for its version.
pub(crate) fn exists(name: &str) -> bool {
    program(name).args(["--version"]).succeeds()
}

impl Shell {
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(&name, &value);
        self.set.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    pub(crate) fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    fn line(&self) -> String {
        let set = self
            .set
            .iter()
            .map(|(name, value)| format!("{}={}", name.to_string_lossy(), quoted(value)));
        let program = Path::new(self.command.get_program()).file_stem().unwrap_or_default();
        let words = std::iter::once(program).chain(self.command.get_args()).map(quoted);
        set.chain(words).collect::<Vec<_>>().join(" ")
    }

    /// Runs it with this program's own output.
    pub(crate) fn run(mut self) -> Result<()> {
        let line = self.line();
        eprintln!("$ {line}");
        let status = self.command.status().with_context(|| format!("cannot start `{line}`"))?;
        if !status.success() {
            bail!("`{line}` failed ({status})");
        }
        Ok(())
    }

    /// Runs it in silence and gives its standard output, without the last line's end.
    pub(crate) fn output(mut self) -> Result<String> {
        let line = self.line();
        let output = self.command.output().with_context(|| format!("cannot start `{line}`"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{line}` failed ({}): {}", output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Runs it in silence and tells whether it started and succeeded.
    pub(crate) fn succeeds(mut self) -> bool {
        let silent = self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        silent.status().is_ok_and(|status| status.success())
    }
}

fn quoted(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().to_string_lossy().into_owned();
    if word.contains([' ', '"', '$']) {
        format!("'{word}'")
    } else {
        word
    }
}

//! Every check of the repository, in order: what CI runs.

use crate::setup::{self, WasmToolchain};
use crate::shell::{Shell, cargo, npm, program};
use crate::wasm;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Name, what it checks, how.
type Step = (&'static str, &'static str, fn() -> Result<()>);

const STEPS: [Step; 13] = [
    ("setup", "system packages, wasm target, npm and Python packages", setup::all),
    ("files", "no committed file over 10 MiB", committed_files),
    ("format", "cargo fmt", format),
    ("lint", "clippy, native", lint),
    ("lint-wasm", "clippy, wasm32", lint_wasm),
    ("cargo", "all Rust tests; GPU tests on lavapipe", rust_tests),
    ("fuzz", "the fuzz targets compile", fuzz_targets),
    ("swiftshader", "GPU tests once more, on SwiftShader", gpu_tests_on_swiftshader),
    ("docs", "rustdoc", docs),
    ("wasm", "the module, its size, the npm package", wasm::package),
    ("types", "the page's types; the page", page),
    ("npm", "the npm package in Node", npm_test),
    ("browser", "the page in headless Chromium", browser_test),
];

/// Runs the steps that are named, or all of them; goes on after a failure and says at the end what failed.
pub(crate) fn run(names: &[String]) -> Result<()> {
    if names == ["--list"] {
        for (name, what, _) in STEPS {
            println!("{name:11} {what}");
        }
        return Ok(());
    }
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|step| step.0 != name.as_str())) {
        bail!("test: no step {unknown}; `cargo xtask test --list` names them");
    }
    let chosen = STEPS
        .into_iter()
        .filter(|step| names.is_empty() || names.iter().any(|name| name == step.0));
    let mut results = Vec::new();
    for (name, what, step) in chosen {
        eprintln!("\n── {name}: {what}");
        let start = Instant::now();
        let result = step();
        if let Err(error) = &result {
            eprintln!("{name}: {error:#}");
        }
        results.push((name, what, start.elapsed(), result));
    }
    summary(&results)
}

fn summary(results: &[(&str, &str, Duration, Result<()>)]) -> Result<()> {
    println!();
    for (name, what, time, result) in results {
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("{verdict:6} {:>5} s  {name:11} {what}", time.as_secs());
    }
    let total: Duration = results.iter().map(|result| result.2).sum();
    let failed: Vec<&str> = results
        .iter()
        .filter(|result| result.3.is_err())
        .map(|result| result.0)
        .collect();
    println!(
        "{} steps, {} failed, {} min {} s",
        results.len(),
        failed.len(),
        total.as_secs() / 60,
        total.as_secs() % 60
    );
    if failed.is_empty() {
        return Ok(());
    }
    for (name, .., result) in results {
        if let Err(error) = result {
            println!("{name}: {error:#}");
        }
    }
    bail!("failed: {}", failed.join(", "))
}

fn committed_files() -> Result<()> {
    let list = program("git").args(["ls-files", "-z"]).output()?;
    let large = list
        .split('\0')
        .filter(|path| fs::metadata(path).is_ok_and(|file| file.len() > 10 << 20));
    let large: Vec<&str> = large.collect();
    if !large.is_empty() {
        bail!("over 10 MiB: {}", large.join(", "));
    }
    Ok(())
}

fn format() -> Result<()> {
    cargo(&["fmt", "--all", "--check"]).run()
}

fn lint() -> Result<()> {
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()
}

/// To run them takes a nightly compiler and time without end.
fn fuzz_targets() -> Result<()> {
    cargo(&[
        "check",
        "--locked",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target-dir",
        "target/fuzz",
    ])
    .run()
}

fn lint_wasm() -> Result<()> {
    let toolchain = WasmToolchain::find()?;
    if toolchain.has_clippy() {
        return toolchain.cargo("clippy", "")?.args(["--", "-D", "warnings"]).run();
    }
    eprintln!("clippy cannot check with Debian's standard library: the compiler's own lints only");
    toolchain.cargo("check", "-D warnings")?.run()
}

/// `cargo test` with the GPU tests on the driver that `driver` describes; where there is none to choose (not Linux), on the machine's own.
fn cargo_test(driver: Option<PathBuf>, package: &str) -> Result<Shell> {
    let test = cargo(&["test"]);
    if !cfg!(target_os = "linux") {
        return Ok(test);
    }
    let driver = driver.with_context(|| format!("no software adapter: install {package}"))?;
    // The loader's old and new name for the same setting.
    Ok(test.env("VK_ICD_FILENAMES", &driver).env("VK_DRIVER_FILES", &driver))
}

fn rust_tests() -> Result<()> {
    cargo_test(setup::lavapipe(), "mesa-vulkan-drivers")?.arg("--workspace").run()
}

fn gpu_tests_on_swiftshader() -> Result<()> {
    let mut test = cargo_test(setup::swiftshader(), "chromium")?;
    let mut names: Vec<String> = rust_test_files(Path::new("tests"))?;
    names.retain(|name| name.starts_with("gpu_") || name.starts_with("forward"));
    if names.is_empty() {
        bail!("tests/ has no gpu_*.rs and no forward*.rs");
    }
    for name in &names {
        test = test.args(["--test", name]);
    }
    test.run()
}

fn rust_test_files(folder: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn docs() -> Result<()> {
    cargo(&["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
}

fn page() -> Result<()> {
    npm(&["run", "build", "--workspace", "scdiva-page"]).run()
}

fn npm_test() -> Result<()> {
    npm(&["test", "--workspace", "scdiva"]).run()
}

fn browser_test() -> Result<()> {
    let chromium = setup::chromium().context("no Chromium: install it, or name one in SCDIVA_CHROMIUM")?;
    npm(&["test", "--workspace", "scdiva-browser-tests"])
        .env("SCDIVA_CHROMIUM", chromium)
        .run()
}

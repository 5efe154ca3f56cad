//! The browser's module, the npm package around it, and the page.

use crate::setup::{self, WASM, WASM_TARGET_DIR, WasmToolchain};
use crate::shell::{cargo, npm, program};
use anyhow::{Context, Result, bail};
use flate2::{Compression, write::GzEncoder};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

const OUTPUT: &str = "pkg/dist/wasm";
const MODULE: &str = "pkg/dist/wasm/scdiva_bg.wasm";
const MODELS: &str = "pkg/dist/models";

/// What a visitor may be asked to download for the module, after gzip; raise it only with a reason in the change log.
const GZIP_BUDGET: usize = 1_000_000;

/// Instructions that the compiler may have used; wasm-opt refuses what is not named.
const WASM_FEATURES: [&str; 7] = [
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// Nothing lies in the first KiB of the memory, where the stack would overflow. So what is added to an address can go into the load
/// itself: half a hundredth of the module after gzip, and the products are a little quicker.
const LOW_MEMORY: &str = "--low-memory-unused";

/// LLVM has inlined what pays. What wasm-opt would add makes the module a twentieth larger after gzip, and no quicker.
const NO_INLINING: [&str; 3] = [
    "--always-inline-max-function-size=0",
    "--flexible-inline-max-function-size=0",
    "--one-caller-inline-max-function-size=0",
];

/// The module, optimised, and the npm package complete in `pkg/dist`.
pub(crate) fn package() -> Result<()> {
    setup::npm_packages()?;
    WasmToolchain::find()?.cargo("build", "")?.run()?;
    let compiled = format!("{WASM_TARGET_DIR}/{WASM}/wasm/scdiva.wasm");
    recreate(OUTPUT)?;
    cargo(&[
        "run",
        "--quiet",
        "--package",
        "xtask",
        "--features",
        "bindgen",
        "--bin",
        "xtask-bindgen",
        "--",
    ])
    .args([compiled.as_str(), OUTPUT])
    .run()?;
    program("node")
        .args(["node_modules/binaryen/bin/wasm-opt", "-O3", LOW_MEMORY])
        .args(NO_INLINING)
        .args(WASM_FEATURES)
        .args([MODULE, "-o", MODULE])
        .run()?;
    copy_models()?;
    npm(&["run", "build", "--workspace", "scdiva"]).run()?;
    print_size()
}

/// `package`, then the page in `www/dist`.
pub(crate) fn page() -> Result<()> {
    package()?;
    npm(&["run", "build", "--workspace", "scdiva-page"]).run()
}

/// Prints how large the module is, and fails when it is too large.
pub(crate) fn print_size() -> Result<()> {
    let module = fs::read(MODULE).with_context(|| format!("{MODULE}: not built yet"))?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&module)?;
    let packed = gzip.finish()?.len();
    println!(
        "{MODULE}: {} kB, {} kB after gzip (budget {} kB)",
        module.len() / 1000,
        packed / 1000,
        GZIP_BUDGET / 1000
    );
    if packed > GZIP_BUDGET {
        bail!("the wasm module is over its budget");
    }
    Ok(())
}

/// Copies `models/mini` into the package and writes `models/mini.js`, which names its files in the one form that bundlers understand.
fn copy_models() -> Result<()> {
    recreate(MODELS)?;
    let mut module = String::from("// Written by `cargo xtask wasm` from the files of models/mini.\nexport const mini = {\n");
    for name in model_files(Path::new("models/mini"))? {
        let copy = format!("{MODELS}/mini/{name}");
        fs::create_dir_all(Path::new(&copy).parent().context("no folder")?)?;
        fs::copy(format!("models/mini/{name}"), &copy).with_context(|| copy.clone())?;
        writeln!(module, "  \"{name}\": new URL(\"./mini/{name}\", import.meta.url),")?;
    }
    module.push_str("};\n");
    fs::write(format!("{MODELS}/mini.js"), module)?;
    fs::write(
        format!("{MODELS}/mini.d.ts"),
        "export declare const mini: Record<string, URL>;\n",
    )?;
    Ok(())
}

/// The files that a model consists of; what is written about it stays behind.
fn model_files(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for name in ["config.json", "model.safetensors", "vocab.tsv"] {
        if !folder.join(name).exists() {
            bail!("{}: no {name}", folder.display());
        }
        names.push(name.to_owned());
    }
    let orthologs = "orthologs_mouse.tsv.gz";
    if folder.join(orthologs).exists() {
        names.push(orthologs.to_owned());
    }
    let heads = folder.join("heads");
    for entry in fs::read_dir(&heads).with_context(|| heads.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") {
            names.push(format!("heads/{name}"));
        }
    }
    names.sort();
    Ok(names)
}

/// An empty folder in place of whatever was there.
fn recreate(folder: &str) -> Result<()> {
    if Path::new(folder).exists() {
        fs::remove_dir_all(folder).with_context(|| folder.to_owned())?;
    }
    fs::create_dir_all(folder).with_context(|| folder.to_owned())
}

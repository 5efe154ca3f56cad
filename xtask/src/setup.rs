//! What the tests need beside Rust, Node and Python. Everything here may be called again at any time.

use crate::shell::{self, Shell, cargo, npm, program};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The target of the browser's module.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";
/// Its target folder, and where a downloaded compiler is kept.
pub(crate) const WASM_TARGET_DIR: &str = "target-wasm";
/// Baseline of every browser that has WebGPU, and of Node 20.
const WASM_FLAGS: &str = "-C target-feature=+simd128";

/// System packages, wasm target, npm packages, Python packages.
pub(crate) fn all() -> Result<()> {
    system_packages()?;
    WasmToolchain::find()?;
    npm_packages()?;
    python_packages()
}

/// What the tests ask Python for.
fn python_packages() -> Result<()> {
    python_environment("target/python", "tests/python/requirements.txt").map(drop)
}

/// The packages that a file lists, in an environment of their own; its Python.
pub(crate) fn python_environment(folder: &str, requirements: &str) -> Result<PathBuf> {
    let wanted = std::fs::read(requirements).with_context(|| requirements.to_owned())?;
    let stamp = Path::new(folder).join(".installed-from");
    let python = Path::new(folder).join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    shell::python()?.args(["-m", "venv", "--clear", folder]).run()?;
    program(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["-r", requirements])
        .run()?;
    std::fs::write(&stamp, wanted).with_context(|| stamp.display().to_string())?;
    Ok(python)
}

/// A software Vulkan adapter, its loader and a browser: on Debian as root they are installed, elsewhere they are asked for by
/// the tests that need them.
fn system_packages() -> Result<()> {
    let needed = [
        ("mesa-vulkan-drivers", lavapipe().is_some()),
        ("libvulkan1", vulkan_loader()),
        ("chromium", chromium().is_some()),
        // Debian's Python makes no environment without it.
        ("python3-venv", python_makes_environments()),
    ];
    let missing: Vec<&str> = needed
        .into_iter()
        .filter_map(|(package, found)| (!found).then_some(package))
        .collect();
    if missing.is_empty() || !cfg!(target_os = "linux") {
        return Ok(());
    }
    let is_root = program("id").arg("-u").output().is_ok_and(|id| id == "0");
    if !shell::exists("apt-get") || !is_root {
        eprintln!("not installed here, and the tests need it: {}", missing.join(", "));
        return Ok(());
    }
    let install = || {
        program("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .run()
    };
    install().or_else(|_| {
        program("apt-get").arg("update").run()?;
        install()
    })
}

/// `npm ci`, unless the installed packages are those of the lock file.
pub(crate) fn npm_packages() -> Result<()> {
    let lock = std::fs::read("package-lock.json").context("package-lock.json")?;
    let stamp = Path::new("node_modules/.installed-from");
    if std::fs::read(stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    npm(&["ci", "--no-audit", "--no-fund"]).run()?;
    std::fs::write(stamp, lock).context("node_modules/.installed-from")
}

/// The driver description of Mesa's software Vulkan adapter.
pub(crate) fn lavapipe() -> Option<PathBuf> {
    [
        "/usr/share/vulkan/icd.d",
        "/etc/vulkan/icd.d",
        "/usr/local/share/vulkan/icd.d",
    ]
    .into_iter()
    .filter_map(|folder| std::fs::read_dir(folder).ok())
    .flat_map(|entries| entries.flatten())
    .map(|entry| entry.path())
    .find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd"))
    })
}

/// The driver description of Chromium's software Vulkan adapter: a second, independent driver.
pub(crate) fn swiftshader() -> Option<PathBuf> {
    let path = Path::new("/usr/lib/chromium/vk_swiftshader_icd.json");
    path.exists().then(|| path.to_path_buf())
}

/// The browser that the page is tested in; `SCDIVA_CHROMIUM` names another one.
pub(crate) fn chromium() -> Option<PathBuf> {
    std::env::var_os("SCDIVA_CHROMIUM")
        .map(PathBuf::from)
        .into_iter()
        .chain(["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from))
        .find(|path| path.exists())
}

fn python_makes_environments() -> bool {
    shell::python().is_ok_and(|python| python.args(["-c", "import ensurepip"]).succeeds())
}

fn vulkan_loader() -> bool {
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
    ];
    folders.iter().any(|folder| Path::new(folder).join("libvulkan.so.1").exists())
}

/// A compiler and a standard library for wasm32.
#[derive(Debug)]
pub(crate) enum WasmToolchain {
    /// The compiler in use has the target.
    Installed,
    /// Debian's compiler for the web, unpacked into this folder: it builds the standard library itself.
    Debian(PathBuf),
}

impl WasmToolchain {
    /// The target of the compiler in use, installed if need be; Debian's packages where that fails.
    pub(crate) fn find() -> Result<Self> {
        let forced = std::env::var("SCDIVA_WASM_TOOLCHAIN").is_ok_and(|choice| choice == "debian");
        if !forced && (has_wasm_target() || (rustup_adds_target() && has_wasm_target())) {
            return Ok(Self::Installed);
        }
        let folder = std::path::absolute(Path::new(WASM_TARGET_DIR).join("debian"))?;
        unpack_debian(&folder).with_context(|| {
            format!("no standard library for {WASM}: `rustup target add {WASM}` failed, and so did Debian's packages")
        })?;
        Ok(Self::Debian(folder))
    }

    /// Whether clippy can check for wasm32: it must be of the same build as the standard library.
    pub(crate) fn has_clippy(&self) -> bool {
        matches!(self, Self::Installed)
    }

    /// `cargo SUBCOMMAND` for wasm32, in a target folder of its own.
    pub(crate) fn cargo(&self, subcommand: &str, more_flags: &str) -> Result<Shell> {
        let flags = format!("{WASM_FLAGS} {} {more_flags}", remap());
        let cargo = cargo(&[
            subcommand,
            "--lib",
            "--profile=wasm",
            "--target",
            WASM,
            "--target-dir",
            WASM_TARGET_DIR,
        ])
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", flags.trim());
        let Self::Debian(folder) = self else { return Ok(cargo) };
        let libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib"].map(|part| folder.join(part));
        Ok(cargo
            .args(["-Z", "build-std=std,panic_abort"])
            .env("RUSTC", folder.join("usr/bin/rustc"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("LD_LIBRARY_PATH", std::env::join_paths(libraries)?)
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", rust_lld()?))
    }
}

/// Keeps this machine's folders out of the module, which names source files where it can panic.
fn remap() -> String {
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    match home {
        Ok(home) if !home.contains(' ') => format!("--remap-path-prefix={home}=/cargo"),
        _ => String::new(),
    }
}

fn has_wasm_target() -> bool {
    let asked = program("rustc").args(["--print", "target-libdir", "--target", WASM]).output();
    let entries = asked.ok().and_then(|folder| std::fs::read_dir(folder).ok());
    entries.is_some_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
    })
}

fn rustup_adds_target() -> bool {
    shell::exists("rustup") && program("rustup").args(["target", "add", WASM]).run().is_ok()
}

/// The linker that comes with the compiler in use.
fn rust_lld() -> Result<PathBuf> {
    let sysroot = PathBuf::from(program("rustc").args(["--print", "sysroot"]).output()?);
    std::fs::read_dir(sysroot.join("lib/rustlib"))?
        .flatten()
        .map(|entry| entry.path().join("bin/rust-lld"))
        .find(|path| path.exists())
        .context("the compiler in use has no rust-lld")
}

/// Downloads and unpacks Debian's compiler for the web. It is not installed: it would push out other Rust packages.
fn unpack_debian(folder: &Path) -> Result<()> {
    let done = folder.join("unpacked");
    if done.exists() {
        return Ok(());
    }
    if !shell::exists("apt-get") || !shell::exists("dpkg") {
        bail!("this is no Debian");
    }
    std::fs::create_dir_all(folder)?;
    // An old list may name a compiler that is too old for this crate.
    program("apt-get").arg("update").run()?;
    let standard_library = dependency("libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = dependency(&standard_library, "libllvm")?;
    let download = ["rustc-web", &standard_library, "libstd-rust-web-dev", "rust-web-src", &llvm];
    program("apt-get").arg("download").args(download).folder(folder).run()?;
    let mut unpacked = 0;
    for entry in std::fs::read_dir(folder)?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            program("dpkg").arg("-x").arg(entry.path()).arg(folder).run()?;
            std::fs::remove_file(entry.path())?;
            unpacked += 1;
        }
    }
    if unpacked != download.len() {
        bail!(
            "{unpacked} packages came, {} were asked for: {}",
            download.len(),
            download.join(", ")
        );
    }
    link_sources(folder)?;
    std::fs::write(done, download.join("\n")).context("target-wasm/debian/unpacked")
}

/// Where `-Z build-std` looks for the standard library's sources, seen from the unpacked compiler.
#[cfg(unix)]
fn link_sources(folder: &Path) -> Result<()> {
    let sources = std::fs::read_dir(folder.join("usr/src"))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.join("library/std").exists())
        .context("rust-web-src has no standard library")?;
    let link = folder.join("usr/lib/rustlib/src/rust");
    std::fs::create_dir_all(folder.join("usr/lib/rustlib/src"))?;
    if link.is_symlink() {
        std::fs::remove_file(&link)?;
    }
    std::os::unix::fs::symlink(sources, link).context("link to the standard library's sources")
}

#[cfg(not(unix))]
fn link_sources(_folder: &Path) -> Result<()> {
    bail!("Debian's packages are for Linux")
}

/// The package that `package` depends on and whose name begins so: these names carry versions.
fn dependency(package: &str, beginning: &str) -> Result<String> {
    let list = program("apt-cache").args(["depends", package]).output()?;
    let mut names = list.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let name = names.find(|name| name.starts_with(beginning)).map(str::to_owned);
    name.with_context(|| format!("{package} depends on no {beginning}…"))
}

//! Who may import whom: the rules of `ARCHITECTURE.md`, held by reading the sources.
#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

use std::path::{Path, PathBuf};

/// A folder or file of `src/` and the modules of the crate that it may name.
const MAY_NAME: [(&str, &[&str]); 14] = [
    ("parallel", &[]),
    ("order", &[]),
    ("error", &[]),
    ("backend", &["error"]),
    ("cells", &["error", "order", "parallel"]),
    ("read", &["error", "cells"]),
    ("write", &["error", "cells"]),
    ("cpu", &["error", "backend", "parallel"]),
    ("gpu", &["error", "backend"]),
    ("model", &["error", "backend", "cells", "read"]),
    // cpu: the tasks on embeddings have no device but for neighbours, and their one heavy product is that of the CPU backend.
    (
        "tasks",
        &[
            "error", "model", "backend", "cells", "read", "write", "cpu", "order", "parallel",
        ],
    ),
    ("run", &["error", "model", "cells", "write", "tasks", "order"]),
    (
        "engine",
        &["error", "model", "backend", "cells", "read", "write", "tasks", "cpu", "gpu"],
    ),
    (
        "analysis",
        &["error", "model", "cells", "read", "write", "tasks", "run", "engine", "cpu"],
    ),
];

/// Crates that only some files may name.
const ONLY_IN: [(&str, &[&str]); 8] = [
    ("wgpu", &["gpu/"]),
    ("hdf5_reader", &["read/hdf5.rs", "read/filters.rs", "write/hdf5/"]),
    ("arrow_array", &["write/parquet.rs"]),
    ("rten_simd", &["cpu/"]),
    ("rayon", &["parallel.rs"]),
    ("clap", &["cli/", "cli.rs", "main.rs"]),
    ("indicatif", &["cli/", "cli.rs", "main.rs"]),
    ("wasm_bindgen", &["js.rs", "js/"]),
];

/// Parts of std that fail in wasm, and the files that wasm does not have.
const NOT_IN_WASM: [&str; 4] = ["std::fs", "std::env", "std::time", "std::process"];
const NATIVE_ONLY: [&str; 5] = ["read/file.rs", "write/file.rs", "cli/", "cli.rs", "main.rs"];

struct Source {
    /// Below `src/`, with `/`.
    path: String,
    /// Without comments, and without the unit tests at its end.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = vec![];
    while let Some(folder) = folders.pop() {
        let paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                sources.push(Source {
                    path: path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/"),
                    code: code
                        .lines()
                        .map(|line| line.split("//").next().unwrap_or_default())
                        .collect::<Vec<_>>()
                        .join("\n"),
                });
            }
        }
    }
    assert!(sources.len() > 30, "{} sources", sources.len());
    sources
}

/// The identifiers that follow `before` in `code`, also those in braces: `crate::{a, b::c}` gives a and b.
fn named_after<'a>(code: &'a str, before: &str) -> Vec<&'a str> {
    let word = |text: &'a str| {
        text.trim_start()
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or_default()
    };
    let mut names = vec![];
    for (at, _) in code.match_indices(before) {
        let rest = &code[at + before.len()..];
        let Some(inside) = rest.strip_prefix('{') else {
            names.push(word(rest));
            continue;
        };
        // Names at depth 0 of the braces.
        let (mut depth, mut start) = (0, 0);
        for (i, c) in inside.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    names.push(word(&inside[start..i]));
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    names.push(word(&inside[start..i]));
                    start = i + 1;
                }
                _ => {}
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Whether `code` names the crate or path `name`, as a word.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        !code[..at].ends_with(is_word) && !code[at + name.len()..].starts_with(is_word)
    })
}

fn is_under(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| {
        if place.ends_with('/') {
            path.starts_with(place)
        } else {
            path == *place
        }
    })
}

#[test]
fn modules_name_only_what_stands_before_them() {
    for Source { path, code } in sources() {
        for (module, allowed) in MAY_NAME {
            if is_under(&path, &[&format!("{module}.rs"), &format!("{module}/")]) {
                for name in named_after(&code, "crate::") {
                    // `crate::Error` and `crate::Result` are re-exports of error.
                    let is_known = MAY_NAME.iter().any(|(module, _)| *module == name);
                    let may = !is_known || name == module || allowed.contains(&name);
                    assert!(may, "src/{path} names crate::{name}; {module} may name {allowed:?}");
                }
            }
        }
    }
}

#[test]
fn the_command_and_the_page_use_public_items_only() {
    for Source { path, code } in sources() {
        if is_under(&path, &["main.rs", "cli.rs", "cli/"]) {
            let inside: Vec<&str> = named_after(&code, "crate::")
                .into_iter()
                .filter(|name| *name != "cli")
                .collect();
            assert!(inside.is_empty(), "src/{path} names crate::{inside:?} instead of scdiva::");
        }
    }
}

#[test]
fn crates_stay_in_their_folders() {
    for Source { path, code } in sources() {
        for (name, places) in ONLY_IN {
            assert!(
                !names(&code, name) || is_under(&path, places),
                "src/{path} names {name}, which belongs to {places:?}"
            );
        }
    }
}

#[test]
fn the_library_calls_nothing_that_fails_in_wasm() {
    for Source { path, code } in sources() {
        for name in NOT_IN_WASM {
            assert!(
                !names(&code, name) || is_under(&path, &NATIVE_ONLY),
                "src/{path} names {name}, which fails in wasm"
            );
        }
    }
}

#[test]
fn names_are_found_in_lists() {
    let code = "use crate::{backend::{Backend, Matrix}, error::Result};\nuse crate::cpu::Cpu; let x = crate::gpu::f();";
    assert_eq!(named_after(code, "crate::"), ["backend", "error", "cpu", "gpu"]);
    assert!(names("use wgpu::Buffer", "wgpu") && !names("my_wgpu_thing", "wgpu"));
}

//! Several inputs in one call, and the result of each.

use super::results::Format;
use scdiva::{Error, Result};
use std::path::{Path, PathBuf};

/// Endings that a result's name does not keep.
const ENDINGS: [&str; 12] = [
    ".gz", ".zip", ".h5ad", ".h5", ".loom", ".csv", ".tsv", ".txt", ".mtx", ".zarr", ".xz", ".matrix",
];

/// The results of several inputs in one folder, called by their [`names`].
///
/// # Errors
/// [`Error::Argument`] when an input is given twice.
pub(super) fn results_in(folder: &Path, inputs: &[PathBuf], format: Format) -> Result<Vec<PathBuf>> {
    let result = |name| folder.join(format!("{name}.{}", format.ending()));
    Ok(names(inputs)?.into_iter().map(result).collect())
}

/// What several inputs are called: each as its file, with as many folders before it as make it one of its kind.
///
/// # Errors
/// [`Error::Argument`] when an input is given twice.
pub(super) fn names(inputs: &[PathBuf]) -> Result<Vec<String>> {
    let parts: Vec<Vec<String>> = inputs.iter().map(|input| parts(input)).collect();
    let named = |input: usize, n_parts: usize| {
        let parts = &parts[input];
        parts[parts.len().saturating_sub(n_parts)..].join("_")
    };
    let most = parts.iter().map(Vec::len).max().unwrap_or(1);
    let mut names = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        let alone = |&n: &usize| (0..inputs.len()).all(|other| other == i || named(other, n) != named(i, n));
        let n_parts = (1..=most).find(alone).ok_or_else(|| Error::Argument {
            operation: "annotate",
            argument: "input",
            problem: format!("{} is given twice", input.display()),
        })?;
        names.push(named(i, n_parts));
    }
    Ok(names)
}

/// The folders before a file, and its name without endings.
fn parts(input: &Path) -> Vec<String> {
    let whole = std::path::absolute(input).unwrap_or_else(|_| input.to_owned());
    let mut parts: Vec<String> = whole
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    if let Some(name) = parts.last_mut() {
        while let Some(ending) = ENDINGS.iter().find(|ending| {
            let at = name.len().saturating_sub(ending.len());
            at > 0 && name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(ending))
        }) {
            name.truncate(name.len() - ending.len());
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_called_as_their_inputs_and_never_alike() {
        let inputs = ["/a/x.h5ad", "/a/s1/matrix.mtx.gz", "/a/s2/matrix.mtx.gz", "/b/Y.CSV.gz"].map(PathBuf::from);
        let results = results_in(Path::new("out"), &inputs, Format::Tsv).unwrap_or_default();
        let wanted = ["out/x.tsv", "out/s1_matrix.tsv", "out/s2_matrix.tsv", "out/Y.tsv"].map(PathBuf::from);
        assert_eq!(results, wanted);
        let twice = ["/a/x.h5ad", "/a/../a/x.h5ad"].map(PathBuf::from);
        assert_eq!(
            results_in(Path::new("out"), &twice[..1], Format::Csv)
                .map(|names| names.len())
                .ok(),
            Some(1)
        );
        assert!(results_in(Path::new("out"), &[inputs[0].clone(), inputs[0].clone()], Format::Csv).is_err());
    }
}

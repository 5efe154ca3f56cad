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

/// What several inputs are called: each as its file, with as many folders before it as make it one of its kind; where no folder tells files
/// apart, as `x.h5` and `x.h5ad` in one, with its ending. No two names are the same, also where a file system does not tell capitals apart.
///
/// # Errors
/// [`Error::Argument`] when an input is given twice.
pub(super) fn names(inputs: &[PathBuf]) -> Result<Vec<String>> {
    expect_each_once(inputs)?;
    let parts: Vec<Parts> = inputs.iter().map(|input| Parts::of(input)).collect();
    let mut names: Vec<String> = Vec::new();
    for (i, own) in parts.iter().enumerate() {
        let is_alone = |candidate: &(usize, Ending)| {
            let name = own.name(*candidate);
            (0..parts.len()).all(|other| other == i || !is_same(&parts[other].name(*candidate), &name))
        };
        let candidates = || {
            [Ending::Cut, Ending::Kept]
                .into_iter()
                .flat_map(|ending| (1..=own.n()).map(move |n| (n, ending)))
        };
        // `a/s1/x` and `a/s1_x` may be called alike when one has a folder before it and the other has not.
        let is_free = |name: &String| names.iter().all(|taken| !is_same(taken, name));
        let named = candidates()
            .filter(is_alone)
            .chain(candidates())
            .map(|candidate| own.name(candidate));
        let numbered = (2_usize..).map(|number| format!("{}_{number}", own.name((1, Ending::Kept))));
        names.extend(named.chain(numbered).find(is_free));
    }
    Ok(names)
}

fn is_same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

fn expect_each_once(inputs: &[PathBuf]) -> Result<()> {
    let places: Vec<PathBuf> = inputs.iter().map(|input| place(input)).collect();
    let again = (0..inputs.len()).find_map(|i| Some((i, places[..i].iter().position(|before| *before == places[i])?)));
    match again {
        None => Ok(()),
        Some((again, first)) => {
            let (first, again) = (&inputs[first], &inputs[again]);
            let other = if first == again {
                String::new()
            } else {
                format!(", the second time as {}", again.display())
            };
            Err(Error::Argument {
                operation: "annotate",
                argument: "input",
                problem: format!("{} is given twice{other}", first.display()),
            })
        }
    }
}

/// Where a file is, by whatever name.
fn place(input: &Path) -> PathBuf {
    let absolute = || std::path::absolute(input).unwrap_or_else(|_| input.to_owned());
    input.canonicalize().unwrap_or_else(|_| absolute())
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Cut,
    Kept,
}

/// A path, of which names are made.
struct Parts {
    folders: Vec<String>,
    file: String,
    file_without_endings: String,
}

impl Parts {
    fn of(input: &Path) -> Self {
        let whole = std::path::absolute(input).unwrap_or_else(|_| input.to_owned());
        let mut folders: Vec<String> = whole
            .components()
            .filter_map(|part| match part {
                std::path::Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect();
        let file = folders.pop().unwrap_or_default();
        let mut name = file.clone();
        while let Some(ending) = ENDINGS.iter().find(|ending| {
            let at = name.len().saturating_sub(ending.len());
            at > 0 && name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(ending))
        }) {
            name.truncate(name.len() - ending.len());
        }
        Self {
            folders,
            file,
            file_without_endings: name,
        }
    }

    /// How many parts a name may have.
    fn n(&self) -> usize {
        self.folders.len() + 1
    }

    /// The last `n` parts of the path.
    fn name(&self, (n, ending): (usize, Ending)) -> String {
        let file = match ending {
            Ending::Cut => &self.file_without_endings,
            Ending::Kept => &self.file,
        };
        let folders = &self.folders[self.folders.len().saturating_sub(n.saturating_sub(1))..];
        let parts: Vec<&str> = folders.iter().chain([file]).map(String::as_str).collect();
        parts.join("_")
    }
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

    #[test]
    fn no_two_inputs_share_a_name() {
        let named = |inputs: &[&str]| names(&inputs.iter().map(PathBuf::from).collect::<Vec<_>>()).unwrap_or_default();
        // A folder before one of them makes it the name of another.
        assert_eq!(
            named(&["/c/s1/counts.h5ad", "/c/s2/counts.h5ad", "/c/s1_counts.h5ad"]),
            ["s1_counts", "s2_counts", "c_s1_counts"]
        );
        assert_eq!(
            named(&["/b/c/s1_counts.h5ad", "/b/c/s1/counts.h5ad", "/b/c/s2/counts.h5ad"]),
            ["s1_counts", "c_s1_counts", "s2_counts"]
        );
        assert_eq!(named(&["/c/x.h5ad", "/c/x.h5", "/c/y.h5"]), ["x.h5ad", "x.h5", "y"]);
        assert_eq!(named(&["/c/x.csv", "/c/X.csv.gz"]), ["x.csv", "X.csv.gz"]);
        // No part of these paths tells the names apart.
        assert_eq!(named(&["/a/b.csv", "/a_b.csv", "/a/b.csv.gz", "/A_B.csv"]).len(), 4);
        let paths = ["/a/b", "/a_b", "/A/b", "/A_b", "/a/B", "/A_B"];
        for n in 1..=paths.len() {
            let mut names: Vec<String> = named(&paths[..n]).iter().map(|name| name.to_lowercase()).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), n);
        }
    }
}

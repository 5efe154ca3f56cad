//! What is inside the name of a gene: Ensembl ids, versions, prefixes of genomes, numbers that make names unique.

/// An Ensembl gene id, and what else its name holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EnsemblId<'a> {
    /// Without version.
    pub(super) id: &'a str,
    /// `ENS`, or with letters of the species, such as `ENSMUS`.
    pub(super) species: &'a str,
    /// A symbol before or behind; empty where there is none.
    pub(super) rest: &'a str,
}

/// Digits of an Ensembl id.
const N_DIGITS: usize = 11;
/// What stands between an id and a symbol.
const SEPARATORS: [char; 6] = ['_', '|', '-', ':', ' ', '.'];

/// The Ensembl gene id in a name, if there is exactly one: `ENSG00000182378.15_PAR_Y`, `RP11-309M23.1_ENSG00000235912`.
pub(super) fn ensembl_id(name: &str) -> Option<EnsemblId<'_>> {
    let mut found = name
        .match_indices("ENS")
        .filter_map(|(start, _)| Some((start, id_at(name, start)?)));
    let (start, (species, end)) = found.next()?;
    if found.next().is_some() {
        return None;
    }
    let is_part = |c: char| c.is_ascii_alphanumeric();
    let (before, behind) = (&name[..start], &name[end..]);
    if before.ends_with(is_part) || behind.starts_with(is_part) {
        return None;
    }
    let behind = match behind.strip_prefix('.') {
        Some(version) => version.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => behind,
    };
    let (before, behind) = (before.trim_end_matches(SEPARATORS), behind.trim_start_matches(SEPARATORS));
    // The copy of a gene on Y has the id of the one on X.
    let rest = match (before, behind) {
        ("", "PAR_Y") => "",
        ("", rest) | (rest, "" | "PAR_Y") => rest,
        _ => "",
    };
    Some(EnsemblId {
        id: &name[start..end],
        species,
        rest,
    })
}

/// The species' letters and the end of the gene id that starts here.
fn id_at(name: &str, start: usize) -> Option<(&str, usize)> {
    let rest = &name[start..];
    let n_letters = rest.bytes().take_while(u8::is_ascii_uppercase).count();
    let species = rest[..n_letters].strip_suffix('G')?;
    let n_digits = rest.bytes().skip(n_letters).take_while(u8::is_ascii_digit).count();
    (n_digits == N_DIGITS).then_some((species, start + n_letters + n_digits))
}

/// `ENSG00000167286.15` → `ENSG00000167286`. Only Ensembl ids have versions: symbols such as `RP11-782C8.1` keep their dot.
pub(super) fn without_version(name: &str) -> &str {
    match name.split_once('.') {
        Some((id, version)) if id.starts_with("ENS") && !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit()) => id,
        _ => name,
    }
}

/// Genomes that 10x references put before names, and whose they are.
const GENOMES: [(&str, &str); 19] = [
    ("GRCh38", "human"),
    ("GRCh37", "human"),
    ("hg38", "human"),
    ("hg19", "human"),
    ("GRCm39", "mouse"),
    ("GRCm38", "mouse"),
    ("mm39", "mouse"),
    ("mm10", "mouse"),
    ("mm9", "mouse"),
    ("mRatBN7", "rat"),
    ("Rnor6", "rat"),
    ("rn7", "rat"),
    ("rn6", "rat"),
    ("Mmul10", "rhesus macaque"),
    ("GRCz11", "zebrafish"),
    ("danRer11", "zebrafish"),
    ("BDGP6", "fruit fly"),
    ("dm6", "fruit fly"),
    ("WBcel235", "roundworm"),
];

/// `GRCh38_CD3D`, `hg19-CD3D`, `GRCh38______CD3D`, `GRCh38-2020-A_CD3D` → the genome, its species, and `CD3D`.
pub(super) fn genome_prefix(name: &str) -> Option<(&'static str, &'static str, &str)> {
    let (genome, species) = GENOMES.into_iter().find(|(genome, _)| name.starts_with(genome))?;
    let trimmed = |text: &'_ str| {
        text.starts_with(['_', '-'])
            .then(|| text.trim_start_matches(['_', '-']).len())
    };
    let behind = |text: &str| trimmed(text).map(|len| text.len() - len);
    let mut rest = &name[genome.len()..];
    rest = &rest[behind(rest)?..];
    // The release of the reference, 2020-A, and the kind of its annotation.
    if let Some((release, after)) = rest.split_at_checked(6)
        && release.as_bytes()[..4].iter().all(u8::is_ascii_digit)
        && release.as_bytes()[4] == b'-'
    {
        rest = &after[behind(after)?..];
    }
    for kind in ["premrna", "pre_mrna"] {
        if let Some(after) = rest.strip_prefix(kind) {
            rest = &after[behind(after)?..];
        }
    }
    (!rest.is_empty()).then_some((genome, species, rest))
}

/// `GENE-1` → `GENE`, as `var_names_make_unique` of anndata and `make.unique` of R count what comes again.
pub(super) fn without_count(name: &str) -> Option<&str> {
    let (stem, count) = name.rsplit_once(['-', '.'])?;
    let counts = !stem.is_empty() && (1..=3).contains(&count.len()) && count.bytes().all(|b| b.is_ascii_digit());
    counts.then_some(stem)
}

/// What different spellings have in common: R and Seurat write `HLA.A` and `HLA-A` for one gene, others `C1ORF112` and `C1orf112`.
pub(super) fn spelling(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '.' | '_' => '-',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

/// Whether a name is written as genes of mouse are: `Cd3d`, `Gm1234`, `4930402F06Rik`, `H2-Aa`, `mt-Nd1`.
pub(super) fn is_title(name: &str) -> bool {
    let letters: Vec<u8> = name.bytes().filter(u8::is_ascii_alphabetic).collect();
    let [first, rest @ ..] = letters.as_slice() else {
        return false;
    };
    let n_lower = rest.iter().filter(|letter| letter.is_ascii_lowercase()).count();
    // C1orf112 is human.
    if name.contains("orf") {
        return false;
    }
    let is_rik = name.ends_with("Rik") && name.starts_with(|c: char| c.is_ascii_digit());
    is_rik || name.starts_with("mt-") || (first.is_ascii_uppercase() && n_lower > 0 && n_lower + 1 >= rest.len())
}

/// What Excel makes of SEPT2, MARCH1 and DEC1: `2-Sep`, `1-Mar`, `Mar-01`.
pub(super) fn is_excel_date(name: &str) -> bool {
    let Some((left, right)) = name.split_once('-') else {
        return false;
    };
    let is_month = |text: &str| ["Mar", "Sep", "Dec", "Oct", "Apr", "Feb", "Nov"].contains(&text);
    let is_day = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    (is_day(left) && is_month(right)) || (is_month(left) && is_day(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ensembl_ids_are_found_inside_names() {
        let cases = [
            ("ENSG00000167286", "ENSG00000167286", "ENS", ""),
            ("ENSG00000167286.15", "ENSG00000167286", "ENS", ""),
            ("ENSG00000182378.15_PAR_Y", "ENSG00000182378", "ENS", ""),
            ("RP11-309M23.1_ENSG00000235912", "ENSG00000235912", "ENS", "RP11-309M23.1"),
            ("ENSG00000167286.9_CD3D", "ENSG00000167286", "ENS", "CD3D"),
            ("CD3D|ENSG00000167286", "ENSG00000167286", "ENS", "CD3D"),
            ("ENSMUSG00000032094", "ENSMUSG00000032094", "ENSMUS", ""),
        ];
        for (name, id, species, rest) in cases {
            assert_eq!(ensembl_id(name), Some(EnsemblId { id, species, rest }), "{name}");
        }
        for name in [
            "CD3D",
            "ENSG0000016728",
            "ENSG000001672861",
            "ENST00000300692",
            "XENSG00000167286",
            "ENSG",
        ] {
            assert_eq!(ensembl_id(name), None, "{name}");
        }
        assert_eq!(ensembl_id("ENSG00000167286_ENSG00000182378"), None);
    }

    #[test]
    fn genomes_before_names_are_told_from_names() {
        for name in [
            "GRCh38_CD3D",
            "GRCh38-CD3D",
            "hg19_CD3D",
            "GRCh38______CD3D",
            "GRCh38-2020-A_CD3D",
            "hg19_premrna_CD3D",
        ] {
            let (_, species, rest) = genome_prefix(name).unwrap_or(("", "", ""));
            assert_eq!((species, rest), ("human", "CD3D"), "{name}");
        }
        assert_eq!(genome_prefix("mm10___Cd3d"), Some(("mm10", "mouse", "Cd3d")));
        for name in ["CD3D", "GRCh38", "GRCh38_", "hg19CD3D"] {
            assert_eq!(genome_prefix(name), None, "{name}");
        }
    }

    #[test]
    fn names_of_mouse_are_told_by_their_letters() {
        for name in ["Cd3d", "Gm1234", "4930402F06Rik", "H2-Aa", "mt-Nd1", "Trbc2"] {
            assert!(is_title(name), "{name}");
        }
        for name in ["CD3D", "C1orf112", "HLA-DRA", "MT-ND1", "cd3d", "A", "7SK"] {
            assert!(!is_title(name), "{name}");
        }
        assert!(is_excel_date("2-Sep") && is_excel_date("Mar-01") && !is_excel_date("HLA-A"));
    }
}

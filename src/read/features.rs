//! Which features are genes, where a file says of what kind each is.

use crate::cells::SparseRows;

const EXPRESSION: &str = "Gene Expression";
/// So many kinds are told apart; more is no list of kinds.
const MAX_KINDS: usize = 5;

/// The kinds of features that are no genes, and how many are of each.
#[derive(Default)]
pub(super) struct OtherKinds {
    kinds: Vec<(String, usize)>,
    n_more: usize,
}

impl OtherKinds {
    /// Whether features of this kind are genes; without a kind they are. Others are counted.
    pub(super) fn is_gene(&mut self, kind: &str) -> bool {
        if kind.is_empty() || kind.eq_ignore_ascii_case(EXPRESSION) {
            return true;
        }
        let n_kinds = self.kinds.len();
        match self.kinds.iter_mut().find(|(other, _)| other == kind) {
            Some((_, n)) => *n += 1,
            None if n_kinds < MAX_KINDS => self.kinds.push((kind.to_owned(), 1)),
            None => self.n_more += 1,
        }
        false
    }

    fn list(&self) -> String {
        let kinds = self.kinds.iter().map(|(kind, n)| format!("{n} of type {kind}"));
        let more = (self.n_more > 0).then(|| format!("{} of others", self.n_more));
        kinds.chain(more).collect::<Vec<_>>().join(", ")
    }

    /// What the user should know of features that are left out.
    pub(super) fn note(&self) -> Option<String> {
        let list = self.list();
        (!list.is_empty()).then(|| format!("features that are not genes were left out: {list}"))
    }

    /// What is wrong where there are no genes.
    pub(super) fn no_genes(&self) -> String {
        format!("no features of the type {EXPRESSION}; it has {}", self.list())
    }
}

/// Which gene each feature is, where some are genes and some are not.
pub(super) fn genes_among(kinds: &[String], others: &mut OtherKinds) -> Option<Vec<Option<u32>>> {
    let mut n_genes = 0;
    let gene_of = kinds.iter().map(|kind| {
        others.is_gene(kind).then(|| {
            n_genes += 1;
            n_genes - 1
        })
    });
    let gene_of: Vec<Option<u32>> = gene_of.collect();
    (n_genes > 0 && (n_genes as usize) < kinds.len()).then_some(gene_of)
}

/// Of what each feature is called, or else says, that of the genes.
pub(super) fn of_genes(texts: Vec<String>, gene_of: Option<&[Option<u32>]>) -> Vec<String> {
    let Some(gene_of) = gene_of else { return texts };
    let genes = texts.into_iter().zip(gene_of);
    genes.filter_map(|(text, gene)| gene.map(|_| text)).collect()
}

/// Rows of features as rows of genes.
pub(super) fn rows_of_genes(rows: SparseRows, gene_of: Option<&[Option<u32>]>) -> SparseRows {
    let Some(gene_of) = gene_of else { return rows };
    let mut kept = SparseRows {
        offsets: vec![0],
        ..SparseRows::default()
    };
    for row in 0..rows.n_rows() {
        let (features, values) = rows.row(row);
        for (&feature, &value) in features.iter().zip(values) {
            if let Some(gene) = gene_of[feature as usize] {
                kept.genes.push(gene);
                kept.values.push(value);
            }
        }
        kept.offsets.push(kept.genes.len());
    }
    kept
}

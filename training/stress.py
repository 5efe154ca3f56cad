"""Cells of the check sets, changed as users' files differ from them: what that does to the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from . import yardsticks
from .cells import read_check
from .config import CheckConfig, Config
from .genes import GeneTable, Vocabulary, read_vocabulary

SHALLOW, PANEL, DEEP = 300, 1000, 4

# Counts per 10,000 that an interferon response adds, roughly: of every type, then more of myeloid cells. Genes and orders of size
# as the literature has them for stimulated blood.
INTERFERON = {
    "ISG15": 40, "ISG20": 15, "IFI6": 15, "IFIT1": 8, "IFIT2": 6, "IFIT3": 12, "MX1": 8, "LY6E": 15, "IFITM1": 20, "IFITM2": 8,
    "IFITM3": 8, "OAS1": 4, "IRF7": 5, "STAT1": 4, "XAF1": 4, "EPSTI1": 4, "PLSCR1": 3, "SAMD9L": 3, "TNFSF10": 3, "BST2": 6,
    "IFI44L": 5, "IFI35": 4, "SP110": 3, "UBE2L6": 5, "PSMB9": 5, "TRIM22": 3, "EIF2AK2": 2, "IFI16": 2, "RNF213": 2,
    "SAT1": 5, "NT5C3A": 3, "OASL": 2, "RSAD2": 2,
}  # fmt: skip
MYELOID = ("CD14 Mono", "CD16 Mono", "DC")
INTERFERON_MYELOID = {
    "ISG15": 80, "CXCL10": 120, "CXCL11": 20, "CCL8": 80, "CCL2": 60, "APOBEC3A": 40, "IFITM3": 60, "TNFSF10": 20, "RSAD2": 12,
    "IFIT2": 15, "IFIT3": 20, "IL1RN": 12, "WARS1": 15, "LGALS9": 6, "TYMP": 15, "SERPING1": 5, "GBP1": 8, "CXCL9": 5,
    "LAMP3": 2, "IFI27": 8, "IFI30": 5, "SOD2": 10,
}  # fmt: skip
# And what monocytes then have a third of.
LESS_IN_MONOCYTES = ("S100A8", "S100A9", "LYZ", "CD14", "S100A12", "FCN1", "CSF3R")


@dataclass
class Study:
    """Shapes: truth [n_cells]; counts CSR [n_cells, n_genes], of the vocabulary's genes; elsewhere [n_cells]: on others."""

    truth: np.ndarray
    counts: sp.csr_matrix
    elsewhere: np.ndarray


def stress_table(
    config: Config,
    data: Path,
    folder: Path,
    reference: yardsticks.Reference,
    hgnc: GeneTable,
    answer: Callable[[Study], np.ndarray],
) -> str:
    """Macro-F1 of the model (`answer` gives names) and of the Spearman centroid on changed cells."""
    vocabulary = read_vocabulary(folder / "vocab.tsv")
    column = hgnc.match(vocabulary.symbols, vocabulary.ensembl_ids)
    onto = sp.csr_matrix((np.ones(len(column)), (np.arange(len(column)), column)), shape=(len(column), len(hgnc.symbols)))
    changes = {
        "as measured": lambda study, _: study,
        f"{SHALLOW} counts a cell": _shallow,
        f"{PANEL:,} genes": _panel,
        f"{DEEP} cells of a type added": _deep,
        "interferon": lambda study, random: _stimulated(study, vocabulary, random),
    }
    lines = [
        "### Changed cells",
        "",
        "Macro-F1 of scDiVa mini / of the Spearman centroid (over the model's genes). Cells are thinned to 300 counts; cut to the"
        " 1,000 genes of most variance; four of a type added up, as a deeper run sees them; or given an interferon response. All"
        " of it is simulated.",
        "",
        "| study | " + " | ".join(changes) + " |",
        "|---" * (1 + len(changes)) + "|",
    ]
    for check in config.checks:
        shown = []
        for change in changes.values():
            study = change(read_study(data, check, vocabulary), np.random.default_rng(config.seed))
            train, labels, query = reference.shared_with((study.counts @ onto).tocsr(), list(reference.sets))
            other, _ = yardsticks.spearman_centroid(train, labels, query)
            shown.append(f"{yardsticks.macro_f1(study.truth, answer(study)):.3f} / {yardsticks.macro_f1(study.truth, other):.3f}")
        lines.append(f"| {Path(check.file).stem} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def read_study(data: Path, check: CheckConfig, vocabulary: Vocabulary) -> Study:
    """The cells of a check set as they were measured."""
    return Study(*read_check(data, check, vocabulary))


def _shallow(study: Study, random: np.random.Generator) -> Study:
    counts = study.counts.copy()
    total = np.asarray(counts.sum(1)).ravel() + study.elsewhere
    rate = np.minimum(1.0, SHALLOW / np.maximum(total, 1.0))
    whole = np.floor(counts.data + random.random(len(counts.data))).astype(np.int64)
    counts.data = random.binomial(whole, np.repeat(rate, np.diff(counts.indptr))).astype(np.float32)
    counts.eliminate_zeros()
    return Study(study.truth, counts, study.elsewhere * rate)


def _panel(study: Study, _: np.random.Generator) -> Study:
    values = yardsticks.log_normalised(study.counts)
    mean = np.asarray(values.mean(0)).ravel()
    variance = np.asarray(values.multiply(values).mean(0)).ravel() - mean**2
    kept = np.zeros(len(variance))
    kept[np.argsort(-variance, kind="stable")[:PANEL]] = 1.0
    counts = (study.counts @ sp.diags(kept)).tocsr().astype(np.float32)
    counts.eliminate_zeros()
    return Study(study.truth, counts, np.zeros_like(study.elsewhere))


def _deep(study: Study, random: np.random.Generator) -> Study:
    rows, groups = [], []
    for name in np.unique(study.truth):
        mine = random.permutation(np.flatnonzero(study.truth == name))
        for first in range(0, len(mine), DEEP):
            # The last few are filled up with others of their type.
            rows.append(np.resize(np.r_[mine[first : first + DEEP], mine], DEEP))
            groups.append(name)
    together = sp.csr_matrix(
        (np.ones(DEEP * len(rows)), (np.repeat(np.arange(len(rows)), DEEP), np.concatenate(rows))),
        shape=(len(rows), len(study.truth)),
    )
    return Study(np.array(groups), (together @ study.counts).tocsr().astype(np.float32), together @ study.elsewhere)


def _stimulated(study: Study, vocabulary: Vocabulary, random: np.random.Generator) -> Study:
    column = {symbol: i for i, symbol in enumerate(vocabulary.symbols)}
    total = np.asarray(study.counts.sum(1)).ravel() + study.elsewhere
    counts = study.counts.tolil()
    for added, mine in (
        (INTERFERON, np.ones(len(total), dtype=bool)),
        (INTERFERON_MYELOID, np.isin(study.truth, MYELOID)),
    ):
        for symbol, rate in added.items():
            strength = rate * 1e-4 * total * np.exp(random.normal(0.0, 0.6, len(total)))
            new = np.where(mine, random.poisson(strength), 0).astype(np.float32)
            counts[:, column[symbol]] = counts[:, [column[symbol]]].toarray() + new[:, None]
    monocytes = np.flatnonzero(np.isin(study.truth, MYELOID[:2]))
    for symbol in LESS_IN_MONOCYTES:
        counts[monocytes, column[symbol]] = np.round(counts[monocytes, [column[symbol]]].toarray() * 0.3) if len(monocytes) else 0
    return Study(study.truth, counts.tocsr(), study.elsewhere)

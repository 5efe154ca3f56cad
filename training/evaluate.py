"""`evaluate`: the exported folder on studies that it was not trained on, beside a logistic regression."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from .cells import Tokenizer, pad, read_counts
from .config import CheckConfig, Config
from .export import load
from .genes import GeneTable, read_hgnc, read_vocabulary

YARDSTICK_FILES = ("pbmc3k.h5ad", "zheng_sorted_3500.h5ad")
BEGIN, END = "<!-- scores: begin -->", "<!-- scores: end -->"


@dataclass
class Answer:
    """What a method said of a check set. Shapes: truth, predicted [n_cells] (names); confidence [n_cells]."""

    truth: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    def row(self) -> str:
        """accuracy / macro-F1 over the types that the study has / expected calibration error."""
        right = self.truth == self.predicted
        labels = sorted(set(self.truth))
        f1 = f1_score(self.truth, self.predicted, labels=labels, average="macro", zero_division=0)
        return f"{accuracy_score(self.truth, self.predicted):.3f} | {f1:.3f} | {_calibration_error(self.confidence, right):.3f}"


def evaluate(config: Config, data: Path, folder: Path) -> None:
    """Print the tables, and put them between the marks in the model card if the folder has one."""
    torch.set_num_threads(config.threads)
    lines = [
        "| study | cells | scDiVa mini: accuracy | macro-F1 | ECE | logistic regression: accuracy | macro-F1 | ECE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    answers = {}
    yardstick = Yardstick(config, data)
    for check in config.checks:
        ours = annotate(config, data, folder, check)
        answers[check.file] = ours
        lines.append(f"| {Path(check.file).stem} | {len(ours.truth)} | {ours.row()} | {yardstick.answer(check).row()} |")
    lines.append("")
    for file, answer in answers.items():
        lines += ["", f"{Path(file).stem}, cells by true type (row) and answer (column):", "", *_confusion(answer)]
    text = "\n".join(lines)
    print(text)
    card = folder / "README.md"
    if card.exists() and BEGIN in (old := card.read_text()):
        before, after = old.split(BEGIN)[0], old.split(END)[1]
        card.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


@torch.no_grad()
def annotate(config: Config, data: Path, folder: Path, check: CheckConfig) -> Answer:
    """The exported model's answers, from the exported files alone."""
    vocabulary = read_vocabulary(folder / "vocab.tsv")
    model, head = load(config, folder)
    truth, counts, elsewhere = read_check(data, check, vocabulary)
    tokenizer = Tokenizer(vocabulary, config.model)
    cells = []
    for row in range(counts.shape[0]):
        span = slice(counts.indptr[row], counts.indptr[row + 1])
        total = counts.data[span].sum() + elsewhere[row]
        cells.append(tokenizer.tokens(counts.indices[span], counts.data[span], max(total, 1.0)))
    probability = np.zeros((len(cells), len(config.labels)))
    order = sorted(range(len(cells)), key=lambda i: len(cells[i][0]))
    for start in range(0, len(order), 32):
        rows = order[start : start + 32]
        ids, values, attended = (torch.from_numpy(array) for array in pad([cells[i] for i in rows]))
        probability[rows] = head(model(ids, values, attended), attended).softmax(1).numpy()
    names = np.array([label.name for label in config.labels])
    return Answer(truth, names[probability.argmax(1)], probability.max(1))


def read_check(data: Path, check: CheckConfig, table: GeneTable) -> tuple[np.ndarray, sp.csr_matrix, np.ndarray]:
    """Harmonised labels, counts and counts elsewhere of the cells that count: labelled, and not in a training set."""
    annotated, counts, elsewhere = read_counts(data / "check" / check.file, table)
    truth = annotated.obs["cell_type"].astype(str).map(check.labels)
    keep = truth.notna().to_numpy()
    for column in check.exclude_columns:
        keep &= ~annotated.obs[column].to_numpy(dtype=bool)
    return truth[keep].to_numpy(dtype=str), counts[keep], elsewhere[keep]


class Yardstick:
    """Balanced logistic regression on the log-normalised genes that the check set shares with its training sets (C = 0.05)."""

    def __init__(self, config: Config, data: Path) -> None:
        self.data = data
        self.hgnc, _ = read_hgnc(data / "vocab" / "hgnc_complete_set.txt.gz", config.vocabulary.locus_types)
        self.train, labels = [], []
        for entry in config.sets:
            if entry.file in YARDSTICK_FILES:
                annotated, counts, _ = read_counts(data / "train" / entry.file, self.hgnc)
                self.train.append(counts)
                labels += [entry.labels[native][0] for native in annotated.obs[entry.label_column].astype(str)]
        self.labels = np.array(labels)

    def answer(self, check: CheckConfig) -> Answer:
        """Fit on the genes of this check set, then predict it."""
        truth, counts, _ = read_check(self.data, check, self.hgnc)
        shared = np.logical_and.reduce([matrix.getnnz(0) > 0 for matrix in (counts, *self.train)])
        model = LogisticRegression(C=0.05, class_weight="balanced", max_iter=300)
        model.fit(sp.vstack([_log_normalised(matrix[:, shared]) for matrix in self.train]), self.labels)
        probability = model.predict_proba(_log_normalised(counts[:, shared]))
        return Answer(truth, model.classes_[probability.argmax(1)], probability.max(1))


def _log_normalised(matrix: sp.csr_matrix) -> sp.csr_matrix:
    total = np.maximum(np.asarray(matrix.sum(1)).ravel(), 1.0)
    scaled = (sp.diags(1e4 / total) @ matrix).tocsr()
    scaled.data = np.log1p(scaled.data)
    return scaled


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error over ten bins of equal width."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [(bins == b).mean() * abs(confidence[bins == b].mean() - right[bins == b].mean()) for b in set(bins)]
    return float(sum(gaps))


def _confusion(answer: Answer) -> list[str]:
    columns = sorted(set(answer.predicted))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for truth in sorted(set(answer.truth)):
        mine = answer.predicted[answer.truth == truth]
        lines.append(f"| {truth} | " + " | ".join(str((mine == column).sum()) for column in columns) + " |")
    return lines

"""`evaluate`: the exported folder on studies that it was not trained on, beside what a lab would use instead."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import accuracy_score

from . import yardsticks
from .calibrate import CALIBRATION, calibration_error, of_tissue, rejection_table, softmax
from .cells import Tokenizer, read_check
from .config import Config
from .export import load
from .folds import Fold, embed
from .genes import read_hgnc, read_vocabulary
from .integrate import integration_table
from .reconstruct import reconstruction_table
from .stress import Study, read_study, stress_table

BEGIN, END = "<!-- scores: begin -->", "<!-- scores: end -->"
TISSUE = "blood"  # of all check sets; the command recognises it


@dataclass
class Answer:
    """What a method said of a check set. Shapes: truth, predicted [n_cells] (names); confidence [n_cells]."""

    truth: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    def accuracy(self) -> float:
        """Share of right answers."""
        return accuracy_score(self.truth, self.predicted)

    def macro_f1(self) -> float:
        """Over the types that the study has."""
        return yardsticks.macro_f1(self.truth, self.predicted)

    def both(self) -> str:
        """accuracy / macro-F1"""
        return f"{self.accuracy():.3f} / {self.macro_f1():.3f}"


def evaluate(config: Config, data: Path, run: Path, folder: Path) -> None:
    """Print the tables, and put them between the marks in the model card if the folder has one."""
    torch.set_num_threads(config.threads)
    hgnc, _ = read_hgnc(data / "vocab" / "hgnc_complete_set.txt.gz", config.vocabulary.locus_types)
    reference = yardsticks.Reference(config, data, hgnc)
    text = "\n\n".join(
        [
            *_check_tables(config, data, folder, reference, hgnc),
            *_fold_tables(config, run, reference, hgnc),
            stress_table(config, data, folder, reference, hgnc, lambda study: annotate(config, folder, study).predicted),
            integration_table(config, data, folder),
            reconstruction_table(config, data, folder),
        ]
    )
    print(text)
    card = folder / "README.md"
    if card.exists() and BEGIN in (old := card.read_text()):
        before, after = old.split(BEGIN)[0], old.split(END)[1]
        card.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def _check_tables(config: Config, data: Path, folder: Path, reference: yardsticks.Reference, hgnc) -> list[str]:
    every = list(reference.sets)
    methods = [(name, method, every) for name, method in yardsticks.METHODS.items()]
    # The one that the data's README gives figures for.
    methods.insert(1, ("the same on two sets", yardsticks.logistic_regression, every[:2]))
    lines = [
        "### Studies that were not trained on",
        "",
        "Accuracy / macro-F1; ECE: expected calibration error, of probabilities whose temperature was fitted on these studies among"
        " others.",
        "",
        "| study | cells | scDiVa mini | ECE | " + " | ".join(name for name, *_ in methods) + " |",
        "|---" * (4 + len(methods)) + "|",
    ]
    columns, answers = [], {}
    for check in config.checks:
        study = read_study(data, check, read_vocabulary(folder / "vocab.tsv"))
        ours = answers[check.file] = annotate(config, folder, study)
        truth, counts, _ = read_check(data, check, hgnc)
        others = []
        for _, method, files in methods:
            train, labels, query = reference.shared_with(counts, files)
            others.append(Answer(truth, *method(train, labels, query)))
        ece = calibration_error(ours.confidence, ours.truth == ours.predicted)
        cells = [ours.both(), f"{ece:.3f}", *(other.both() for other in others)]
        lines.append(f"| {Path(check.file).stem} | {len(truth)} | " + " | ".join(cells) + " |")
        columns.append([answer.macro_f1() for answer in (ours, *others)])
    mean = [f"{value:.3f}" for value in np.mean(columns, axis=0)]
    lines.append(f"| mean macro-F1 | | {mean[0]} | | " + " | ".join(mean[1:]) + " |")
    confusion = ["Cells by true type (row) and answer (column):"]
    for file, answer in answers.items():
        confusion += ["", f"{Path(file).stem}", "", *_confusion(answer)]
    return ["\n".join(lines), "\n".join(confusion)]


@torch.no_grad()
def annotate(config: Config, folder: Path, study: Study) -> Answer:
    """The exported model's answers, from the exported files alone."""
    vocabulary = read_vocabulary(folder / "vocab.tsv")
    model, head = load(config, folder)
    cells = Tokenizer(vocabulary, config.model).rows(study.counts, study.elsewhere, np.arange(len(study.truth)))
    logits = head.mlp(torch.from_numpy(embed(model, cells, config.pooling))).numpy()
    probability = softmax(of_tissue(logits, config, TISSUE))
    names = np.array([label.name for label in config.labels])
    return Answer(study.truth, names[probability.argmax(1)], probability.max(1))


def _fold_tables(config: Config, run: Path, reference: yardsticks.Reference, hgnc) -> list[str]:
    if not (run / "folds").exists():
        return ["The tables of what was left out need the trainings of `python -m training folds`."]
    names = np.array([label.name for label in config.labels])
    lines = [
        "### One study left out of the labels",
        "",
        "Accuracy / macro-F1 on it, of one training each (the model averages several)."
        " All methods learn from the same other blood sets.",
        "",
        "| study | cells | scDiVa mini | " + " | ".join(yardsticks.METHODS) + " |",
        "|---" * (3 + len(yardsticks.METHODS)) + "|",
    ]
    columns = []
    for fold in config.folds:
        if not fold.without_set:
            continue
        held_out = Fold.load(run, fold)
        mine = held_out.source == fold.without_set
        logits = of_tissue(held_out.logits[mine], config, TISSUE)
        ours = Answer(held_out.truth[mine], names[logits.argmax(1)], softmax(logits).max(1))
        counts, truth = reference.sets[fold.without_set]
        train, labels, query = reference.shared_with(counts, [file for file in reference.sets if file != fold.without_set])
        others = [Answer(truth, *method(train, labels, query)) for method in yardsticks.METHODS.values()]
        cells = [answer.both() for answer in (ours, *others)]
        lines.append(f"| {Path(fold.without_set).stem} | {len(truth)} | " + " | ".join(cells) + " |")
        columns.append([answer.macro_f1() for answer in (ours, *others)])
    lines.append("| mean macro-F1 | | " + " | ".join(f"{value:.3f}" for value in np.mean(columns, axis=0)) + " |")
    calibration = json.loads((run / CALIBRATION).read_text())
    return ["\n".join(lines), rejection_table(config, calibration)]


def _confusion(answer: Answer) -> list[str]:
    columns = sorted(set(answer.predicted))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for truth in sorted(set(answer.truth)):
        mine = answer.predicted[answer.truth == truth]
        lines.append(f"| {truth} | " + " | ".join(str((mine == column).sum()) for column in columns) + " |")
    return lines

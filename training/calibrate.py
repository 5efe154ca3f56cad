"""`calibrate`: what a probability is worth, and below which a cell is better left unassigned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar

from .config import Config

CALIBRATION = "calibration.json"
MOST_LOST = 0.05  # of the cells whose type the head has
LOST = (0.01, 0.02, 0.05, 0.1, 0.2)
TISSUE = "blood"  # of the folds' cells of blood types


def calibrate(config: Config, data: Path, run: Path) -> None:
    """Write `run/calibration.json`: temperature, least probability, and the trade-off between cells lost and strangers found.

    The temperature makes the probabilities of studies that were not trained on as likely as it can: those that a fold left
    out, by that fold's model, and the check sets, by the model itself. At the least probability, those studies lose a share of
    `MOST_LOST` of their cells on average.
    """
    from .folds import Fold, final_answers

    if not config.folds:
        (run / CALIBRATION).write_text(json.dumps({"temperature": 1.0, "min_probability": 0.0}) + "\n")
        print("no [[folds]]: probabilities stay as they are, and every cell gets a label")
        return
    names = [label.name for label in config.labels]
    answers = {fold.without_set: Fold.load(run, fold) for fold in config.folds if fold.without_set}
    final = final_answers(config, data, run)
    answers |= {check.file: final for check in config.checks}
    logits, truth = {}, {}
    for file, answer in answers.items():
        mine = answer.source == file
        logits[file] = of_tissue(answer.logits[mine], config, TISSUE)
        truth[file] = np.array([names.index(name) for name in answer.truth[mine]])
    temperature = fit_temperature(list(logits.values()), list(truth.values()))
    errors, best = {}, []
    for file, one in logits.items():
        right = one.argmax(1) == truth[file]
        errors[file] = [calibration_error(softmax(one / t).max(1), right) for t in (1.0, temperature)]
        best.append(softmax(one / temperature).max(1))
    steps = np.arange(0.0, 1.0, 0.001)
    lost = np.mean([[(one < step).mean() for step in steps] for one in best], axis=0)
    threshold = float(steps[lost <= MOST_LOST].max())
    result = {
        "temperature": temperature,
        "min_probability": threshold,
        "errors": errors,
        "lost": {file: float((one < threshold).mean()) for file, one in zip(logits, best, strict=True)},
        "rules": _trade_off(config, run, temperature),
    }
    (run / CALIBRATION).write_text(json.dumps(result, indent=2) + "\n")
    print(f"temperature {temperature:.3f}, least probability {threshold:.3f}")
    print(rejection_table(config, result))


def _trade_off(config: Config, run: Path, temperature: float) -> dict[str, dict]:
    """By rule and fold: AUROC, and the share of strangers found where shares of the check sets' known cells are lost."""
    from .folds import Fold

    blood = [label.name for label in config.labels if TISSUE in label.tissues]
    checks = [check.file for check in config.checks]
    rules: dict[str, dict] = {}
    for fold in config.folds:
        if not fold.without_labels:
            continue
        answer = Fold.load(run, fold)
        stranger, of_blood = np.isin(answer.truth, fold.without_labels), np.isin(answer.truth, blood)
        train = (answer.source == "train") & ~stranger
        logits = of_tissue(answer.logits, config, TISSUE)
        for rule, score in _scores(answer, logits, temperature, train).items():
            known = score[np.isin(answer.source, checks) & of_blood & ~stranger]
            strange = score[of_blood & stranger]
            rules.setdefault(rule, {})[fold.name] = {
                "auroc": _auroc(known, strange),
                "found": [float((strange < np.quantile(known, lost)).mean()) for lost in LOST],
            }
    return rules


def _scores(answer, logits: np.ndarray, temperature: float, train: np.ndarray) -> dict[str, np.ndarray]:
    """How much each rule believes a cell to be of a known type, [n_cells] each."""
    probability = softmax(logits / temperature)
    best = np.sort(probability, axis=1)
    entropy = -(probability * np.log(np.maximum(probability, 1e-12))).sum(1)
    features, types = answer.features, np.unique(answer.truth[train])
    means = np.stack([features[train & (answer.truth == name)].mean(0) for name in types])
    spread = np.concatenate([features[train & (answer.truth == name)] - mean for name, mean in zip(types, means, strict=True)])
    covariance = spread.T @ spread / len(spread)
    covariance += 0.05 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    inverse = np.linalg.inv(covariance)
    gaps = features[:, None, :] - means[None]
    distance = np.einsum("ctf,fg,ctg->ct", gaps, inverse, gaps, optimize=True).min(1)
    energy = np.log(np.exp(logits / temperature).sum(1))
    return {
        "probability": best[:, -1],
        "margin": best[:, -1] - best[:, -2],
        "entropy": -entropy,
        "largest logit": logits.max(1),
        "sum of logits": energy,
        "distance to a type's mean": -distance,
    }


def rejection_table(config: Config, calibration: dict) -> str:
    """The trade-off, rule by rule, in Markdown."""
    lines = [
        "### Types that the head does not have",
        "",
        "Each fold's head was trained without some types. Share of the cells of those types that a rule would call unassigned,"
        " where it loses so many of the cells of known types (of the check sets):",
        "",
        "| left out | rule | AUROC | " + " | ".join(f"{lost:.0%} lost" for lost in LOST) + " |",
        "|---" * (3 + len(LOST)) + "|",
    ]
    folds = {fold.name: fold for fold in config.folds}
    for name in next(iter(calibration["rules"].values())):
        for rule, entries in calibration["rules"].items():
            entry = entries[name]
            blood = [x.name for x in config.labels if x.name in folds[name].without_labels and TISSUE in x.tissues]
            shown = [f"{entry['auroc']:.3f}", *(f"{found:.2f}" for found in entry["found"])]
            lines.append(f"| {', '.join(blood)} | {rule} | " + " | ".join(shown) + " |")
    lines += [
        "",
        f"Temperature {calibration['temperature']:.2f}; a cell is unassigned below a probability of"
        f" {calibration['min_probability']:.2f}. Both were fitted on these studies, which were not trained on (the first by the folds'"
        " models): the temperature makes the right types likelier (cross-entropy), not the calibration error smaller everywhere.",
        "",
        "| study | ECE without temperature | ECE | cells lost |",
        "|---|---|---|---|",
    ]
    for file, (raw, scaled) in calibration["errors"].items():
        lines.append(f"| {Path(file).stem} | {raw:.3f} | {scaled:.3f} | {calibration['lost'][file]:.1%} |")
    return "\n".join(lines)


def fit_temperature(logits: list[np.ndarray], truth: list[np.ndarray]) -> float:
    """The temperature of least cross-entropy, every study counting the same.

    Shapes of each study: [n_cells, n_labels], [n_cells].
    """

    def loss(log_temperature: float) -> float:
        return float(
            np.mean([_cross_entropy(one / np.exp(log_temperature), right) for one, right in zip(logits, truth, strict=True)])
        )

    return float(np.exp(minimize_scalar(loss, bounds=(-2.0, 2.0), method="bounded").x))


def _cross_entropy(logits: np.ndarray, truth: np.ndarray) -> float:
    return float(-np.log(np.maximum(softmax(logits)[np.arange(len(truth)), truth], 1e-12)).mean())


def of_tissue(logits: np.ndarray, config: Config, tissue: str) -> np.ndarray:
    """Logits [n_cells, n_labels] with the labels of other tissues ruled out."""
    outside = [tissue not in label.tissues for label in config.labels]
    return np.where(outside, -1e9, logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error over ten bins of equal width."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [(bins == b).mean() * abs(confidence[bins == b].mean() - right[bins == b].mean()) for b in set(bins)]
    return float(sum(gaps))


def _auroc(known: np.ndarray, strange: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(np.r_[np.ones(len(known)), np.zeros(len(strange))], np.r_[known, strange]))

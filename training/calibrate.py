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


def calibrate(config: Config, run: Path) -> None:
    """Write `run/calibration.json`: temperature, least probability, and the trade-off between cells lost and strangers found.

    All of it from cells that no fold was trained on. The temperature makes the probabilities of studies that were left out as
    likely as it can. The rule is the probability; the other rules are there to be compared.
    """
    from .folds import Fold

    if not config.folds:
        (run / CALIBRATION).write_text(json.dumps({"temperature": 1.0, "min_probability": 0.0}) + "\n")
        print("no [[folds]]: probabilities stay as they are, and every cell gets a label")
        return
    names = np.array([label.name for label in config.labels])
    studies = [(fold, Fold.load(run, fold)) for fold in config.folds if fold.without_set]
    logits, truth = [], []
    for fold, answer in studies:
        mine = answer.source == fold.without_set
        logits.append(of_tissue(answer.logits[mine], config, TISSUE))
        truth.append(np.searchsorted(np.sort(names), answer.truth[mine]))
        truth[-1] = np.argsort(names)[truth[-1]]
    temperature = fit_temperature(logits, truth)
    errors = {}
    for (fold, _), one, right in zip(studies, logits, truth, strict=True):
        errors[fold.without_set] = [
            calibration_error(softmax(one / t).max(1), one.argmax(1) == right) for t in (1.0, temperature)
        ]

    rules: dict[str, dict] = {}
    known_probability = []
    for fold in config.folds:
        if not fold.without_labels:
            continue
        answer = Fold.load(run, fold)
        stranger = np.isin(answer.truth, fold.without_labels)
        blood = {label.name for label in config.labels if TISSUE in label.tissues}
        of_blood = np.isin(answer.truth, list(blood))
        check = np.char.startswith(answer.source, "pbmc") | np.char.startswith(answer.source, "zheng")
        train = answer.source == "train"
        own_logits = of_tissue(answer.logits, config, TISSUE)
        for rule, score in _scores(answer, own_logits, temperature, train & ~stranger).items():
            known = score[check & of_blood & ~stranger]
            strange = score[of_blood & stranger]
            entry = rules.setdefault(rule, {})
            entry[fold.name] = {
                "auroc": _auroc(known, strange),
                "found": [float((strange < np.quantile(known, lost)).mean()) for lost in LOST],
            }
            if rule == "probability":
                known_probability.append(known)
    known = np.concatenate([*known_probability, *(softmax(one / temperature).max(1) for one in logits)])
    threshold = float(np.floor(np.quantile(known, MOST_LOST) * 1000) / 1000)
    result = {"temperature": temperature, "min_probability": threshold, "errors": errors, "rules": rules}
    (run / CALIBRATION).write_text(json.dumps(result, indent=2) + "\n")
    print(f"temperature {temperature:.3f}, least probability {threshold:.3f}")
    print(rejection_table(config, result))


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
    of_studies = calibration["errors"].items()
    errors = ", ".join(f"{Path(name).stem} {raw:.3f} → {scaled:.3f}" for name, (raw, scaled) in of_studies)
    lines += [
        "",
        f"Temperature {calibration['temperature']:.2f}; a cell is unassigned below a probability of {calibration['min_probability']:.2f}."
        f" Expected calibration error of the studies left out, without and with the temperature: {errors}.",
    ]
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

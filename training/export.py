"""`export`: the model folder that the scdiva backends load, in f16, checked against the float64 reference."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from . import reference
from .calibrate import CALIBRATION
from .config import Config, ModelConfig
from .genes import Vocabulary, read_vocabulary
from .model import MASK, PAD, Head, ScDiVa, model_state

TOLERANCE = 2e-4  # of a tensor's RMS


def export(config: Config, run: Path, folder: Path) -> None:
    """Write `config.json`, `model.safetensors`, `vocab.tsv` and `heads/cell_types.safetensors`."""
    vocabulary = read_vocabulary(run / "vocab.tsv")
    average = torch.load(run / "decode.pt", weights_only=True)["average"]
    model = ScDiVa(config.model, vocabulary.size)
    model.load_state_dict({key.removeprefix("model."): t for key, t in average.items() if key.startswith("model.")})
    head = {key.removeprefix("head.mlp."): tensor for key, tensor in average.items() if key.startswith("head.")}
    calibration = json.loads((run / CALIBRATION).read_text())
    for name in ("2.weight", "2.bias"):
        head[name] = head[name] / calibration["temperature"]
    (folder / "heads").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_config_json(config.model, vocabulary), indent=2) + "\n")
    (folder / "model.safetensors").write_bytes(save(_half(model_state(model))))
    metadata = {
        "kind": "annotate",
        "labels": json.dumps([label.name for label in config.labels]),
        "ontology_ids": json.dumps([label.ontology_id for label in config.labels]),
        "pooling": config.pooling,
        "min_probability": f"{calibration['min_probability']:.3f}",
        "tissues": json.dumps(_by_tissue((label.name, label.tissues) for label in config.labels)),
        "tissue_ambiguous": json.dumps(_by_tissue((label.name, label.mistaken_in) for label in config.labels)),
    }
    (folder / "heads" / "cell_types.safetensors").write_bytes(save(_half(head), metadata))
    shutil.copyfile(run / "vocab.tsv", folder / "vocab.tsv")
    check(config, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 2**20:.2f} MiB")


def _by_tissue(labels: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, tissues in labels:
        for tissue in tissues:
            found.setdefault(tissue, []).append(name)
    return found


def _config_json(model: ModelConfig, vocabulary: Vocabulary) -> dict:
    size = vocabulary.size
    return {
        "name": model.name,
        "vocab_size": size,
        "hidden_size": model.hidden_size,
        "num_layers": model.num_layers,
        "num_heads": model.num_heads,
        "intermediate_size": model.intermediate_size,
        "max_genes": model.max_genes,
        "rope_theta": model.rope_theta,
        "pad_token_id": PAD,
        "mask_token_id": MASK,
        "pad_fill_token_id": size - 3,
        "bos_token_id": size - 2,
        "eos_token_id": size - 1,
        "norm_eps": model.norm_eps,
        "preprocess": {"target_sum": model.target_sum, "log1p": True},
        "serialization": "entropy-normalized",
    }


def _half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    rounded = {name: tensor.to(torch.float16).contiguous() for name, tensor in tensors.items()}
    for name, tensor in rounded.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} is not finite in f16")
    return rounded


def load(config: Config, folder: Path) -> tuple[ScDiVa, Head]:
    """The exported model and head in f32, ready to run."""
    vocabulary = read_vocabulary(folder / "vocab.tsv")
    model = ScDiVa(config.model, vocabulary.size)
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()})
    head = Head(config.model, config.pooling, config.head_size, len(config.labels))
    head.mlp.load_state_dict({n: t.float() for n, t in load_file(folder / "heads" / "cell_types.safetensors").items()})
    return model.eval(), head.eval()


@torch.no_grad()
def check(config: Config, folder: Path) -> None:
    """Raise unless torch (f32, batched, padded) and the reference (f64, alone) agree on the exported weights."""
    model, head = load(config, folder)
    stored = {name: tensor.numpy() for name, tensor in load_file(folder / "model.safetensors").items()}
    stored_head = {name: tensor.numpy() for name, tensor in load_file(folder / "heads" / "cell_types.safetensors").items()}
    random = np.random.default_rng(config.seed)
    lengths = (1, 7, 64, config.model.max_genes)
    ids = np.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        ids[row, :length] = random.choice(np.arange(2, model.gene_embedding.num_embeddings - 3), length, replace=False)
    values = np.where(ids == PAD, 0.0, random.uniform(0.2, 7.0, ids.shape)).astype(np.float32)
    chosen = (random.random(ids.shape) < 0.4) & (ids != PAD)

    worst = 0.0
    for masked in (None, chosen):
        inputs = [torch.from_numpy(a) for a in (ids, values, ids != PAD)]
        hidden = model(*inputs, None if masked is None else torch.from_numpy(masked))
        for row, length in enumerate(lengths):
            expected = reference.forward(
                stored, config.model, ids[row, :length], values[row, :length], None if masked is None else masked[row, :length]
            )
            got = hidden[row, : length + 1]
            pairs = {
                "hidden": (got, expected),
                "gene_logits": (model.gene_head(got[1:]), reference.gene_logits(stored, expected[1:])),
                "values": (model.predict_values(got[1:]), reference.predicted_values(stored, expected[1:])),
                "head": (
                    head(got[None], torch.ones(1, length, dtype=torch.bool))[0],
                    reference.head_logits(stored_head, expected, config.pooling),
                ),
            }
            for name, (torch_side, reference_side) in pairs.items():
                error = np.abs(torch_side.numpy() - reference_side).max() / np.sqrt((reference_side**2).mean())
                worst = max(worst, float(error))
                if not error <= TOLERANCE:
                    raise ValueError(f"{folder}: {name} of {length} genes is {error:.1e} of its RMS from the reference")
    print(f"{folder}: agrees with the float64 reference to {worst:.1e} of RMS")

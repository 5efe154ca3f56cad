"""The forward pass once more, in float64 numpy, written from the model page and not from `model.py`: a check of both.

Nothing here is shared with the torch model; one cell at a time, one loop a layer, no padding.
"""

from __future__ import annotations

import math

import numpy as np
from numpy import ndarray

from .config import ModelConfig

_erf = np.vectorize(math.erf, otypes=[np.float64])


def forward(
    tensors: dict[str, ndarray], config: ModelConfig, ids: ndarray, values: ndarray, masked: ndarray | None = None
) -> ndarray:
    """Final-normed hidden states [L + 1, D] of one cell: ids [L], values [L], masked bool [L]."""
    w = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    gene = w["gene_embedding.weight"][ids]
    value = np.maximum(values[:, None] @ w["value_encoder.0.weight"].T + w["value_encoder.0.bias"], 0.0)
    value = value @ w["value_encoder.2.weight"].T + w["value_encoder.2.bias"]

    mean = (gene + value).mean(0)
    y = w["latent_encoder.mlp.0.weight"] @ mean + w["latent_encoder.mlp.0.bias"]
    y = (y - y.mean()) / np.sqrt(y.var() + config.norm_eps)
    y = np.maximum(y * w["latent_encoder.mlp.1.weight"] + w["latent_encoder.mlp.1.bias"], 0.0)
    latent = w["latent_encoder.mlp.3.weight"] @ y + w["latent_encoder.mlp.3.bias"]

    if masked is not None:
        gene[masked], value[masked] = w["gene_mask_emb"], w["value_mask_emb"]
    h = np.vstack([latent, (gene + value) @ w["input_proj.weight"].T])

    for i in range(config.num_layers):
        layer = f"layers.{i}."
        y = _rms_norm(h, w[layer + "norm1.weight"], config.norm_eps)
        heads = []
        head_size = config.hidden_size // config.num_heads
        for head in range(config.num_heads):
            rows = slice(head * head_size, (head + 1) * head_size)
            q = _rotate(y @ w[layer + "attn.q_proj.weight"][rows].T, config.rope_theta)
            k = _rotate(y @ w[layer + "attn.k_proj.weight"][rows].T, config.rope_theta)
            v = y @ w[layer + "attn.v_proj.weight"][rows].T
            score = q @ k.T / math.sqrt(head_size)
            score = np.exp(score - score.max(1, keepdims=True))
            heads.append(score / score.sum(1, keepdims=True) @ v)
        h = h + np.hstack(heads) @ w[layer + "attn.o_proj.weight"].T
        y = _rms_norm(h, w[layer + "norm2.weight"], config.norm_eps)
        gate = y @ w[layer + "mlp.gate_proj.weight"].T
        up = y @ w[layer + "mlp.up_proj.weight"].T
        h = h + (gate / (1.0 + np.exp(-gate)) * up) @ w[layer + "mlp.down_proj.weight"].T
    return _rms_norm(h, w["final_norm.weight"], config.norm_eps)


def gene_logits(tensors: dict[str, ndarray], hidden: ndarray) -> ndarray:
    """[L, V] from rows 1.. of the hidden states."""
    return hidden @ tensors["gene_head.weight"].astype(np.float64).T


def predicted_values(tensors: dict[str, ndarray], hidden: ndarray) -> ndarray:
    """[L] from rows 1.. of the hidden states."""
    w = {name: tensor.astype(np.float64) for name, tensor in tensors.items() if name.startswith("value_head.")}
    y = np.maximum(hidden @ w["value_head.0.weight"].T + w["value_head.0.bias"], 0.0)
    return (y @ w["value_head.2.weight"].T + w["value_head.2.bias"])[:, 0]


def head_logits(tensors: dict[str, ndarray], hidden: ndarray, pooling: str) -> ndarray:
    """[n_labels] of one cell."""
    parts = {"latent": [hidden[0]], "mean": [hidden[1:].mean(0)], "latent+mean": [hidden[0], hidden[1:].mean(0)]}
    w = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    y = w["0.weight"] @ np.concatenate(parts[pooling]) + w["0.bias"]
    y = 0.5 * y * (1.0 + _erf(y / math.sqrt(2.0)))
    return w["2.weight"] @ y + w["2.bias"]


def _rms_norm(x: ndarray, weight: ndarray, eps: float) -> ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight


def _rotate(x: ndarray, theta: float) -> ndarray:
    """Pairs (i, i + d/2) of row p turned by p * theta^(-2i/d)."""
    n_rows, size = x.shape
    half = size // 2
    angle = np.arange(n_rows)[:, None] * theta ** (-2.0 * np.arange(half) / size)
    left, right = x[:, :half], x[:, half:]
    return np.hstack([left * np.cos(angle) - right * np.sin(angle), right * np.cos(angle) + left * np.sin(angle)])

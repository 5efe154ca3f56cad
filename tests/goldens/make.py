"""Makes the goldens: answers of the model in numpy float64, written from the model's description alone.

    python3 tests/goldens/make.py          # writes tests/goldens/*.safetensors; needs numpy and safetensors

Weights and inputs come from a counter hash that tests/reference/random.rs shares, so none are stored. Of an answer, all of
`latent` is kept and of the rest the numbers at a few sampled tokens.
"""

import pathlib

import numpy as np
from safetensors.numpy import save_file

NORM_EPS = 1e-5
U64 = np.uint64


def mix(z):
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


def uniform(seed, name, n):
    """n numbers in [0, 1), multiples of 2**-24: splitmix64 of (seed, FNV-1a of the name, counter)."""
    with np.errstate(over="ignore"):
        key = 0xCBF29CE484222325
        for byte in name.encode():
            key = (key ^ byte) * 0x100000001B3 % 2**64
        key = U64(key) ^ mix(np.array(seed, dtype=U64))
        z = mix(key + np.arange(1, n + 1, dtype=U64) * U64(0x9E3779B97F4A7C15))
    return (z >> U64(40)).astype(np.float64) / 2.0**24


def tensor(seed, name, shape):
    n_cols = shape[-1]
    centre, scale = 0.0, 1.0
    if "norm" in name or name == "latent_encoder.mlp.1.weight":
        centre, scale = 1.0, 0.25
    elif name.endswith(".bias"):
        scale = 0.25
    elif name != "gene_embedding.weight" and not name.endswith("_mask_emb"):
        gain = 0.25 if name == "value_encoder.0.weight" else 2.0 if name.endswith(("q_proj.weight", "k_proj.weight")) else 1.0
        scale = gain * np.sqrt(3.0 / n_cols)
    x = centre + scale * (2.0 * uniform(seed, name, int(np.prod(shape))) - 1.0)
    x = x.astype(np.float32).astype(np.float64).reshape(shape)
    if name == "gene_embedding.weight":
        x[0] = 0.0
    return x


def cell(case):
    n, v = case["n_genes"], case["vocab_size"]
    draw = lambda name: uniform(case["seed"], name, n)
    ids = 2 + np.floor(draw("gene_ids") * (v - 5)).astype(np.int64)
    pad = draw("padding") < case["pad_share"]
    ids = np.where(pad, np.where(draw("fill") < 0.5, 0, v - 3), ids)
    values = (6.0 * draw("values")).astype(np.float32).astype(np.float64)
    return ids, values, ~pad, draw("masked") < case["mask_share"]


def relu(x):
    return np.maximum(x, 0.0)


def rms_norm(x, weight):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + NORM_EPS) * weight


def rotate(x, theta):
    """x: [H, T, d]. Rotate-half: x * cos + concat(-x2, x1) * sin, angles repeated over both halves."""
    t, d = x.shape[1:]
    angles = np.outer(np.arange(t), theta ** (-np.arange(0, d, 2) / d))
    angles = np.concatenate([angles, angles], axis=-1)
    x1, x2 = x[..., : d // 2], x[..., d // 2 :]
    return x * np.cos(angles) + np.concatenate([-x2, x1], axis=-1) * np.sin(angles)


def forward(case):
    d, f, v, heads = case["hidden_size"], case["intermediate_size"], case["vocab_size"], case["num_heads"]
    w = lambda name, *shape: tensor(case["seed"], name, shape)
    ids, numbers, attended, masked = cell(case)
    n = len(ids)

    gene = w("gene_embedding.weight", v, d)[ids]
    value = relu(numbers[:, None] @ w("value_encoder.0.weight", d, 1).T + w("value_encoder.0.bias", d))
    value = value @ w("value_encoder.2.weight", d, d).T + w("value_encoder.2.bias", d)
    clean = gene + value

    pooled = clean[attended].mean(axis=0) if attended.any() else np.zeros(d)
    lat = w("latent_encoder.mlp.0.weight", d, d) @ pooled + w("latent_encoder.mlp.0.bias", d)
    lat = (lat - lat.mean()) / np.sqrt(lat.var() + NORM_EPS)
    lat = relu(lat * w("latent_encoder.mlp.1.weight", d) + w("latent_encoder.mlp.1.bias", d))
    lat = w("latent_encoder.mlp.3.weight", d, d) @ lat + w("latent_encoder.mlp.3.bias", d)

    gene = np.where(masked[:, None], w("gene_mask_emb", d), gene)
    value = np.where(masked[:, None], w("value_mask_emb", d), value)
    h = np.concatenate([lat[None], (gene + value) @ w("input_proj.weight", d, d).T])

    bias = np.where(np.concatenate([[True], attended]), 0.0, -np.inf)
    split = lambda x: x.reshape(n + 1, heads, d // heads).transpose(1, 0, 2)
    maps = []
    for i in range(case["num_layers"]):
        layer = lambda name, *shape: w(f"layers.{i}.{name}.weight", *shape)
        y = rms_norm(h, layer("norm1", d))
        q = rotate(split(y @ layer("attn.q_proj", d, d).T), case["rope_theta"])
        k = rotate(split(y @ layer("attn.k_proj", d, d).T), case["rope_theta"])
        values = split(y @ layer("attn.v_proj", d, d).T)
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(d // heads) + bias
        p = np.exp(scores - scores.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        maps.append(p)
        h = h + (p @ values).transpose(1, 0, 2).reshape(n + 1, d) @ layer("attn.o_proj", d, d).T
        y = rms_norm(h, layer("norm2", d))
        gate = y @ layer("mlp.gate_proj", f, d).T
        inner = gate / (1.0 + np.exp(-gate)) * (y @ layer("mlp.up_proj", f, d).T)
        h = h + inner @ layer("mlp.down_proj", d, f).T

    h = rms_norm(h, w("final_norm.weight", d))
    hidden = h[1:]
    out = relu(hidden @ w("value_head.0.weight", d, d).T + w("value_head.0.bias", d))
    out = out @ w("value_head.2.weight", 1, d).T + w("value_head.2.bias", 1)
    return h[0], hidden, hidden @ w("gene_head.weight", v, d).T, out[:, 0], np.stack(maps)


def case(name, n_genes, mask_share, pad_share, hidden_size, num_heads, intermediate_size, num_layers, vocab_size, seed, rope_theta=10000.0):
    return dict(locals())


CASES = [
    case("one_gene", 1, 0.0, 0.0, 64, 2, 160, 3, 40, 1),
    case("one_gene_masked", 1, 1.0, 0.0, 64, 4, 128, 2, 40, 2),
    case("all_padding", 5, 0.0, 1.0, 64, 4, 128, 2, 40, 3),
    case("short_odd", 33, 0.15, 0.2, 96, 6, 200, 3, 61, 4),
    case("half_masked", 64, 0.5, 0.0, 128, 2, 256, 2, 150, 5),
    case("all_masked", 127, 1.0, 0.1, 128, 8, 256, 2, 150, 6),
    case("half_padding", 200, 0.3, 0.5, 256, 8, 512, 3, 300, 7),
    case("other_theta", 300, 0.3, 0.3, 192, 3, 384, 2, 200, 8, 500.0),
    case("long", 1200, 0.4, 0.1, 256, 4, 512, 2, 300, 9),
    case("released_width", 700, 0.2, 0.0, 512, 8, 2048, 2, 250, 10),
]


def main():
    folder = pathlib.Path(__file__).parent
    total = 0
    for c in CASES:
        latent, hidden, gene_logits, values, attention = forward(c)
        n = c["n_genes"]
        tokens = np.unique([0, n // 3, n // 2, n - 1])  # genes; token t of the attention is gene t - 1
        rows = np.concatenate([[0], tokens + 1])
        path = folder / f"{c['name']}.safetensors"
        answers = {
            "sampled": tokens.astype(np.int64),
            "latent": latent,
            "hidden": hidden[tokens],
            "gene_logits": gene_logits[tokens],
            "values": values[tokens],
            "attention": attention[:, :, rows][:, :, :, rows],
            "rms": np.array([np.sqrt(np.mean(x * x)) for x in (latent, hidden, gene_logits, values, attention)]),
        }
        save_file({k: np.ascontiguousarray(x) for k, x in answers.items()}, path, {k: str(x) for k, x in c.items() if k != "name"})
        total += path.stat().st_size
        print(f"{path.name}: {path.stat().st_size} bytes")
    print(f"{total} bytes in all")


if __name__ == "__main__":
    main()

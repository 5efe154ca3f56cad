"""Writes what the peers are compared on: a model of the released sizes in every form that they read, the cases, and the right answers.

    python make.py FOLDER [--small] [--lengths MATRIX.h5ad]

In FOLDER: a checkpoint as scdiva reads it (config.json, model.safetensors, vocab.tsv), the same forward pass up to the cell embedding as
ONNX (model.onnx; model_masked.onnx with an input for padding; model_mha.onnx and model_mha_masked.onnx with ONNX Runtime's own
operators for attention), and cases/: tokens as raw numbers, the same cells as a matrix of counts, and the cell embeddings in float64.
Written from the description of the model alone. What is there already is kept.
"""

import argparse
import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
SEED = 6
EPS = 1e-5
THETA = 10_000.0
MAX_GENES = 1_200
RELEASED = {"vocab_size": 41_818, "hidden_size": 512, "num_layers": 12, "num_heads": 8, "intermediate_size": 2_048}
SMALL = {"vocab_size": 3_000, "hidden_size": 64, "num_layers": 2, "num_heads": 4, "intermediate_size": 128}


def shapes(sizes):
    v, d, f = sizes["vocab_size"], sizes["hidden_size"], sizes["intermediate_size"]
    yield "gene_embedding.weight", (v, d)
    yield "value_encoder.0.weight", (d, 1)
    yield "value_encoder.0.bias", (d,)
    yield "value_encoder.2.weight", (d, d)
    yield "value_encoder.2.bias", (d,)
    yield "gene_mask_emb", (d,)
    yield "value_mask_emb", (d,)
    yield "input_proj.weight", (d, d)
    yield "latent_encoder.mlp.0.weight", (d, d)
    yield "latent_encoder.mlp.0.bias", (d,)
    yield "latent_encoder.mlp.1.weight", (d,)
    yield "latent_encoder.mlp.1.bias", (d,)
    yield "latent_encoder.mlp.3.weight", (d, d)
    yield "latent_encoder.mlp.3.bias", (d,)
    for i in range(sizes["num_layers"]):
        yield f"layers.{i}.norm1.weight", (d,)
        for part in "qkvo":
            yield f"layers.{i}.attn.{part}_proj.weight", (d, d)
        yield f"layers.{i}.norm2.weight", (d,)
        yield f"layers.{i}.mlp.gate_proj.weight", (f, d)
        yield f"layers.{i}.mlp.up_proj.weight", (f, d)
        yield f"layers.{i}.mlp.down_proj.weight", (d, f)
    yield "final_norm.weight", (d,)
    yield "gene_head.weight", (v, d)
    yield "value_head.0.weight", (d, d)
    yield "value_head.0.bias", (d,)
    yield "value_head.2.weight", (1, d)
    yield "value_head.2.bias", (1,)


def weights(sizes):
    """Scaled so that what flows through every layer stays near 1."""
    rng = np.random.default_rng(SEED)
    made = {}
    for name, shape in shapes(sizes):
        centre, scale = 0.0, np.sqrt(3.0 / shape[-1])
        if "norm" in name or name == "latent_encoder.mlp.1.weight":
            centre, scale = 1.0, 0.25
        elif name.endswith(".bias") or name == "value_encoder.0.weight":
            scale = 0.25
        elif name == "gene_embedding.weight" or name.endswith("_mask_emb"):
            scale = 1.0
        elif name.endswith(("q_proj.weight", "k_proj.weight")):
            scale *= 2.0
        made[name] = (centre + scale * (2.0 * rng.random(shape, dtype=np.float32) - 1.0)).astype(np.float32)
    made["gene_embedding.weight"][0] = 0.0
    return made


# The right answers.


def rms_norm(x, weight):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPS) * weight


def rope_angles(n_tokens, head_size):
    angles = np.outer(np.arange(n_tokens), THETA ** (-np.arange(0, head_size, 2) / head_size))
    return np.concatenate([angles, angles], axis=-1)


def forward(w, sizes, ids, values):
    """The embedding of one cell, in the precision of the weights."""
    d, heads = sizes["hidden_size"], sizes["num_heads"]
    n, head_size = len(ids), d // heads
    value = np.maximum(values[:, None] @ w["value_encoder.0.weight"].T + w["value_encoder.0.bias"], 0.0)
    clean = w["gene_embedding.weight"][ids] + value @ w["value_encoder.2.weight"].T + w["value_encoder.2.bias"]
    lat = w["latent_encoder.mlp.0.weight"] @ clean.mean(axis=0) + w["latent_encoder.mlp.0.bias"]
    lat = (lat - lat.mean()) / np.sqrt(lat.var() + EPS)
    lat = np.maximum(lat * w["latent_encoder.mlp.1.weight"] + w["latent_encoder.mlp.1.bias"], 0.0)
    lat = w["latent_encoder.mlp.3.weight"] @ lat + w["latent_encoder.mlp.3.bias"]
    h = np.concatenate([lat[None], clean @ w["input_proj.weight"].T])

    angles = rope_angles(n + 1, head_size)
    split = lambda x: x.reshape(n + 1, heads, head_size).transpose(1, 0, 2)
    half = head_size // 2
    rotate = lambda x: x * np.cos(angles) + np.concatenate([-x[..., half:], x[..., :half]], axis=-1) * np.sin(angles)
    for i in range(sizes["num_layers"]):
        layer = lambda name: w[f"layers.{i}.{name}.weight"]
        y = rms_norm(h, layer("norm1"))
        q, k, v = (split(y @ layer(f"attn.{part}_proj").T) for part in "qkv")
        scores = rotate(q) @ rotate(k).transpose(0, 2, 1) / np.sqrt(head_size)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        h = h + (scores @ v).transpose(1, 0, 2).reshape(n + 1, d) @ layer("attn.o_proj").T
        y = rms_norm(h, layer("norm2"))
        gate = y @ layer("mlp.gate_proj").T
        h = h + (gate / (1.0 + np.exp(-gate)) * (y @ layer("mlp.up_proj").T)) @ layer("mlp.down_proj").T
    return rms_norm(h[0], w["final_norm.weight"])


# The same as ONNX.


class Graph:
    """Nodes and constants as they are made; a node's output has the name that is given back."""

    def __init__(self):
        self.nodes, self.constants, self.n_names = [], [], 0

    def name(self):
        self.n_names += 1
        return f"t{self.n_names}"

    def constant(self, array):
        name = self.name()
        self.constants.append(numpy_helper.from_array(array.copy(order="C"), name))
        return name

    def ints(self, *numbers):
        return self.constant(np.array(numbers, dtype=np.int64))

    def __call__(self, operator, *inputs, domain="", **attributes):
        name = self.name()
        self.nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name


def onnx_model(w, sizes, masked, mha):
    d, heads, n_layers = sizes["hidden_size"], sizes["num_heads"], sizes["num_layers"]
    head_size = d // heads
    g = Graph()
    linear = lambda x, name, factor=1.0: g("MatMul", x, g.constant(w[f"{name}.weight"].T * np.float32(factor)))
    biased = lambda x, name: g("Add", linear(x, name), g.constant(w[f"{name}.bias"]))
    two, eps, one = (g.constant(np.array(x, dtype=np.float32)) for x in (2.0, EPS, 1.0))

    def norm(x, weight):
        mean = g("ReduceMean", g("Pow", x, two), axes=[-1], keepdims=1)
        factor = g("Div", one, g("Sqrt", g("Add", mean, eps)))
        return g("Mul", g("Mul", x, factor), g.constant(w[f"{weight}.weight"]))

    last_axis = g.ints(-1)
    value = g("Mul", g("Unsqueeze", "values", last_axis), g.constant(w["value_encoder.0.weight"][:, 0]))
    value = g("Relu", g("Add", value, g.constant(w["value_encoder.0.bias"])))
    clean = g("Add", biased(value, "value_encoder.2"), g("Gather", g.constant(w["gene_embedding.weight"]), "gene_ids"))
    if masked:
        axis = g.ints(1)
        attended = g("Unsqueeze", "attended", last_axis)
        total = g("ReduceSum", g("Mul", clean, attended), axis, keepdims=1)
        lat = g("Div", total, g("ReduceSum", attended, axis, keepdims=1))
        # [LAT] is always attended.
        keys = g("Pad", "attended", g.ints(0, 1, 0, 0), one)
        bias = g("Mul", g("Sub", keys, one), g.constant(np.array(1e9, dtype=np.float32)))
        bias = g("Unsqueeze", bias, g.ints(1, 2))
    else:
        lat = g("ReduceMean", clean, axes=[1], keepdims=1)
    scale, shift = (g.constant(w[f"latent_encoder.mlp.1.{part}"]) for part in ("weight", "bias"))
    lat = g("LayerNormalization", biased(lat, "latent_encoder.mlp.0"), scale, shift, axis=-1, epsilon=EPS)
    lat = biased(g("Relu", lat), "latent_encoder.mlp.3")
    h = g("Concat", lat, linear(clean, "input_proj"), axis=1)

    angles = rope_angles(MAX_GENES + 1, head_size)
    tables = [table(angles).astype(np.float32) for table in (np.cos, np.sin)]
    if mha:
        tables = [g.constant(table[:, : head_size // 2]) for table in tables]
        # The position of the first token: the others follow.
        start = g.ints(0)
        mask = [g("Cast", keys, to=TensorProto.INT32)] if masked else []
    else:
        zero, half, end = g.ints(0), g.ints(head_size // 2), g.ints(head_size)
        parts, whole = g.ints(0, 0, heads, head_size), g.ints(0, 0, d)
        n_tokens = g("Gather", g("Shape", h), g.ints(1))
        cos, sin = (g("Slice", g.constant(table), zero, n_tokens, zero) for table in tables)

    def rotate(x):
        left, right = g("Slice", x, zero, half, last_axis), g("Slice", x, half, end, last_axis)
        turned = g("Concat", g("Neg", right), left, axis=-1)
        return g("Add", g("Mul", x, cos), g("Mul", turned, sin))

    for i in range(n_layers):
        y = norm(h, f"layers.{i}.norm1")
        # The scale of the scores is in q's weights: a power of two, so no number changes.
        q, k, v = (linear(y, f"layers.{i}.attn.{part}_proj", 1.0 if mha or part != "q" else head_size**-0.5) for part in "qkv")
        if mha:
            turn = lambda x: g("RotaryEmbedding", x, start, *tables, domain="com.microsoft", num_heads=heads)
            rest = ["", *mask] if masked else []
            context = g("MultiHeadAttention", turn(q), turn(k), v, *rest, domain="com.microsoft", num_heads=heads)
        else:
            q, k, v = (g("Transpose", g("Reshape", x, parts), perm=[0, 2, 1, 3]) for x in (q, k, v))
            scores = g("MatMul", rotate(q), g("Transpose", rotate(k), perm=[0, 1, 3, 2]))
            scores = g("Softmax", g("Add", scores, bias) if masked else scores, axis=-1)
            context = g("Reshape", g("Transpose", g("MatMul", scores, v), perm=[0, 2, 1, 3]), whole)
        h = g("Add", h, linear(context, f"layers.{i}.attn.o_proj"))
        y = norm(h, f"layers.{i}.norm2")
        gate = linear(y, f"layers.{i}.mlp.gate_proj")
        inner = g("Mul", g("Mul", gate, g("Sigmoid", gate)), linear(y, f"layers.{i}.mlp.up_proj"))
        h = g("Add", h, linear(inner, f"layers.{i}.mlp.down_proj"))
    latent = norm(g("Gather", h, g.constant(np.array(0, dtype=np.int64)), axis=1), "final_norm")
    g.nodes.append(helper.make_node("Identity", [latent], ["embedding"]))

    tokens = lambda name, kind: helper.make_tensor_value_info(name, kind, ["cells", "genes"])
    inputs = [tokens("gene_ids", TensorProto.INT32), tokens("values", TensorProto.FLOAT)]
    if masked:
        inputs.append(tokens("attended", TensorProto.FLOAT))
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["cells", d])]
    graph = helper.make_graph(g.nodes, "scdiva", inputs, outputs, g.constants)
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid("com.microsoft", 1)] if mha else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


# The cells.


def expressed_genes(path):
    """How many genes each cell of an .h5ad with a sparse X expresses."""
    import h5py

    with h5py.File(path) as file:
        return np.diff(file["X/indptr"][:])


def cases(lengths):
    yield "1x128", [128]
    yield "1x512", [512]
    yield "1x1200", [1_200]
    yield "8x128", [128] * 8
    yield "16x1200", [1_200] * 16
    yield f"{len(lengths)}xblood", lengths


def cell(rng, vocab_size, n_genes):
    """Genes and counts, highest count first as `serialization: expression` orders them."""
    ids = rng.choice(np.arange(2, vocab_size - 3), n_genes, replace=False)
    counts = rng.geometric(0.5, n_genes)
    order = np.lexsort((ids, -counts))
    return ids[order], counts[order]


def gene_name(gene_id):
    return f"ENSG{gene_id:011d}"


def write_counts(path, cells):
    """The cells as a table of counts, for those who read a matrix."""
    genes = np.unique(np.concatenate([ids for ids, _ in cells]))
    lines = [",".join(["cell", *map(gene_name, genes)])]
    for i, (ids, counts) in enumerate(cells):
        row = np.zeros(len(genes), dtype=np.int64)
        row[np.searchsorted(genes, ids)] = counts
        lines.append(",".join([f"cell{i}", *map(str, row)]))
    path.write_text("\n".join(lines) + "\n")


def write_case(folder, name, lengths, sizes, w):
    rng = np.random.default_rng([SEED, *name.encode()])
    cells = [cell(rng, sizes["vocab_size"], n) for n in lengths]
    gene_ids = np.zeros((len(cells), max(lengths)), dtype=np.int32)
    values = np.zeros(gene_ids.shape, dtype=np.float32)
    embedding = np.zeros((len(cells), sizes["hidden_size"]), dtype=np.float32)
    for i, (ids, counts) in enumerate(cells):
        gene_ids[i, : len(ids)] = ids
        values[i, : len(ids)] = np.log1p(1e4 * counts / counts.sum())
        embedding[i] = forward(w, sizes, ids, values[i, : len(ids)].astype(np.float64))
    write_counts(folder / f"{name}.csv", cells)
    gene_ids.tofile(folder / f"{name}.gene_ids.i32")
    values.tofile(folder / f"{name}.values.f32")
    embedding.tofile(folder / f"{name}.embedding.f32")
    print(f"case {name}: root mean square of the embeddings {np.sqrt(np.mean(embedding**2)):.3f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--small", action="store_true", help="a small model, to see quickly whether everything runs")
    parser.add_argument("--lengths", type=pathlib.Path, help="an .h5ad from which the lengths of the mixed batch are drawn")
    options = parser.parse_args()
    sizes = SMALL if options.small else RELEASED
    folder, n_mixed = options.folder, 16
    lengths = json.loads((HERE / "lengths.json").read_text())["n_genes"]
    if options.lengths:
        drawn = np.random.default_rng(SEED).choice(expressed_genes(options.lengths), n_mixed, replace=False)
        lengths = np.minimum(drawn, MAX_GENES).tolist()
    (folder / "cases").mkdir(parents=True, exist_ok=True)

    made_from = {"sizes": sizes, "lengths": lengths, "source": (HERE / "make.py").read_text()}
    stamp = folder / "made_from.json"
    if stamp.exists() and json.loads(stamp.read_text()) == made_from:
        return
    w = weights(sizes)
    save_file(w, folder / "model.safetensors")
    config = {
        "name": "peers",
        **sizes,
        "max_genes": MAX_GENES,
        "rope_theta": THETA,
        "norm_eps": EPS,
        "preprocess": {"target_sum": 1e4, "log1p": True},
        "serialization": "expression",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    lines = [f"{i}\tG{i}\t{gene_name(i)}\t0.5" for i in range(2, sizes["vocab_size"] - 3)]
    (folder / "vocab.tsv").write_text("\n".join(["id\tsymbol\tensembl_id\tentropy", *lines]) + "\n")
    for mha in (False, True):
        for masked in (False, True):
            name = "model" + "_mha" * mha + "_masked" * masked
            onnx.save(onnx_model(w, sizes, masked, mha), folder / f"{name}.onnx")

    exact = {name: tensor.astype(np.float64) for name, tensor in w.items() if not name.startswith("gene_head")}
    listed = []
    for name, case_lengths in cases(lengths):
        write_case(folder / "cases", name, case_lengths, sizes, exact)
        listed.append({"name": name, "n_genes": case_lengths})
    (folder / "cases.json").write_text(json.dumps({"hidden_size": sizes["hidden_size"], "cases": listed}, indent=2))
    stamp.write_text(json.dumps(made_from))


if __name__ == "__main__":
    main()

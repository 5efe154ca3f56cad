"""ONNX Runtime on the CPU: `python run_onnxruntime.py FOLDER CASE [--operators own] [--cells single]`.

`own`: its own operators for RoPE and attention. `single`: one cell after another, so that nothing is padded.
"""

import numpy as np
import onnxruntime

import case

options = case.arguments(
    operators={"choices": ["standard", "own"], "default": "standard"},
    cells={"choices": ["batch", "single"], "default": "batch"},
)
this = case.Case(options.folder, options.case)
single = options.cells == "single"
masked = this.masked and not single


def load():
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    name = "model" + "_mha" * (options.operators == "own") + "_masked" * masked
    session = onnxruntime.InferenceSession(options.folder / f"{name}.onnx", settings, providers=["CPUExecutionProvider"])
    batches = [{"gene_ids": this.gene_ids, "values": this.values}]
    if masked:
        batches[0]["attended"] = this.attended
    if single:
        cut = lambda tokens, i: tokens[i : i + 1, : this.lengths[i]]
        batches = [{name: cut(x, i) for name, x in batches[0].items()} for i in range(len(this.lengths))]
    return lambda: np.concatenate([session.run(["embedding"], inputs)[0] for inputs in batches])


case.report(
    this,
    options.seconds,
    load,
    peer="onnxruntime" + ", own operators" * (options.operators == "own") + ", one cell at a time" * single,
    version=onnxruntime.__version__,
    device="cpu",
    threads=options.threads,
)

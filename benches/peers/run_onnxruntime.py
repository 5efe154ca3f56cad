"""ONNX Runtime on the CPU: `python run_onnxruntime.py FOLDER CASE [--operators own]`; `own`: its own operators for RoPE and attention."""

import onnxruntime

import case

options = case.arguments(operators={"choices": ["standard", "own"], "default": "standard"})
this = case.Case(options.folder, options.case)


def load():
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    name = "model" + "_mha" * (options.operators == "own") + "_masked" * this.masked
    session = onnxruntime.InferenceSession(options.folder / f"{name}.onnx", settings, providers=["CPUExecutionProvider"])
    inputs = {"gene_ids": this.gene_ids, "values": this.values}
    if this.masked:
        inputs["attended"] = this.attended
    return lambda: session.run(["embedding"], inputs)[0]


case.report(
    this,
    options.seconds,
    load,
    peer="onnxruntime" if options.operators == "standard" else "onnxruntime, own operators",
    version=onnxruntime.__version__,
    device="cpu",
    threads=options.threads,
)

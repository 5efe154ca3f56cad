"""A case as the Python peers read, time and report it; common/src/lib.rs is the same for the Rust ones."""

import argparse
import json
import pathlib
import platform
import statistics
import time

import numpy as np


class Case:
    """Tokens padded to the longest cell, and what comes out when everything is right."""

    def __init__(self, folder, name):
        listed = json.loads((folder / "cases.json").read_text())
        self.name = name
        self.lengths = next(case["n_genes"] for case in listed["cases"] if case["name"] == name)
        shape = (len(self.lengths), max(self.lengths))
        read = lambda kind, dtype: np.fromfile(folder / "cases" / f"{name}.{kind}", dtype)
        self.gene_ids = read("gene_ids.i32", np.int32).reshape(shape)
        self.values = read("values.f32", np.float32).reshape(shape)
        self.embedding = read("embedding.f32", np.float32).reshape(len(self.lengths), listed["hidden_size"])
        self.attended = (np.arange(shape[1]) < np.array(self.lengths)[:, None]).astype(np.float32)
        self.masked = min(self.lengths) < max(self.lengths)


def arguments(**more):
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("case")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="for the repetitions")
    for name, options in more.items():
        parser.add_argument(f"--{name}", **options)
    return parser.parse_args()


def peak_memory():
    if platform.system() != "Linux":
        return None
    status = pathlib.Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def report(case, seconds, load, **facts):
    """`load` gives the function that computes the embeddings; prints one line of JSON."""
    start = time.perf_counter()
    run = load()
    loaded = time.perf_counter()
    answer = run()
    first = time.perf_counter() - loaded
    times = []
    # At least 3, but only one of those that take very long.
    while len(times) < 50 and (sum(times) < seconds or (len(times) < 3 and sum(times) < 5 * seconds)):
        before = time.perf_counter()
        answer = run()
        times.append(time.perf_counter() - before)
    line = {
        **facts,
        "case": case.name,
        "n_cells": len(case.lengths),
        "n_genes": sum(case.lengths),
        "load_s": loaded - start,
        "first_s": first,
        "best_s": min(times),
        "median_s": statistics.median(times),
        "n_runs": len(times),
        "peak_memory_bytes": peak_memory(),
        "max_abs_error": float(np.abs(answer - case.embedding).max()),
    }
    print(json.dumps(line), flush=True)

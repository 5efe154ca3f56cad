"""Annotates one large matrix on a Dask cluster.

Every task runs the command on one part of the cells, and the last one joins the parts:

    python dask_job.py atlas.h5ad -o atlas.parquet --shards 400 --scheduler tcp://head:8786
    python dask_job.py atlas.h5ad -o atlas.csv --shards 4 --workers 2        # two workers on this machine

Given again after a failure it computes only what is missing: a part has its name only when it is complete, and a part that was
begun goes on where it ended. Whatever stands behind `--` is passed on to `scdiva annotate`.
Needs `dask` and `distributed`, the command `scdiva` on every worker, and a folder that all of them see.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from distributed import Client, LocalCluster, as_completed


def annotate_part(scdiva, matrix, part, shard, options):
    """Run one part and return its path; an error carries what the command said."""
    if part.exists():
        return part
    command = [scdiva, "annotate", str(matrix), "-o", str(part), "--shard", shard, "--resume", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return part


def main():
    """Hand out the parts, wait for all of them, join them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matrix", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--parts", type=Path, help="folder of the parts, seen by all workers (default: OUTPUT.parts)")
    parser.add_argument("--shards", type=int, default=16, help="number of parts: several for each worker")
    parser.add_argument("--scheduler", help="address of a running cluster")
    parser.add_argument("--workers", type=int, default=2, help="workers on this machine, where no scheduler is given")
    parser.add_argument("--scdiva", default="scdiva", help="the command")
    own = sys.argv[1:]
    options = own[own.index("--") + 1 :] if "--" in own else []
    arguments = parser.parse_args(own[: own.index("--")] if "--" in own else own)

    folder = (arguments.parts or arguments.output.with_name(arguments.output.name + ".parts")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    matrix = arguments.matrix.absolute()
    # One thread a worker: the command itself uses all the cores or the GPU that the worker has.
    cluster = None if arguments.scheduler else LocalCluster(n_workers=arguments.workers, threads_per_worker=1, dashboard_address=None)
    with Client(arguments.scheduler or cluster) as client:
        parts = [folder / f"part-{i:05}.scdiva" for i in range(1, arguments.shards + 1)]
        tasks = [
            # A worker that is lost takes its task with it, which is then given to another.
            client.submit(annotate_part, arguments.scdiva, matrix, part, f"{i}/{arguments.shards}", options, retries=3, pure=False)
            for i, part in enumerate(parts, 1)
        ]
        for n_done, task in enumerate(as_completed(tasks), 1):
            task.result()
            print(f"{n_done} of {arguments.shards} parts", flush=True)
    if cluster:
        cluster.close()
    merge = [arguments.scdiva, "merge", *map(str, parts), "-o", str(arguments.output), "--input", str(matrix)]
    if "--model" in options:
        merge += ["--model", options[options.index("--model") + 1]]
    subprocess.run(merge, check=True)


if __name__ == "__main__":
    main()

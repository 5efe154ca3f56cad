"""`python -m training COMMAND`: one command a step, `all` for the whole road."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# Threads that wait by spinning take the time of those that work as soon as the machine has other work too (measured: four
# times slower steps). Read when torch loads its thread pool, hence set before any import of it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

STEPS = ("prepare", "pretrain", "finetune", "folds", "calibrate", "export", "evaluate", "demo")


def main() -> None:
    """Parse the command line and run the steps."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("command", choices=(*STEPS, "all"))
    parser.add_argument("--data", type=Path, required=True, help="folder with train/, check/ and vocab/")
    parser.add_argument("--run", type=Path, default=Path("target/training"), help="working folder: sets, checkpoints, curves")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("mini.toml"))
    parser.add_argument("--models", type=Path, default=Path("models"), help="where the model and the demo go")
    arguments = parser.parse_args()

    from .config import read_config

    config = read_config(arguments.config)
    arguments.run.mkdir(parents=True, exist_ok=True)
    folder = arguments.models / config.model.name
    for step in STEPS if arguments.command == "all" else (arguments.command,):
        # Imported when needed: `demo` and `prepare` do not wait for the optimisers.
        if step == "prepare":
            from .prepare import prepare

            prepare(config, arguments.data, arguments.run)
        elif step == "pretrain":
            from .pretrain import pretrain

            pretrain(config, arguments.run)
        elif step == "finetune":
            from .finetune import finetune

            finetune(config, arguments.run)
        elif step == "folds":
            from .folds import folds

            folds(config, arguments.data, arguments.run)
        elif step == "calibrate":
            from .calibrate import calibrate

            calibrate(config, arguments.data, arguments.run)
        elif step == "export":
            from .export import export

            export(config, arguments.run, folder)
        elif step == "evaluate":
            from .evaluate import evaluate

            evaluate(config, arguments.data, arguments.run, folder)
        elif step == "demo":
            from .demo import simulate

            simulate(config, arguments.data, arguments.models / "demo")


if __name__ == "__main__":
    main()

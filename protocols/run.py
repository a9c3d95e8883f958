"""Run what is missing of a table.

    python -m protocols.run base2new --methods PromptSRC CoOp --datasets all --seeds 1 2 3
    python -m protocols.run base2new --methods PromptSRC --config builtin --report
    python -m protocols.run few_shot --methods PromptSRC --jobs 8
    python -m protocols.run base2new --ray 10.0.0.1:6379 --output /shared/output --data /shared/data

Finished runs are kept, unfinished ones go on. Ctrl-C stops; the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from .execution.devices import cuda_devices
from .execution.interruptions import Interrupted
from .execution.single_run import THREADS, RunError, check_start
from .execution.sweep import Executor, LocalExecutor, Sweep
from .launch import (
    WITH_TEACHER,
    check_options,
    environment_from,
    precision_here,
    seeds_of_environment,
)
from .published import methods, settings
from .published.runs import Environment, Run, table_runs
from .published.settings import UsageError


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; DATA, OUTPUT, CFG, PREC, BACKBONE and SEEDS of the environment are defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m protocols.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, variables = parser.add_argument, os.environ
    add("protocol", metavar="PROTOCOL", help=", ".join(settings.PROTOCOLS))
    add(
        "--methods",
        nargs="+",
        help=f"{', '.join(methods.names())}, or all (of the ablation: all that have one)",
    )
    add("--datasets", nargs="+", default=["all"], help="by name, or all, or builtin")
    add("--seeds", nargs="+", type=int, default=seeds_of_environment())
    add("--shots", nargs="+", type=int, default=list(settings.FEW_SHOTS), help="of few_shot")
    add("--config", default=variables.get("CFG", ""), help="instead of the published ones")
    add("--data", default=variables.get("DATA") or "data", help="the data root")
    add("--output", default=variables.get("OUTPUT") or "output", help="root of all output folders")
    add("--backbone", default=variables.get("BACKBONE", ""), help="instead of the configured one")
    add("--precision", default=variables.get("PREC", ""), help="fp32, fp16, amp or bf16")
    add(
        "--jobs", type=int, help="runs at a time on this machine (as GPUs go; else cores / threads)"
    )
    add("--runs-per-gpu", type=int, default=1, help="runs that share a GPU, here or on Ray (1)")
    add("--threads", type=int, default=THREADS, help=f"threads of each run ({THREADS})")
    add("--ray", metavar="ADDRESS", help="run on a Ray cluster: HOST:PORT, or auto")
    add(WITH_TEACHER, action="store_true", help="also the runs that methods learn from")
    add("--options", nargs="+", default=[], metavar="KEY VALUE", help="further configuration")
    add("--report", action="store_true", help="print the table at the end")
    add("--list", action="store_true", help="show the output folders of all runs and stop")
    return parser.parse_args(arguments)


def build_executor(given: argparse.Namespace, environment: Environment) -> Executor:
    """Where the runs go: to the connected cluster, or to this machine's GPUs or cores."""
    for name in ("threads", "jobs", "runs_per_gpu"):
        value = getattr(given, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} is {value}: expected at least 1")
    if given.ray:
        from .execution import on_ray

        gpus = 1 / given.runs_per_gpu if on_ray.has_gpus() else 0
        return on_ray.RayExecutor(environment, given.threads, gpus)
    devices = cuda_devices()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    by_devices = len(devices) * given.runs_per_gpu
    jobs = given.jobs or by_devices or max(1, (cores or 1) // given.threads)
    print(f"{jobs} runs at a time, {given.threads} threads each, {len(devices)} GPUs", flush=True)
    return LocalExecutor(environment, jobs, given.threads, devices)


def print_table(given: argparse.Namespace, runs: Sequence[Run]) -> int:
    """The table that the runs make up; returns the status of the report."""
    from . import report

    asked = {
        "--methods": {run.method: None for run in runs},
        "--datasets": {run.dataset: None for run in runs},
        "--seeds": map(str, given.seeds),
    }
    words = [given.protocol, given.output, "--brief"]
    for option, values in asked.items():
        words += [option, *values]
    if given.config:
        words += ["--config", given.config]
    print()
    return report.main(words)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    try:
        given = parse(arguments)
        check_options(given.options)
        default = () if given.protocol == "ablation" else settings.DEFAULT_METHODS
        runs = table_runs(
            given.protocol,
            given.methods or default,
            given.datasets,
            given.seeds,
            given.shots,
            given.config,
            given.with_teacher,
        )
        if given.list:
            print("\n".join(map(str, runs)))
            return 0
        environment = environment_from(vars(given))
        if given.ray:
            from .execution import on_ray

            on_ray.connect(given.ray)
        if not (given.ray and on_ray.has_gpus()):
            environment = replace(environment, precision=precision_here(given.precision))
        executor = build_executor(given, environment)
        check_start(runs, environment, here=not given.ray)
        complete = Sweep(runs, environment, executor).run()
    except (UsageError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return getattr(interruption, "status", Interrupted.BY_KEYBOARD)
    reported = print_table(given, runs) if given.report else 0
    return reported if complete else 1


if __name__ == "__main__":
    sys.exit(main())

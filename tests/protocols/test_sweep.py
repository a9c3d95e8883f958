"""Sweeps: order, failures, interruptions; the same numbers however they are executed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager, suppress

import pytest

from prompting import checkpoints
from protocols import run as command
from protocols.execution import devices, sweep
from protocols.execution.single_run import RunError, check_start
from protocols.execution.sweep import LocalExecutor, Outcome, Sweep, progress
from protocols.published.runs import Environment, table_runs
from protocols.published.settings import ROOT
from tests.protocols.results import write_run
from tests.protocols.small import OPTIONS, make_environment

METHODS = ("CoOp", "PromptSRC")


def planned(seeds=(1,)):
    return table_runs("base2new", METHODS, ["my_images"], seeds)


class Pretend:
    """An executor of two runs at a time that fails those whose folder has a certain word in it."""

    def __init__(self, failing="nothing"):
        self.failing, self.running, self.started = failing, deque(), []

    def free(self):
        return len(self.running) < 2

    def submit(self, run):
        self.started.append(run)
        self.running.append(run)

    def collect(self):
        run = self.running.popleft()
        failed = self.failing in run.folder
        return [(run, Outcome(problem="broken") if failed else Outcome(50.0))]

    def stop(self):
        self.running.clear()


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0.05)


def test_tests_come_after_their_training_run(tmp_path):
    executor = Pretend()
    assert Sweep(planned((1, 2)), Environment(tmp_path, tmp_path), executor).run()
    assert len(executor.started) == len(planned((1, 2)))
    for place, run in enumerate(executor.started):
        assert run.source is None or run.source in executor.started[:place]


def test_a_failure_stops_only_what_depends_on_it(tmp_path, capsys):
    executor = Pretend(failing="train_base/my_images/shots_16/CoOp")
    swept = Sweep(planned(), Environment(tmp_path, tmp_path), executor)
    assert not swept.run()
    problems = {run.folder: outcome.problem for run, outcome in swept.outcomes.items()}
    assert sum(map(bool, problems.values())) == 2
    assert "left out" in problems[planned()[1].folder]
    assert "2 of 4 runs have no result" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_stops_no_other_run(tmp_path):
    runs = planned()
    environment = Environment(tmp_path, tmp_path)
    (tmp_path / runs[0].folder).parent.mkdir(parents=True)
    (tmp_path / runs[0].folder).write_text("a file")

    class Making(Pretend):
        def submit(self, run):
            with sweep.open_console(run, environment):
                super().submit(run)

    swept = Sweep(runs, environment, Making())
    assert not swept.run()
    problems = {run.folder: outcome.problem for run, outcome in swept.outcomes.items()}
    assert "exists" in problems[runs[0].folder]
    assert [bool(problems[run.folder]) for run in runs] == [run.method == "CoOp" for run in runs]


def test_what_killed_a_run_is_said_last(tmp_path):
    (run, *_), environment = planned(), Environment(tmp_path, tmp_path)
    with sweep.open_console(run, environment) as console:
        console.write(b"epoch [2/3] eta 0:00:02\n")
    assert sweep.ended(run, environment, -9).problem.splitlines()[-1].strip() == (
        "train.py was killed by signal 9, as for lack of memory"
    )


@pytest.mark.slow
def test_a_failed_run_is_reported_with_its_last_lines(tmp_path, capsys):
    environment = make_environment(tmp_path, ("OPTIM.LR", "1e30", "OPTIM.WARMUP_EPOCH", "0"))
    runs = table_runs("base2new", ["CoOp"], ["my_images"], [1])
    assert not Sweep(runs, environment, LocalExecutor(environment, 2, 2)).run()
    out = capsys.readouterr().out
    assert "its last lines" in out
    assert "the loss is nan" in out or "the loss is inf" in out


class Swallowing(Pretend):
    """One that is interrupted where exceptions are lost, as they are around a fork."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def submit(self, run):
        super().submit(run)
        if len(self.started) == 1:
            with suppress(KeyboardInterrupt):
                signal.raise_signal(self.number)


@contextmanager
def handled(number, handler):
    """A signal handled in a certain way, however these tests were started."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_not_lost(number, tmp_path):
    executor = Swallowing(number)
    with handled(number, signal.default_int_handler):
        with pytest.raises(KeyboardInterrupt):
            Sweep(planned(), Environment(tmp_path, tmp_path), executor).run()
        assert signal.getsignal(number) == signal.default_int_handler
    assert len(executor.started) == 2  # as many as run at a time
    assert not executor.running


def test_interruptions_stay_ignored_in_the_background(tmp_path):
    with handled(signal.SIGINT, signal.SIG_IGN):
        assert Sweep(planned(), Environment(tmp_path, tmp_path), Swallowing(signal.SIGINT)).run()


def test_progress_reads_the_end_of_what_a_run_prints(tmp_path):
    run, environment = planned()[0], Environment(tmp_path, tmp_path)
    console = tmp_path / run.folder / sweep.CONSOLE
    assert progress(run, environment) == ""
    console.parent.mkdir(parents=True)
    console.write_text(
        "epoch [3/20] batch [7/9] time 0.1 (0.1) data 0.0 (0.0) loss 1.25 (1.5) acc 75.0000 (60.0) "
        "lr 1.0e-03 eta 0:01:02\n"
    )
    line = progress(run, environment)
    assert line == "epoch 3/20, batch 7/9, accuracy 75.0%, 0:01:02 left"


def test_what_an_earlier_attempt_said_is_not_shown_again(tmp_path):
    run, environment = planned()[0], Environment(tmp_path, tmp_path)
    for said in ("epoch [3/20] batch [7/9]\nerror: one\n", "Loading\nerror: other\n"):
        with sweep.open_console(run, environment) as console:
            console.write(said.encode())
    assert sweep.console_tail(run, environment).split() == ["Loading", "error:", "other"]
    assert progress(run, environment) == ""
    assert "error: one" in (tmp_path / run.folder / sweep.CONSOLE).read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["base2nwe"], "base2new"),
        (["base2new", "--methods", "CoCoOpp"], "'CoCoOp'"),
        (["base2new", "--datasets", "dtt"], "'dtd'"),
        (["base2new", "--seeds", "2", "2"], "twice"),
        (["base2new", "--jobs", "0"], "at least 1"),
        (["base2new", "--runs-per-gpu", "0"], "--runs-per-gpu is 0: expected at least 1"),
        (["base2new", "--options", "OPTIM.LR"], "no value"),
        (["base2new", "--options", "OUTPUT_DIR", "x"], "OUTPUT_DIR cannot be a KEY VALUE pair"),
        (["base2new", "--options", "TEST.SPLIT", "val"], "TEST.SPLIT cannot be a KEY VALUE pair"),
        (["base2new", "--ray", "nonsense"], "not HOST:PORT"),
        (["base2new", "--ray", "127.0.0.1:9"], "no Ray cluster answers"),
    ],
)
def test_bad_sweeps_are_refused(arguments, says, capsys, tmp_path):
    pytest.importorskip("ray") if "--ray" in arguments else None
    assert command.main([*arguments, "--output", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--options", "OPTIM.LRR", "0.1"], "no option OPTIM.LRR; the nearest is OPTIM.LR"),
        (["--precision", "fp13"], "PREC is 'fp13': choose one of fp32"),
        (["--backbone", "ViT-B/61"], "did you mean 'ViT-B/16'?"),
        (["--data", __file__], f"the data root {__file__} is a file"),
    ],
)
def test_what_would_stop_every_run_starts_none(arguments, says, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sweep, "started", None)
    words = ["--config", "builtin", "--datasets", "builtin", "--output", str(tmp_path)]
    assert command.main(["base2new", *words, *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_is_finished_needs_no_data(tmp_path):
    environment = Environment(tmp_path / "nowhere", tmp_path)
    runs = table_runs("base2new", ["CoOp"], ["dtd"], [1])
    with pytest.raises(RunError, match="no data root"):
        check_start(runs, environment, here=True)
    check_start(runs, environment, here=False)
    for run in runs:
        write_run(tmp_path, run, 50.0)
    check_start(runs, environment, here=True)


@pytest.mark.parametrize(
    ("complete", "reported", "status"), [(True, 0, 0), (True, 2, 2), (False, 0, 1), (False, 2, 1)]
)
def test_a_report_that_fails_is_told_by_the_status(
    complete, reported, status, monkeypatch, tmp_path
):
    monkeypatch.setattr(Sweep, "run", lambda self: complete)
    monkeypatch.setattr("protocols.report.main", lambda words: reported)
    words = ["--config", "builtin", "--datasets", "builtin", "--output", str(tmp_path), "--report"]
    assert command.main(["base2new", *words]) == status


@pytest.mark.parametrize(
    ("more", "visible", "expected"),
    [
        ([], None, ["0", "1"]),
        (["--runs-per-gpu", "2"], None, ["0", "1", "0", "1"]),
        (["--runs-per-gpu", "3"], "5,7", ["5", "7", "5", "7", "5", "7"]),
        (["--runs-per-gpu", "2", "--jobs", "3"], None, ["0", "1", "0"]),
    ],
)
def test_runs_share_gpus(more, visible, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "has_cuda", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    used = []

    @contextmanager
    def started(run, environment, console, threads, device):
        used.append(device)
        yield

    monkeypatch.setattr(sweep, "started", started)
    executor = command.build_executor(
        command.parse(["base2new", *more]), Environment(tmp_path, tmp_path)
    )
    for run in planned(range(1, 9)):
        if executor.free():
            executor.submit(run)
    assert used == expected


@pytest.mark.parametrize(("gpus", "expected"), [(True, 0.25), (False, 0)])
def test_runs_on_ray_take_a_share_of_a_gpu(gpus, expected, monkeypatch, tmp_path):
    pytest.importorskip("ray")
    from protocols.execution import on_ray

    asked = {}

    class Task:
        def options(self, **options):
            asked.update(options)

    monkeypatch.setattr("ray.remote", lambda execute: Task())
    monkeypatch.setattr(on_ray, "has_gpus", lambda: gpus)
    given = command.parse(["base2new", "--ray", "auto", "--runs-per-gpu", "4"])
    command.build_executor(given, Environment(tmp_path, tmp_path))
    assert asked["num_gpus"] == expected


def results_of(output):
    """Metrics and learned tensors of all runs, by folder."""
    numbers = {}
    for path in sorted(output.rglob("results.json")):
        name = path.parent.relative_to(output).as_posix()
        learned = [
            (key, value.tolist())
            for checkpoint in path.parent.glob("*/model.pth.tar-*")
            for key, value in checkpoints.load(checkpoint)["state_dict"].items()
        ]
        numbers[name] = json.loads(path.read_text())["metrics"], learned
    return numbers


def sweep_command(environment, *more):
    arguments = ["--methods", *METHODS, "--datasets", "my_images", "--seeds", "1"]
    arguments += ["--data", environment.data, "--output", environment.output, "--precision", "fp32"]
    arguments += ["--backbone", environment.backbone, "--threads", "1", *more]
    arguments += ["--options", "DATASET.DIR", environment.data / "pictures", *OPTIONS]
    return [sys.executable, "-W", "ignore", "-m", "protocols.run", "base2new", *map(str, arguments)]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The numbers of a sweep that nothing disturbs."""
    environment = make_environment(tmp_path_factory.mktemp("unbroken"))
    assert subprocess.run(sweep_command(environment), cwd=ROOT).returncode == 0
    return results_of(environment.output)


def wait_for(name, environment, process):
    """Wait until a run has a file of that name, or the process has ended."""
    while not list(environment.output.rglob(name)) and process.poll() is None:
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_sweep_ends_with_the_numbers_of_an_unbroken_one(unbroken, tmp_path):
    environment = make_environment(tmp_path)
    # as runs start, in the middle of one, between two
    for name in (sweep.CONSOLE, "*.pth*", "results.json"):
        process = subprocess.Popen(sweep_command(environment, "--jobs", "2"), cwd=ROOT)
        wait_for(name, environment, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert len(results_of(environment.output)) < len(unbroken)
    assert subprocess.run(sweep_command(environment), cwd=ROOT).returncode == 0
    assert results_of(environment.output) == unbroken


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "interrupts", "status"),
    [(signal.SIGINT, signal.SIG_DFL, 130), (signal.SIGTERM, signal.SIG_IGN, 143)],
)
def test_interrupting_stops_everything(stop, interrupts, status, tmp_path):
    """By Ctrl-C, and in the background of a shell, which has Ctrl-C ignored, by SIGTERM."""
    environment = make_environment(tmp_path)
    process = subprocess.Popen(
        sweep_command(environment, "--jobs", "2"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, interrupts),
    )
    deadline = time.monotonic() + 120
    while not list(environment.output.rglob(sweep.CONSOLE)) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(stop)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "goes on where it stopped" in err
    left = subprocess.run(["ps", "ax", "-o", "args"], capture_output=True, text=True).stdout
    assert str(environment.output) not in left


@pytest.mark.slow
def test_sigterm_to_a_script_reaches_its_run(tmp_path):
    environment = make_environment(tmp_path, ("OPTIM.MAX_EPOCH", "500"))
    variables = {"DATA": environment.data, "OUTPUT": environment.output, "PREC": "fp32"}
    variables = {**variables, "BACKBONE": environment.backbone}
    words = ["x.sh", "CoOp", "base2new_train", "my_images", "1", *environment.options]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "protocols.launch", *words],
        cwd=ROOT,
        env={**os.environ, **{name: str(value) for name, value in variables.items()}},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(environment.output.rglob("resume.pth")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "stopped by SIGTERM: the run goes on with the same command" in err
    left = subprocess.run(["ps", "ax", "-o", "args"], capture_output=True, text=True).stdout
    assert str(environment.output) not in left


@pytest.mark.slow
def test_two_ray_nodes_one_of_them_killed_give_the_local_numbers(unbroken, tmp_path):
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    environment = make_environment(tmp_path)
    cluster = cluster_utils.Cluster()
    try:
        cluster.add_node(num_cpus=1, num_gpus=0, include_dashboard=False)
        second = cluster.add_node(num_cpus=1, num_gpus=0)
        cluster.wait_for_nodes()
        process = subprocess.Popen(
            sweep_command(environment, "--ray", cluster.address),
            cwd=ROOT,
        )
        deadline = time.monotonic() + 120
        while not list(environment.output.rglob("curves.json")) and time.monotonic() < deadline:
            time.sleep(0.2)
        cluster.remove_node(second, allow_graceful=False)
        assert process.wait(timeout=400) == 0
    finally:
        cluster.shutdown()
    assert results_of(environment.output) == unbroken

"""A run (one call of train.py), and the runs that make up each table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from . import settings
from .settings import COOP_FEW_SHOT_CONTEXT, SHOTS, UsageError


@dataclass(frozen=True)
class Environment:
    """What all runs of a call share.

    Attributes:
        data: the data root.
        output: the root of all output folders.
        backbone: instead of the configured one.
        precision: instead of the configured one.
        options: KEY VALUE pairs, merged last.
    """

    data: Path
    output: Path
    backbone: str = ""
    precision: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """One training run with its test, or a test of another run's prompts.

    Attributes:
        method: registered name of the trainer.
        dataset: config name.
        seed: SEED.
        config: name of the method's configuration.
        folder: the output folder, relative to the output root.
        options: KEY VALUE pairs that belong to the run.
        source: the training run whose prompts this run tests.
        weights: a folder of given weights to test instead.
    """

    method: str
    dataset: str
    seed: int
    config: str
    folder: str
    options: tuple[str, ...] = ()
    source: Run | None = None
    weights: str = ""

    def __post_init__(self) -> None:
        settings.config_path(self.method, self.config)  # raises UsageError for an unknown one

    @property
    def trains(self) -> bool:
        return not (self.source or self.weights or self.method in settings.ZERO_SHOT)

    def model_dir(self, environment: Environment) -> Path | None:
        """The folder whose prompts are tested; None for a training run and for zero-shot."""
        if self.source:
            return environment.output / self.source.folder
        return Path(self.weights) if self.weights else None

    def epochs(self, options: Sequence[str] = ()) -> int:
        """MAX_EPOCH of the configuration, or of KEY VALUE pairs."""
        pairs = dict(zip(options[::2], options[1::2], strict=True))
        path = settings.config_path(self.method, self.config)
        epochs = yaml.safe_load(path.read_text())["OPTIM"]["MAX_EPOCH"]
        return int(pairs.get("OPTIM.MAX_EPOCH", epochs))

    def arguments(self, environment: Environment) -> list[str]:
        """The arguments of train.py, as in the published scripts.

        A test loads the last epoch, or with TEST.FINAL_MODEL best_val the best one.
        """
        options = [*self.options, *environment.options]
        arguments = [f"--root={environment.data}", f"--seed={self.seed}"]
        arguments += [f"--trainer={self.method}"]
        arguments += [f"--dataset-config-file=configs/datasets/{self.dataset}.yaml"]
        config = settings.config_path(self.method, self.config).relative_to(settings.ROOT)
        arguments += [f"--config-file={config}"]
        arguments += [f"--output-dir={environment.output / self.folder}"]
        if environment.backbone:
            arguments += [f"--backbone={environment.backbone}"]
        if not self.trains:
            arguments += ["--eval-only"]
        if model_dir := self.model_dir(environment):
            arguments += [f"--model-dir={model_dir}"]
            if "best_val" not in options:
                arguments += [f"--load-epoch={self.epochs(options)}"]
        if environment.precision:
            options += [f"TRAINER.{settings.NODES[self.method]}.PREC", environment.precision]
        return [*arguments, *options]

    def __str__(self) -> str:
        return self.folder


def _data(shots: int, classes: str = "all") -> tuple[str, ...]:
    return ("DATASET.NUM_SHOTS", str(shots), "DATASET.SUBSAMPLE_CLASSES", classes)


def base2new_train(method: str, dataset: str, seed: int, config: str = "") -> Run:
    """Train on the base classes and test them."""
    config = config or settings.config_name(method, "base2new", dataset)
    folder = f"base2new/train_base/{dataset}/shots_{SHOTS}/{method}/{config}/seed{seed}"
    return Run(method, dataset, seed, config, folder, _data(SHOTS, "base"))


def base2new_test(
    method: str, dataset: str, seed: int, config: str = "", classes: str = "new", weights: str = ""
) -> Run:
    """Test the prompts of `base2new_train`, or given weights, on the base or the new classes."""
    train = base2new_train(method, dataset, seed, config)
    folder = train.folder.replace("train_base", f"test_{classes}", 1)
    source = None if weights or method in settings.ZERO_SHOT else train
    options = _data(SHOTS, classes)
    return replace(train, folder=folder, options=options, source=source, weights=weights)


def cross_dataset_train(method: str, source: str, seed: int, config: str = "") -> Run:
    """Train on all classes of the source."""
    config = config or settings.config_name(method, "cross_dataset", source)
    folder = f"{source}/{method}/{config}_{SHOTS}shots/seed{seed}"
    return Run(method, source, seed, config, folder, _data(SHOTS))


def cross_dataset_test(
    method: str, source: str, dataset: str, seed: int, config: str = "", weights: str = ""
) -> Run:
    """Test the prompts of `cross_dataset_train`, or given weights, on another dataset."""
    train = cross_dataset_train(method, source, seed, config)
    folder = f"evaluation/{method}/{train.config}_{SHOTS}shots/{dataset}/seed{seed}"
    train = None if weights else train
    return Run(
        method,
        dataset,
        seed,
        config or settings.config_name(method, "cross_dataset", source),
        folder,
        ("DATASET.SUBSAMPLE_CLASSES", "all"),
        train,
        weights,
    )


def coop(
    dataset: str,
    config: str,
    shots: int,
    seed: int,
    position: str = COOP_FEW_SHOT_CONTEXT["position"],
    length: int = COOP_FEW_SHOT_CONTEXT["length"],
    class_specific: bool = COOP_FEW_SHOT_CONTEXT["class_specific"],
) -> Run:
    """Train CoOp on all classes, with the form of its context."""
    context = settings.coop_context(position, length, class_specific)
    folder = f"{dataset}/CoOp/{config}_{shots}shots/{context}/seed{seed}"
    options = ("TRAINER.COOP.N_CTX", str(length), "TRAINER.COOP.CSC", str(class_specific))
    options += ("TRAINER.COOP.CLASS_TOKEN_POSITION", position)
    return Run("CoOp", dataset, seed, config, folder, (*options, *_data(shots)))


def few_shot(method: str, dataset: str, shots: int, seed: int, config: str = "") -> Run:
    """Train on all classes with some shots."""
    chosen = config or settings.config_name(method, "few_shot", dataset, shots)
    if method == "CoOp":
        return coop(dataset, chosen, shots, seed)
    options = _data(shots)
    if method == "PromptSRC" and not config:
        mean, std = settings.few_shot_gaussian(dataset)
        options += ("TRAINER.PROMPTSRC.GPA_MEAN", str(mean), "TRAINER.PROMPTSRC.GPA_STD", str(std))
    folder = f"{dataset}/{method}/{chosen}_{shots}shots/seed{seed}"
    return Run(method, dataset, seed, chosen, folder, options)


def few_shot_test(
    method: str, dataset: str, shots: int, seed: int, weights: str, config: str = ""
) -> Run:
    """Test given weights of a few-shot run."""
    train = few_shot(method, dataset, shots, seed, config)
    return replace(train, folder=f"few_shot/{train.folder}", weights=weights)


def zero_shot(method: str, dataset: str, config: str = "") -> Run:
    """Zero-shot CLIP on all classes; it draws nothing, so that it has no seeds."""
    config = config or settings.config_name(method, "few_shot", dataset)
    options = ("DATASET.SUBSAMPLE_CLASSES", "all")
    return Run(method, dataset, 1, config, f"{method}/{config}/{dataset}", options)


def table_runs(
    protocol: str,
    methods: Iterable[str],
    datasets: Iterable[str],
    seeds: Sequence[int] = settings.SEEDS,
    shots: Sequence[int] = settings.FEW_SHOTS,
    config: str = "",
) -> list[Run]:
    """The runs of a table, each before those that depend on it.

    Args:
        protocol: one of settings.PROTOCOLS.
        methods: names of methods, in any case; the ablation has its own.
        datasets: dataset names, or "all", or "builtin".
        seeds: without repetition.
        shots: of few-shot runs.
        config: instead of the published configurations, such as "builtin".

    Raises:
        UsageError: an unknown name (the nearest is offered), something given twice, or a method
            without a configuration for the protocol.
    """
    if protocol not in settings.PROTOCOLS:
        raise settings.closest("protocol", protocol, settings.PROTOCOLS)
    methods = [settings.find_method(name) for name in methods]
    datasets = settings.find_datasets(datasets, protocol, config)
    for kind, values in {"method": methods, "seed": seeds, "number of shots": shots}.items():
        settings.refuse_twice(kind, list(values))
    for value in (*seeds, *shots):
        if value < 1:
            raise UsageError(f"seeds and shots start at 1, but {value} was given")
    if protocol == "ablation":
        return list(_ablation_runs(datasets, seeds, config))
    runs: list[Run] = []
    for method in methods:
        if method in settings.ZERO_SHOT:
            runs += _zero_shot_runs(protocol, method, datasets, config)
        else:
            runs += _method_runs(protocol, method, datasets, seeds, shots, config)
    return runs


def _ablation_runs(datasets: Sequence[str], seeds: Sequence[int], config: str) -> Iterable[Run]:
    for row in settings.ABLATION.values():
        for dataset in datasets:
            for seed in seeds:
                train = _with_parts_left_out(base2new_train(row.method, dataset, seed, config), row)
                test = _with_parts_left_out(base2new_test(row.method, dataset, seed, config), row)
                yield train
                yield replace(test, source=train)


def _with_parts_left_out(run: Run, row: settings.AblationRow) -> Run:
    folder = run.folder.replace(f"/{run.config}/", f"/{run.config}{row.suffix}/")
    return replace(run, folder=folder, options=(*run.options, *row.options))


def _zero_shot_runs(
    protocol: str, method: str, datasets: Sequence[str], config: str
) -> Iterable[Run]:
    if protocol == "base2new":
        for dataset in datasets:
            for classes in ("base", "new"):
                yield base2new_test(method, dataset, 1, config, classes)
        return
    if protocol in settings.TRANSFERS:
        datasets = (settings.source_of(config), *datasets)
    yield from (zero_shot(method, dataset, config) for dataset in datasets)


def _method_runs(
    protocol: str,
    method: str,
    datasets: Sequence[str],
    seeds: Sequence[int],
    shots: Sequence[int],
    config: str,
) -> Iterable[Run]:
    if protocol == "few_shot":
        for dataset in datasets:
            for count in shots:
                yield from (few_shot(method, dataset, count, seed, config) for seed in seeds)
    elif protocol == "base2new":
        for dataset in datasets:
            for seed in seeds:
                yield base2new_train(method, dataset, seed, config)
                yield base2new_test(method, dataset, seed, config)
    else:
        source = settings.source_of(config)
        for seed in seeds:
            yield cross_dataset_train(method, source, seed, config)
            for dataset in datasets:
                yield cross_dataset_test(method, source, dataset, seed, config)

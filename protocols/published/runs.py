"""A run (one call of train.py), and the runs that make up each table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import methods, settings
from .methods import ZERO_SHOT_FOLDER, AblationRow, Setting
from .settings import UsageError

Options = Mapping[str, Any]
"""Values by configuration key, instead of the published ones."""


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
        teacher: the training run that this one learns from.
        teacher_option: the key that receives the teacher's output folder.
        notes: what its log should say of its settings.
    """

    method: str
    dataset: str
    seed: int
    config: str
    folder: str
    options: tuple[str, ...] = ()
    source: Run | None = None
    weights: str = ""
    teacher: Run | None = None
    teacher_option: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        methods.find(self.method).config_path(self.config)  # raises UsageError for an unknown one

    @property
    def trains(self) -> bool:
        return not (self.source or self.weights or methods.is_zero_shot(self.method))

    @property
    def needs(self) -> tuple[Run, ...]:
        """The runs that must be finished before this one."""
        return tuple(run for run in (self.source, self.teacher) if run)

    def teacher_in(self, environment: Environment) -> Run | None:
        """The training run that this one learns from, unless KEY VALUE pairs name another teacher."""
        named = self.teacher and _last(environment.options, self.teacher_option)
        return None if named else self.teacher

    def model_dir(self, environment: Environment) -> Path | None:
        """The folder whose prompts are tested; None for a training run and for zero-shot."""
        if self.source:
            return environment.output / self.source.folder
        return Path(self.weights) if self.weights else None

    def epochs(self, options: Sequence[str] = ()) -> int:
        """MAX_EPOCH of the configuration, or of KEY VALUE pairs."""
        asked = _last(options, "OPTIM.MAX_EPOCH")
        return int(asked) if asked else methods.find(self.method).max_epoch(self.config)

    def tests_best(self, options: Sequence[str] = ()) -> bool:
        """Whether the best epoch is tested, by KEY VALUE pairs or else by the configuration."""
        asked = _last(options, "TEST.FINAL_MODEL")
        if not asked:
            asked = methods.find(self.method).values(self.config).get("TEST.FINAL_MODEL")
        return asked == "best_val"

    def arguments(self, environment: Environment) -> list[str]:
        """The arguments of train.py, as in the published scripts.

        A test loads the last epoch, or with TEST.FINAL_MODEL best_val the best one.
        """
        options = [*self.options, *environment.options]
        arguments = [f"--root={environment.data}", f"--seed={self.seed}"]
        arguments += [f"--trainer={self.method}"]
        arguments += [f"--dataset-config-file=configs/datasets/{self.dataset}.yaml"]
        config = methods.find(self.method).config_path(self.config).relative_to(settings.ROOT)
        arguments += [f"--config-file={config}"]
        arguments += [f"--output-dir={environment.output / self.folder}"]
        # a pair may be above what a note tells of
        unless = "unless a KEY VALUE pair says otherwise, " if environment.options else ""
        arguments += [f"--note={unless}{note}" for note in self.notes]
        if environment.backbone:
            arguments += [f"--backbone={environment.backbone}"]
        if environment.precision:
            arguments += [f"--precision={environment.precision}"]
        if not self.trains:
            arguments += ["--eval-only"]
        if model_dir := self.model_dir(environment):
            arguments += [f"--model-dir={model_dir}"]
            if not self.tests_best(options):
                arguments += [f"--load-epoch={self.epochs(options)}"]
        if teacher := self.teacher_in(environment):
            options += [self.teacher_option, str(environment.output / teacher.folder)]
        return [*arguments, *options]

    def __str__(self) -> str:
        return self.folder


def _last(options: Sequence[str], key: str) -> str | None:
    """The value of a key in KEY VALUE pairs, of which the last one counts."""
    return dict(zip(options[::2], options[1::2], strict=True)).get(key)


def _data(shots: int, classes: str = "all") -> tuple[str, ...]:
    return ("DATASET.NUM_SHOTS", str(shots), "DATASET.SUBSAMPLE_CLASSES", classes)


def _training(
    method: str, dataset: str, seed: int, setting: Setting, classes: str = "all", phase: str = ""
) -> Run:
    """The training run of a setting, without its teacher."""
    named = {"method": method, "dataset": dataset, "seed": seed, "phase": phase}
    return Run(
        method,
        dataset,
        seed,
        setting.config,
        setting.fill(setting.folder, **named),
        (*_data(setting.shots, classes), *setting.pairs()),
        notes=tuple(note.format(dataset=dataset) for note in setting.notes),
    )


def _taught(run: Run, setting: Setting, asked: str, make_teacher: Any) -> Run:
    """The run with its teacher, where the method has one.

    Args:
        asked: the configuration that was asked for, or "".
        make_teacher: (method, seed, config) to the teacher's training run.
    """
    teacher = setting.teacher
    if not teacher:
        return run
    config = asked if asked in methods.find(teacher.method).configs() else teacher.config
    made = make_teacher(teacher.method, teacher.seed or run.seed, config)
    return replace(run, teacher=made, teacher_option=teacher.option)


def base2new_train(
    method: str, dataset: str, seed: int, config: str = "", options: Options | None = None
) -> Run:
    """Train on the base classes and test them."""
    setting = methods.find(method).setting("base2new", dataset, config=config, options=options)
    run = _training(method, dataset, seed, setting, "base", "train_base")
    return _taught(
        run, setting, config, lambda name, own, chosen: base2new_train(name, dataset, own, chosen)
    )


def base2new_test(
    method: str,
    dataset: str,
    seed: int,
    config: str = "",
    classes: str = "new",
    weights: str = "",
    options: Options | None = None,
) -> Run:
    """Test the prompts of `base2new_train`, or given weights, on the base or the new classes."""
    train = base2new_train(method, dataset, seed, config, options)
    setting = methods.find(method).setting("base2new", dataset, config=config, options=options)
    named = {"method": method, "dataset": dataset, "seed": seed, "phase": f"test_{classes}"}
    return replace(
        train,
        folder=setting.fill(setting.folder, **named),
        options=(*_data(setting.shots, classes), *setting.pairs()),
        source=None if weights or methods.is_zero_shot(method) else train,
        weights=weights,
    )


def cross_dataset_train(
    method: str, source: str, seed: int, config: str = "", options: Options | None = None
) -> Run:
    """Train on all classes of the source."""
    setting = methods.find(method).setting("cross_dataset", source, config=config, options=options)
    run = _training(method, source, seed, setting)
    # whatever a student is trained on, its teacher is trained on the source
    return _taught(
        run,
        setting,
        config,
        lambda name, own, chosen: cross_dataset_train(
            name, settings.source_of(config), own, chosen
        ),
    )


def cross_dataset_test(
    method: str,
    source: str,
    dataset: str,
    seed: int,
    config: str = "",
    weights: str = "",
    options: Options | None = None,
) -> Run:
    """Test the prompts of `cross_dataset_train`, or given weights, on another dataset."""
    setting = methods.find(method).setting("cross_dataset", source, config=config, options=options)
    train = cross_dataset_train(method, source, seed, config, options)
    return _elsewhere(train, setting, dataset, weights)


def _elsewhere(train: Run, setting: Setting, dataset: str, weights: str = "") -> Run:
    """Test the prompts of a training run, or given weights, on another dataset."""
    named = {"method": train.method, "dataset": dataset, "seed": train.seed}
    return replace(
        train,
        dataset=dataset,
        folder=setting.fill(setting.evaluation_folder, **named),
        options=("DATASET.SUBSAMPLE_CLASSES", "all", *setting.pairs()),
        source=None if weights else train,
        weights=weights,
    )


def few_shot(
    method: str,
    dataset: str,
    shots: int,
    seed: int,
    config: str = "",
    options: Options | None = None,
) -> Run:
    """Train on all classes with some shots."""
    setting = methods.find(method).setting("few_shot", dataset, shots, config, options)
    run = _training(method, dataset, seed, setting)
    return _taught(
        run, setting, config, lambda name, own, chosen: few_shot(name, dataset, shots, own, chosen)
    )


def few_shot_test(
    method: str,
    dataset: str,
    shots: int,
    seed: int,
    weights: str,
    config: str = "",
    options: Options | None = None,
) -> Run:
    """Test given weights of a few-shot run."""
    train = few_shot(method, dataset, shots, seed, config, options)
    return replace(train, folder=f"few_shot/{train.folder}", weights=weights)


def few_shot_elsewhere(
    method: str,
    source: str,
    dataset: str,
    shots: int,
    seed: int,
    config: str = "",
    options: Options | None = None,
) -> Run:
    """Test the prompts of a few-shot run on another dataset."""
    setting = methods.find(method).setting("few_shot", source, shots, config, options)
    train = few_shot(method, source, shots, seed, config, options)
    return _elsewhere(train, setting, dataset)


def zero_shot(method: str, dataset: str, config: str = "") -> Run:
    """A method that trains nothing on all classes; it draws nothing, so that it has no seeds."""
    setting = methods.find(method).setting("few_shot", dataset, config=config)
    folder = setting.fill(ZERO_SHOT_FOLDER, method=method, dataset=dataset)
    options = ("DATASET.SUBSAMPLE_CLASSES", "all", *setting.pairs())
    return Run(method, dataset, 1, setting.config, folder, options)


def table_runs(
    protocol: str,
    names: Iterable[str],
    datasets: Iterable[str],
    seeds: Sequence[int] = settings.SEEDS,
    shots: Sequence[int] = settings.FEW_SHOTS,
    config: str = "",
    with_teachers: bool = False,
) -> list[Run]:
    """The runs of a table, each before those that depend on it.

    Args:
        protocol: one of settings.PROTOCOLS.
        names: names of methods, in any case, or "all" for those that have a configuration for it; none
            for all that have an ablation.
        datasets: dataset names, or "all", or "builtin".
        seeds: without repetition.
        shots: of few-shot runs.
        config: instead of the published configurations, such as "builtin".
        with_teachers: also the runs of other methods that these learn from.

    Raises:
        UsageError: an unknown name (the nearest is offered), something given twice, or a method
            without a configuration for the protocol.
    """
    if protocol not in settings.PROTOCOLS:
        raise settings.closest("protocol", protocol, settings.PROTOCOLS)
    names = [
        name
        for given in names
        for name in (
            methods.available(protocol, config) if given == "all" else [methods.find_name(given)]
        )
    ]
    datasets = settings.find_datasets(datasets, protocol, config)
    for kind, values in {"method": names, "seed": seeds, "number of shots": shots}.items():
        settings.refuse_twice(kind, list(values))
    for value in (*seeds, *shots):
        if value < 1:
            raise UsageError(f"seeds and shots start at 1, but {value} was given")
    if protocol == "ablation":
        runs = list(_ablation_runs(names, datasets, seeds, config))
    else:
        runs = []
        for method in names:
            if methods.is_zero_shot(method):
                runs += _zero_shot_runs(protocol, method, datasets, config)
            else:
                runs += _method_runs(protocol, method, datasets, seeds, shots, config)
    if with_teachers:
        runs = [each for run in runs for each in ((run.teacher, run) if run.teacher else (run,))]
    return list(dict.fromkeys(runs))


def _ablation_runs(
    names: Sequence[str], datasets: Sequence[str], seeds: Sequence[int], config: str
) -> Iterable[Run]:
    for name in names or methods.ablations():
        rows = methods.find(name).ablation
        if not rows:
            raise UsageError(
                f"{name} has no ablation; there are those of: {', '.join(methods.ablations())}"
            )
        for row in rows.values():
            for dataset in datasets:
                for seed in seeds:
                    train = _without_parts(base2new_train(row.method, dataset, seed, config), row)
                    test = _without_parts(base2new_test(row.method, dataset, seed, config), row)
                    yield train
                    yield replace(test, source=train)


def _without_parts(run: Run, row: AblationRow) -> Run:
    folder = run.folder.replace(f"/{run.config}/", f"/{run.config}{row.suffix}/")
    return replace(run, folder=folder, options=(*run.options, *row.pairs()))


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
        yield from _transfer_runs(method, datasets, seeds, config)


def _transfer_runs(
    method: str, datasets: Sequence[str], seeds: Sequence[int], config: str
) -> Iterable[Run]:
    source = settings.source_of(config)
    setting = methods.find(method).setting("cross_dataset", source, config=config)
    for seed in seeds:
        if setting.trained_on == "target":
            yield from (cross_dataset_train(method, each, seed, config) for each in datasets)
            continue
        yield cross_dataset_train(method, source, seed, config)
        for dataset in datasets:
            yield cross_dataset_test(method, source, dataset, seed, config)

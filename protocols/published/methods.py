"""What the papers fix of a method, read from its folder configs/trainers/METHOD.

The folder holds the method's configurations and, in published.yaml, which of them serves what. The
format of that file stands in docs/add_a_method.md; nothing here knows a method by name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from . import settings
from .settings import BUILTIN, DATASETS, SHOTS, UsageError

FILE = "published.yaml"
TRAINED_AS = {"domain_generalization": "cross_dataset", "ablation": "base2new"}

_ON_ALL_CLASSES = "{dataset}/{method}/{config}_{shots}shots/seed{seed}"
FOLDERS = {
    "base2new": "base2new/{phase}/{dataset}/shots_{shots}/{method}/{config}/seed{seed}",
    "cross_dataset": _ON_ALL_CLASSES,
    "few_shot": _ON_ALL_CLASSES,
}
"""Output folders of training runs by protocol, as most papers have them."""
EVALUATION_FOLDER = "evaluation/{method}/{config}_{shots}shots/{dataset}/seed{seed}"
ZERO_SHOT_FOLDER = "{method}/{config}/{dataset}"

_OF_A_RUN = ("phase", "dataset", "shots", "method", "config", "seed")
_VALUES = {
    "config": str,
    "shots": int,
    "options": dict,
    "folder": str,
    "evaluation_folder": str,
    "trained_on": str,
    "teacher": dict,
    "note": str,
}


def _checked(content: Any, known: Mapping[str, type], where: str) -> dict[str, Any]:
    """A mapping whose keys are known and whose values are of their types.

    Raises:
        UsageError: it is not; names the key, and what was expected.
    """
    if not isinstance(content, dict):
        raise UsageError(f"{where} is {content!r}: expected keys out of {', '.join(known)}")
    for key, value in content.items():
        if key not in known:
            raise settings.closest(f"key of {where},", str(key), tuple(known))
        if not isinstance(value, known[key]):
            raise UsageError(f"{where}, {key} is {value!r}: expected a {known[key].__name__}")
    return content


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} cannot be read as YAML: {reason}") from error


def _listed(value: Any) -> tuple:
    return tuple(value) if isinstance(value, list) else (value,)


@dataclass(frozen=True)
class Teacher:
    """What must be trained before a method can: another method's run of the same protocol.

    Attributes:
        method: its name.
        config: its configuration; the student's, where that was chosen and the teacher has it too.
        seed: of the one teacher of all seeds; 0 for the student's own.
        option: the key that receives its output folder.
    """

    method: str
    option: str
    config: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Setting:
    """What the papers fix of a training run.

    Attributes:
        config: name of the configuration.
        shots: training images a class.
        options: values by configuration key.
        folder: template of the output folder of training, and of tests on the same dataset.
        evaluation_folder: template of the output folder of tests on another dataset.
        trained_on: "source", or "target" where cross-dataset transfer trains on every target.
        teacher: what must be trained first.
        notes: for the log of a run; {dataset} stands for its name.
    """

    config: str
    shots: int
    options: Mapping[str, Any] = field(hash=False)
    folder: str = ""
    evaluation_folder: str = EVALUATION_FOLDER
    trained_on: str = "source"
    teacher: Teacher | None = None
    notes: tuple[str, ...] = ()

    def pairs(self) -> tuple[str, ...]:
        """The options as KEY VALUE pairs."""
        return tuple(str(part) for pair in self.options.items() for part in pair)

    def fill(self, template: str, **named: Any) -> str:
        """A folder: the template with what is named, the options by the last part of their keys.

        Raises:
            UsageError: the template names something else.
        """
        values = {key.rpartition(".")[2]: value for key, value in self.options.items()}
        try:
            return template.format(
                **{**values, "config": self.config, "shots": self.shots, **named}
            )
        except (KeyError, ValueError, IndexError) as error:
            raise UsageError(
                f"the folder {template!r} of a {FILE} cannot be filled ({error}): it may name "
                f"{', '.join(_OF_A_RUN)}, and options that are set beside it, in braces"
            ) from error


@dataclass(frozen=True)
class Rule:
    """Values that hold for some protocols, datasets and numbers of shots; empty for all."""

    protocols: tuple[str, ...]
    datasets: tuple[str, ...]
    shots: tuple[int, ...]
    values: Mapping[str, Any] = field(hash=False)

    def fits(self, protocol: str, dataset: str, shots: int) -> bool:
        named = "other" if dataset not in DATASETS and "other" in self.datasets else dataset
        return (
            (not self.protocols or protocol in self.protocols)
            and (not self.datasets or named in self.datasets)
            and (not self.shots or shots in self.shots)
        )

    def holds_with(self, config: str) -> bool:
        """Values beside a configuration belong to that configuration alone."""
        return self.values.get("config", config) == config


@dataclass(frozen=True)
class AblationRow:
    """A row of an ablation: a method, options that leave parts of it out, and what the name of the
    configuration then ends with in output folders."""

    method: str
    suffix: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def pairs(self) -> tuple[str, ...]:
        """The options as KEY VALUE pairs."""
        return tuple(str(part) for pair in self.options.items() for part in pair)


@dataclass(frozen=True)
class OwnScript:
    """A published script whose arguments differ from those that all methods share.

    Attributes:
        runs: the common script that it stands for.
        purpose: for its help text.
        arguments: their names, in order.
        fixed: values of arguments of the common script that it does not take.
        options: the argument, by configuration key, that gives the value.
    """

    runs: str
    purpose: str
    arguments: tuple[str, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict, hash=False)
    options: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Method:
    """A method, by its folder.

    Attributes:
        name: the registered name of its trainer, and the name of the folder.
        appeared: year and month of its paper; tables are in this order.
        zero_shot: nothing is trained.
        lender: the method whose configurations it uses.
        reported_as: its name in the file of published figures.
        saw: what it saw beside labelled training images, for reports.
        transductive: it saw images of what it is tested on, so that no ranking has it.
        protocols: those that it can serve; empty for all.
        rules: what holds where; those that fit are laid over each other in their order.
        scripts: published scripts with arguments of their own.
        ablation_title, ablation: its ablation on base-to-new, by the paper's name of each row.
        averaging: keys of mean and deviation of the Gaussian over its epochs, if it has one.
    """

    name: str
    appeared: str = ""
    zero_shot: bool = False
    lender: str = ""
    reported_as: str = ""
    saw: str = ""
    transductive: bool = False
    protocols: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    scripts: Mapping[str, OwnScript] = field(default_factory=dict, hash=False)
    ablation_title: str = ""
    ablation: Mapping[str, AblationRow] = field(default_factory=dict, hash=False)
    averaging: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def folder(self) -> Path:
        """Where its configurations are."""
        return _folder(self.lender or self.name)

    def configs(self) -> list[str]:
        """The names of all its configurations."""
        return sorted(path.stem for path in self.folder.glob("*.yaml") if path.name != FILE)

    def config_path(self, config: str) -> Path:
        """The file of a configuration.

        Raises:
            UsageError: there is none; the nearest is offered.
        """
        configs = self.configs()
        if not configs:
            raise UsageError(
                f"{self.name} has no configuration: write one, such as {self.folder}/builtin.yaml "
                "(docs/add_a_method.md)"
            )
        if config not in configs:
            raise settings.closest(f"configuration of {self.name}", config, configs)
        return self.folder / f"{config}.yaml"

    def max_epoch(self, config: str) -> int:
        """OPTIM.MAX_EPOCH of a configuration.

        Raises:
            UsageError: it does not say.
        """
        epochs = self.values(config).get("OPTIM.MAX_EPOCH")
        if not isinstance(epochs, int):
            raise UsageError(
                f"{self.config_path(config)} has no number OPTIM.MAX_EPOCH: write it there, or give it "
                "as KEY VALUE pair"
            )
        return epochs

    def values(self, config: str) -> dict[str, Any]:
        """What a configuration says, by key such as OPTIM.LR."""
        return dict(_flat(_read_yaml(self.config_path(config))))

    def serves(self, protocol: str) -> bool:
        """Whether it can be run under a protocol."""
        return not self.protocols or TRAINED_AS.get(protocol, protocol) in self.protocols

    def setting(
        self,
        protocol: str,
        dataset: str,
        shots: int = SHOTS,
        config: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> Setting:
        """What the papers fix for a protocol and a dataset.

        Args:
            protocol: one of settings.PROTOCOLS.
            dataset: config name.
            shots: asked for; of few-shot runs.
            config: instead of the published one.
            options: values by configuration key, instead of the published ones.

        Raises:
            UsageError: the method cannot serve the protocol, or the papers have no configuration for it
                and none was given.
        """
        protocol = TRAINED_AS.get(protocol, protocol)
        if not self.serves(protocol):
            raise UsageError(
                f"{self.name} cannot serve {protocol}: it knows no class but those it was trained on, "
                f"and serves {', '.join(self.protocols)}"
            )
        rules = [rule for rule in self.rules if rule.fits(protocol, dataset, shots)]
        config = config or self._published_config(protocol, rules)
        values: dict[str, Any] = {"shots": SHOTS, "folder": FOLDERS[protocol]}
        merged, notes = {}, []
        for rule in rules:
            if rule.holds_with(config):
                values.update(rule.values)
                merged.update(rule.values.get("options", {}))
                notes += [rule.values["note"]] if "note" in rule.values else []
        if protocol == "few_shot":
            values["shots"] = shots
        teacher = values.get("teacher")
        return Setting(
            config=config,
            shots=values["shots"],
            options=merged | dict(options or {}),
            folder=values["folder"],
            evaluation_folder=values.get("evaluation_folder", EVALUATION_FOLDER),
            trained_on=values.get("trained_on", "source"),
            teacher=teacher and Teacher(**teacher),
            notes=tuple(notes),
        )

    def _published_config(self, protocol: str, rules: list[Rule]) -> str:
        named = [rule.values["config"] for rule in rules if "config" in rule.values]
        if named:
            return named[-1]
        configs = self.configs()
        # the small CLIP is asked for by name: it goes with other data than a paper's
        if not self.rules and len(configs) == 1 and configs[0] != BUILTIN:
            return configs[0]
        if not configs:
            self.config_path("")  # raises
        raise UsageError(
            f"{self.name} has no published configuration for {protocol}: name one of "
            f"{', '.join(configs)} (CFG in scripts, --config in sweeps)"
        )

    def published_configs(self, protocol: str) -> set[str]:
        """All published configurations for a protocol, over datasets and shots."""
        protocol = TRAINED_AS.get(protocol, protocol)
        return {
            rule.values["config"]
            for rule in self.rules
            if "config" in rule.values and (not rule.protocols or protocol in rule.protocols)
        }

    def notes(
        self, protocol: str, datasets: Iterable[str], shots: int = SHOTS, config: str = ""
    ) -> list[str]:
        """What is to be said of the settings on some datasets, each once; as for `setting`."""
        datasets, said = list(datasets), {}
        every = "each dataset" if len(datasets) > 1 else "".join(datasets)
        for dataset in datasets:
            for note in self.setting(protocol, dataset, shots, config).notes:
                said.setdefault(note, []).append(dataset)
        return [
            note.format(dataset=every if named == datasets else ", ".join(named))
            for note, named in said.items()
        ]

    def templates(self) -> list[str]:
        """The templates of output folders that differ from most papers'."""
        keys = ("folder", "evaluation_folder")
        own = (rule.values[key] for rule in self.rules for key in keys if key in rule.values)
        return list(dict.fromkeys(own))

    def example(self, key: str) -> Any:
        """A published value of an option, whose type says what its values look like; None for none."""
        return next(
            (r.values["options"][key] for r in self.rules if key in r.values.get("options", {})),
            None,
        )


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix, content


def _folder(name: str) -> Path:
    return settings.CONFIGS / "trainers" / name


def _rule(content: Any, where: str) -> Rule:
    content = dict(_checked(content, {"for": dict, **_VALUES}, where))
    conditions = {"protocol": (str, list), "dataset": (str, list), "shots": (int, list)}
    given = _checked(content.pop("for", {}), conditions, f"{where}, for")
    fits = {key: _listed(value) for key, value in given.items()}
    _protocols(fits.get("protocol", ()), where)
    for dataset in fits.get("dataset", ()):
        if dataset not in (*settings.dataset_names(), "other"):
            raise settings.closest(f"dataset ({where})", str(dataset), settings.dataset_names())
    if content.get("trained_on", "target") not in ("source", "target"):
        raise UsageError(f"{where}, trained_on is neither source nor target")
    if "teacher" in content:
        teacher = {"method": str, "option": str, "config": str, "seed": int}
        given = _checked(content["teacher"], teacher, f"{where}, teacher")
        _required(given, ("method", "option"), f"{where}, teacher")
    return Rule(fits.get("protocol", ()), fits.get("dataset", ()), fits.get("shots", ()), content)


def _protocols(names: Iterable[Any], where: str) -> tuple[str, ...]:
    for name in names:
        if name not in FOLDERS:
            raise settings.closest(f"protocol that trains ({where})", str(name), tuple(FOLDERS))
    return tuple(names)


def _required(content: Mapping[str, Any], keys: Collection[str], where: str) -> None:
    if missing := [key for key in keys if key not in content]:
        raise UsageError(f"{where} lacks {', '.join(missing)}")


def _script(content: Any, where: str) -> OwnScript:
    known = {"runs": str, "purpose": str, "arguments": list, "fixed": dict, "options": dict}
    content = _checked(content, known, where)
    _required(content, ("runs", "purpose", "arguments"), where)
    return OwnScript(**{**content, "arguments": tuple(content["arguments"])})


def _row(content: Any, name: str, where: str) -> AblationRow:
    known = {"method": str, "suffix": str, "options": dict}
    return AblationRow(**{"method": name, **_checked(content, known, where)})


@cache
def find(name: str) -> Method:
    """A method by its exact name; one without a folder has nothing that is published.

    Raises:
        UsageError: its published.yaml cannot be read, or says what it may not.
    """
    path = _folder(name) / FILE
    if not path.is_file():
        return Method(name)
    known = {
        "appeared": str,
        "zero_shot": bool,
        "configurations_of": str,
        "reported_as": str,
        "saw": str,
        "transductive": bool,
        "protocols": list,
        "settings": list,
        "scripts": dict,
        "ablation": dict,
        "averaging": dict,
    }
    content = _checked(_read_yaml(path) or {}, known, str(path))
    ablation = _checked(
        content.get("ablation", {}), {"title": str, "rows": dict}, f"{path}, ablation"
    )
    return Method(
        name=name,
        appeared=content.get("appeared", ""),
        zero_shot=content.get("zero_shot", False),
        lender=content.get("configurations_of", ""),
        reported_as=content.get("reported_as", name),
        saw=content.get("saw", ""),
        transductive=content.get("transductive", False),
        protocols=_protocols(content.get("protocols", ()), f"{path}, protocols"),
        rules=tuple(
            _rule(each, f"{path}, setting {number}")
            for number, each in enumerate(content.get("settings", []), start=1)
        ),
        scripts={
            script: _script(each, f"{path}, script {script}")
            for script, each in content.get("scripts", {}).items()
        },
        ablation_title=ablation.get("title", ""),
        ablation={
            row: _row(each or {}, name, f"{path}, ablation {row}")
            for row, each in ablation.get("rows", {}).items()
        },
        averaging=content.get("averaging", {}),
    )


@cache
def names() -> tuple[str, ...]:
    """All methods that have a folder, in the order in which their papers appeared."""
    folders = (settings.CONFIGS / "trainers").iterdir()
    found = [path.name for path in folders if any(path.glob("*.yaml"))]
    return tuple(sorted(found, key=lambda name: (find(name).appeared or "9999", name)))


def available(protocol: str, config: str) -> tuple[str, ...]:
    """The methods that serve a protocol and have this configuration, or for "" a published one."""
    return tuple(
        name
        for name in names()
        if find(name).serves(protocol)
        and (config in find(name).configs() if config else find(name).published_configs(protocol))
    )


def trained() -> tuple[str, ...]:
    """The methods that train something."""
    return tuple(name for name in names() if not find(name).zero_shot)


def is_zero_shot(name: str) -> bool:
    """Whether a method trains nothing."""
    return find(name).zero_shot


def find_name(name: str) -> str:
    """The exact name of a method, given in any case.

    Raises:
        UsageError: there is none (the nearest is offered), or it has a file in trainers/ but no folder.
    """
    for known in names():
        if known.lower() == name.lower():
            return known
    if re.fullmatch(r"\w+", name):
        for path in (settings.ROOT / "trainers").glob("*.py"):
            text = path.read_text(encoding="utf-8")
            if found := re.search(rf"^class ({name})\b", text, re.MULTILINE | re.IGNORECASE):
                raise UsageError(
                    f"{found[1]} has a file, {path.relative_to(settings.ROOT)}, but no folder of "
                    f"configurations: write configs/trainers/{found[1]}/{BUILTIN}.yaml or another "
                    "one (docs/add_a_method.md)"
                )
    raise settings.closest("method", name, names())


def ablations() -> tuple[str, ...]:
    """The methods that have an ablation."""
    return tuple(name for name in names() if find(name).ablation)


def ablation_rows() -> dict[str, AblationRow]:
    """All rows of all ablations, by the papers' names."""
    return {row: each for name in ablations() for row, each in find(name).ablation.items()}


def ablation_row(method: str, config: str) -> tuple[str, str] | None:
    """The row of an ablation that a folder of this method and configuration name belongs to, and
    the configuration's own name; None where it belongs to none."""
    for name, row in sorted(ablation_rows().items(), key=lambda each: -len(each[1].suffix)):
        if row.method == method and config.endswith(row.suffix):
            return name, config.removesuffix(row.suffix)
    return None


@cache
def pattern(template: str, method: str = "") -> re.Pattern:
    """What matches the folders of a template, each part in a group of its name; parts that options
    fill come as one group "own", the last segment that holds any."""
    segments, own = [], [s for s in template.split("/") if _options_in(s)]
    for segment in template.split("/"):
        expression = re.sub(r"\\\{(\w+)\\\}", _group, re.escape(segment))
        segments.append(f"(?P<own>{expression})" if own and segment == own[-1] else expression)
    text = "/".join(segments)
    return re.compile(text.replace("(?P<method>[^/]+)", re.escape(method)) if method else text)


def _options_in(segment: str) -> list[str]:
    return [name for name in re.findall(r"\{(\w+)\}", segment) if name not in _OF_A_RUN]


def _group(match: re.Match) -> str:
    name = match[1]
    if name in ("shots", "seed"):
        return rf"(?P<{name}>\d+)"
    if name == "phase":
        return "(?P<phase>train_base|test_base|test_new)"
    return f"(?P<{name}>[^/]+)" if name in _OF_A_RUN else "[^/]+"

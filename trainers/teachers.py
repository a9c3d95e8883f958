"""Trained teachers: a run or a file of deep prompts, or CLIP as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prompting import checkpoints, prompted_teacher
from prompting.errors import InputError
from prompting.prompted_teacher import PromptedTeacher

from . import image_input, templates

if TYPE_CHECKING:
    from .prompt_trainer import PromptTrainer

ZERO_SHOT = "zero-shot"


def find_teacher(trainer: PromptTrainer, method: type[PromptTrainer]) -> PromptedTeacher:
    """The teacher that a trainer's options name, on its device and in its precision.

    TEACHER is a run's folder, the folder of checkpoints in it, a file, or "zero-shot" for CLIP under
    the dataset's own template. TEACHER_NAME is the backbone; "" for the one that our checkpoint names,
    and for the student's own. Text features are computed in fp32 in every precision.

    Args:
        trainer: learns from it.
        method: what trained it.

    Raises:
        InputError: nothing is there; it does not fit the backbone, or takes images of another size.
    """
    given, backbone = trainer.options.TEACHER, trainer.options.TEACHER_NAME
    names = list(trainer.dm.dataset.classnames)
    if given == ZERO_SHOT:
        student = trainer.cfg.MODEL.BACKBONE
        same = backbone in ("", student.NAME)
        template = templates.of_dataset(trainer.cfg.DATASET.NAME)
        teacher = prompted_teacher.zero_shot(
            backbone or student.NAME, template, names, student.get("ACTIVATION", "") if same else ""
        )
    else:
        path = _file_of(given, method.checkpoint_name)
        if not path.is_file():
            raise InputError(_missing(trainer, method))
        teacher = prompted_teacher.from_file(path, backbone, names, method.published_unused)
    for key, value in image_input.differences(trainer.cfg, teacher.model.clip):
        raise InputError(
            f"the teacher needs INPUT.{key} {value}, which is {trainer.cfg.INPUT[key]} here: teacher "
            "and student see the same images, so that their backbones must agree"
        )
    trainer.precision.cast(teacher.model.clip.image)
    teacher.model.to(trainer.device)
    return teacher


def _file_of(given: str, folder: str) -> Path:
    path = Path(given).expanduser()
    if not given or not path.is_dir():
        return path
    return checkpoints.locate(path / folder if (path / folder).is_dir() else path, None)


def _missing(trainer: PromptTrainer, method: type[PromptTrainer]) -> str:
    own = type(trainer).__name__
    return (
        f"TRAINER.{trainer.node}.TEACHER is {trainer.options.TEACHER!r}: no trained teacher is there. "
        f"`bash scripts/run.sh {own} base2new_train DATASET SEED --with-teacher` trains it first; "
        f"or give the folder of a run of {method.__name__}, a {method.checkpoint_name} checkpoint with "
        f"its TEACHER_NAME, or {ZERO_SHOT}"
    )

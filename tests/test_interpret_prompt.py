"""interpret_prompts/interpret_prompt.py: words are found back, and what does not fit is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from interpret_prompts.interpret_prompt import main
from prompting.backbone import load_clip
from prompting.learner import word_vectors

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "interpret_prompts/interpret_prompt.py"


def interpret(*words):
    command = [sys.executable, "-W", "ignore", str(SCRIPT), *map(str, words)]
    return subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True)


def test_the_words_of_a_context_are_the_nearest_to_it(tmp_path):
    clip = load_clip("builtin-vit-small")
    context = word_vectors(clip, "a photo of", 3)
    path = tmp_path / "model.pth.tar-5"
    state = {"ctx": context, "token_prefix": torch.zeros(4, 1, context.shape[1])}
    torch.save({"state_dict": state, "epoch": 5}, path)
    found = interpret(path, 2, "--backbone", "builtin-vit-small")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert [line.split()[1:3] for line in lines] == [
        [word, "0.0000,"] for word in ("a", "photo", "of")
    ]


def test_the_checkpoint_of_a_run_is_found_in_its_folder(tmp_path, capsys):
    clip = load_clip("builtin-vit-small")
    prompts = tmp_path / "run" / "prompt_learner"
    prompts.mkdir(parents=True)
    for name, words in (("model.pth.tar-1", "a photo of"), ("model.pth.tar-2", "the photo of")):
        torch.save({"state_dict": {"ctx": word_vectors(clip, words, 3)}}, prompts / name)
    (prompts / "checkpoint").write_text("model.pth.tar-2\n")
    assert main([str(tmp_path / "run"), "1", "--backbone", "builtin-vit-small"]) == 0
    found = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in found] == ["the", "photo", "of"]
    assert main([str(tmp_path), "1"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} is not the folder of a run")


def test_what_holds_no_context_is_named(tmp_path):
    path = tmp_path / "model.pth.tar-5"
    torch.save({"state_dict": {"image_encoder.VPT": torch.zeros(4, 8)}, "epoch": 5}, path)
    found = interpret(path, 2)
    assert found.returncode == 2
    assert found.stderr.startswith(f"error: {path} holds no context vectors")

"""The wrappings and names under which other people's CLIPs come, and what is refused of them."""

from __future__ import annotations

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from prompting.backbone import CLIP, hugging_face, load_clip, open_clip
from prompting.class_prompts import PromptTemplate
from prompting.errors import InputError
from prompting.learner import PromptLearner
from prompting.prompted_clip import PromptedCLIP
from tests import other_clips, tiny_clip
from tests.other_clips import DEVIATION, MEAN, OPEN_CLIP

ROOT = Path(__file__).parents[2]
Serve = Callable[[type[http.server.BaseHTTPRequestHandler]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(handler) -> the address of a server on this machine."""
    servers = []

    def call(handler) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield call
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def of_open_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return other_clips.write_open_clip(tmp_path_factory.mktemp("hub") / "open_clip")


@pytest.fixture(scope="module")
def of_transformers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return other_clips.write_transformers(tmp_path_factory.mktemp("hub") / "transformers")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> None:
    """open_clip with an architecture of ours."""
    path = tmp_path_factory.mktemp("architectures") / "ViT-tiny-8.json"
    path.write_text(json.dumps(OPEN_CLIP["GELU"]))
    other_clips.open_clip.add_model_config(path)


def test_open_clips_files_are_one_model(of_open_clip: Path, library, tmp_path: Path) -> None:
    folder = load_clip(str(of_open_clip))
    assert (folder.images.mean, folder.images.deviation) == (MEAN, DEVIATION)
    assert folder.notes == ()
    state = load_file(of_open_clip / "open_clip_model.safetensors")
    assert load_clip(str(of_open_clip / "open_clip_model.safetensors")).images == folder.images
    training = {
        "epoch": 3,
        "name": "run",
        "state_dict": {f"module.{k}": v for k, v in state.items()},
    }
    path = tmp_path / "epoch_3.pt"
    torch.save(training, path)
    named = load_clip(f"open_clip:ViT-tiny-8/{path}")
    told = load_clip(str(path), "gelu")
    assert folder.fingerprint == named.fingerprint == told.fingerprint
    assert folder.earlier_fingerprint == told.earlier_fingerprint
    # in OpenAI's files the same weights mean something else, and that is told
    untold = load_clip(str(path))
    assert untold.fingerprint != folder.fingerprint
    assert untold.earlier_fingerprint != folder.earlier_fingerprint
    assert "does not say its activation" in untold.notes[0]
    assert told.notes == ()
    assert load_clip(str(path), "quick_gelu").fingerprint == untold.fingerprint
    with pytest.raises(InputError, match=r"ACTIVATION is quick_gelu, but .* says itself.* gelu"):
        load_clip(str(of_open_clip), "quick_gelu")
    with pytest.raises(InputError, match=r"ACTIVATION is 'relu': expected quick_gelu or gelu"):
        load_clip(str(path), "relu")


def test_transformers_files_are_one_model(of_transformers: Path, tmp_path: Path) -> None:
    folder = load_clip(str(of_transformers))
    assert (folder.images.mean, folder.images.interpolation) == (MEAN, "bicubic")
    single = of_transformers / "model.safetensors"
    assert load_clip(str(single)).fingerprint == folder.fingerprint
    # as earlier versions wrote it: several files, positions among the weights, parts named twice
    state = load_file(single)
    state["text_model.embeddings.position_ids"] = torch.arange(77)
    names = sorted(state)
    parts = {"one.bin": names[:20], "two.bin": names[20:]}
    for part, held in parts.items():
        torch.save({name: state[name] for name in held}, tmp_path / part)
    index = {"weight_map": {name: part for part, held in parts.items() for name in held}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    config = json.loads((of_transformers / "config.json").read_text())
    config["text_config_dict"] = config["text_config"]
    config["text_config"] = {"hidden_act": "quick_gelu"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    images = {"image_processor": {"image_mean": [0.1, 0.2, 0.3], "do_normalize": False}}
    (tmp_path / "processor_config.json").write_text(json.dumps(images))
    earlier = load_clip(str(tmp_path))
    assert earlier.fingerprint == folder.fingerprint
    assert (earlier.images.mean, earlier.images.deviation) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    (tmp_path / "two.bin").unlink()
    with pytest.raises(InputError, match=r"names the file two\.bin, which is not there"):
        load_clip(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json cannot be read as JSON"):
        load_clip(str(tmp_path))


def test_a_tag_is_downloaded_and_says_its_activation(
    of_open_clip: Path, library, serve: Serve, monkeypatch, tmp_path: Path
) -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(of_open_clip))
    url = f"{serve(handler)}/open_clip_model.safetensors"
    tags = {
        "mine": {"url": url, "mean": [0.1, 0.2, 0.3], "std": DEVIATION},
        "quick": {"url": url, "quick_gelu": True, "resize_mode": "squash"},
        "gone": {"url": f"{url}.gone"},
    }
    registry = sys.modules["open_clip.pretrained"]._PRETRAINED
    monkeypatch.setitem(registry, "ViT-tiny-8", tags)
    monkeypatch.setenv("HOME", str(tmp_path))
    plain, quick = (load_clip(f"open_clip:ViT-tiny-8/{tag}") for tag in ("mine", "quick"))
    assert plain.fingerprint == load_clip(str(of_open_clip)).fingerprint != quick.fingerprint
    assert plain.images.mean == (0.1, 0.2, 0.3)
    assert 'the mode "squash"' in quick.notes[0]
    for name, message in {
        "ViT-tiny-8/gone": "cannot be downloaded: .*404",
        "ViT-tiny-8/min": r"neither a file nor .* \(did you mean mine\?\)",
        "ViT-B/16/openai": r"no architecture 'ViT-B' \(did you mean ViT-B-16",
    }.items():
        with pytest.raises(InputError, match=message):
            load_clip(f"open_clip:{name}")


HUB = """
import huggingface_hub
from prompting.backbone import load_clip
from prompting.errors import InputError

one, other = load_clip("hf:someone/open"), load_clip("hf:someone/other")
print(one.fingerprint, one.images.mean)
print(other.fingerprint)
huggingface_hub.constants.HF_HUB_OFFLINE = True
print(load_clip("hf:someone/other").fingerprint)
for name in ("someone/new", "no/such/name"):
    try:
        load_clip(f"hf:{name}")
    except InputError as error:
        print(error)
huggingface_hub.constants.HF_HUB_OFFLINE = False
for name in ("someone/nothing", "someone/gated"):
    try:
        load_clip(f"hf:{name}")
    except InputError as error:
        print(error)
"""


def test_the_hub_is_asked_once(
    of_open_clip: Path, of_transformers: Path, serve: Serve, tmp_path: Path
) -> None:
    """A server that answers as the hub does; then its cache alone."""
    repositories = {"someone/open": of_open_clip, "someone/other": of_transformers}

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            repository, _, file = self.path.lstrip("/").partition("/resolve/main/")
            path = repositories.get(repository, tmp_path) / file
            found = repository in repositories and path.is_file()
            self.send_response(200 if found else 403 if "gated" in repository else 404)
            if found:
                self.send_header("ETag", f'"{path.name}"')
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("Content-Length", str(path.stat().st_size))
            elif repository in repositories:
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("X-Repo-Commit", "0" * 40)
            else:
                gated = "gated" in repository
                self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
            self.end_headers()
            if found and self.command == "GET":
                self.wfile.write(path.read_bytes())

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    environment = {"HF_ENDPOINT": serve(Hub), "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HUB],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    one, other = (load_clip(str(folder)).fingerprint for folder in (of_open_clip, of_transformers))
    assert lines[:3] == [f"{one} {MEAN}", other, other]
    assert "hf:someone/new is not in the cache, and the hub cannot be asked" in lines[3]
    assert lines[4].startswith("hf:no/such/name cannot be downloaded: ")
    assert "hf:someone/nothing: the hub has no such model, or it is private" in lines[5]
    assert "given to those who accept its terms" in lines[6]
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("architecture", "reason"),
    {
        "ViT-B-16-SigLIP": "sigmoid",
        "coca_ViT-B-32": "captions",
        "xlm-roberta-base-ViT-B-32": "XLM-RoBERTa.*not causal",
        "mt5-base-ViT-B-32": "T5",
        "convnext_base": "one of timm's",
        "MobileCLIP-B": "one of timm's",
        "ViT-L-14-CLIPA": "does not normalise before|pools otherwise",
        "ViT-H-14-worldwide": "other tokens",
    }.items(),
)
def test_architectures_of_other_kinds_are_refused(architecture: str, reason: str) -> None:
    config = other_clips.open_clip.get_model_config(architecture)
    with pytest.raises(InputError, match=f"(?s)cannot be used.*({reason}).*Expected a CLIP"):
        open_clip.describe("x", {"model_cfg": config})


@pytest.mark.parametrize(
    ("architecture", "heads", "activation"),
    [
        ("ViT-B-32", 12, "gelu"),
        ("ViT-L-14-quickgelu", 16, "quick_gelu"),
        ("ViT-H-14", 16, "gelu"),
        ("ViT-g-14", 16, "gelu"),
        ("ViT-bigG-14", 16, "gelu"),
        ("RN50-quickgelu", 32, "quick_gelu"),
    ],
)
def test_clips_architectures_are_understood(architecture: str, heads: int, activation: str) -> None:
    config = other_clips.open_clip.get_model_config(architecture)
    found = open_clip.describe("x", {"model_cfg": config})
    assert (found.image.heads, found.image.activation) == (heads, activation)
    assert found.text.activation == activation


@pytest.mark.parametrize(
    ("part", "key", "value", "reason"),
    [
        ("vision_cfg", "ls_init_value", 1e-4, "layer scale"),
        ("vision_cfg", "attentional_pool", True, "pools by attention"),
        ("vision_cfg", "pool_type", "avg", "class token"),
        ("vision_cfg", "image_size", [32, 64], "not square"),
        ("vision_cfg", "act_kwargs", {"approximate": "tanh"}, "approximated"),
        ("vision_cfg", "rope", True, "does not know that option"),
        ("text_cfg", "no_causal_mask", True, "not causal"),
        ("text_cfg", "embed_cls", True, "CoCa"),
        ("text_cfg", "pool_type", "last", "end of text"),
        ("text_cfg", "pool_type", "eos", "token 2"),
        ("text_cfg", "proj_bias", True, "bias"),
    ],
)
def test_options_that_are_not_computed_are_refused(part, key, value, reason) -> None:
    config = {**OPEN_CLIP["GELU"], part: {**OPEN_CLIP["GELU"][part], key: value}}
    with pytest.raises(InputError, match=reason):
        open_clip.describe("x", {"model_cfg": config})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "siglip"}, "sigmoid.*model_type is 'siglip'"),
        ({"model_type": "chinese_clip"}, "not causal"),
        ({"model_type": "bert"}, "it is no CLIP"),
        ({"text_config": {"hidden_act": "gelu_new"}}, "activation is 'gelu_new'"),
        ({"text_config": {"eos_token_id": 1}}, "end in token 1"),
        ({"vision_config": {"layer_norm_eps": 1e-6}}, "another epsilon"),
        ({"vision_config": {"num_channels": 4}}, "4 channels"),
    ],
)
def test_transformers_configurations_of_other_kinds_are_refused(change, reason) -> None:
    with pytest.raises(InputError, match=reason):
        hugging_face.describe("x", {"model_type": "clip", **change}, lambda name: None)


def test_weights_alone_tell_what_is_no_clip(tmp_path: Path) -> None:
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    small["num_attention_heads"] = 1
    config = other_clips.transformers.SiglipConfig(
        text_config={**small, "vocab_size": 99, "projection_size": 32},
        vision_config={**small, "image_size": 32, "patch_size": 16},
    )
    siglip = other_clips.transformers.SiglipModel(config)
    siglip.save_pretrained(tmp_path / "siglip")
    with pytest.raises(InputError, match=r"sigmoid .*model_type is 'siglip'"):
        load_clip(str(tmp_path / "siglip"))
    alone = tmp_path / "alone.safetensors"
    (tmp_path / "siglip/model.safetensors").rename(alone)
    with pytest.raises(InputError, match=r"sigmoid .*as logit_bias shows"):
        load_clip(str(alone))
    for name, reason in {
        "visual.trunk.blocks.0.norm1.weight": "one of timm's",
        "visual.attn_pool.query": "pools by attention",
        "transformer.resblocks.0.ls_1.gamma": "layer scale",
        "text.cls_emb": "CoCa",
        "text_decoder.ln_final.weight": "captions",
        "text.transformer.embeddings.word_embeddings.weight": "XLM-RoBERTa",
        "text.text_projection.bias": "bias",
    }.items():
        save_file({name: torch.zeros(2)}, alone)
        with pytest.raises(InputError, match=f"{reason}.*as {name} shows"):
            load_clip(str(alone))


def test_weights_and_configuration_that_disagree(of_open_clip: Path, tmp_path: Path) -> None:
    state = load_file(of_open_clip / "open_clip_model.safetensors")
    save_file(state, tmp_path / "clip.safetensors")
    config = {"model_cfg": {**OPEN_CLIP["GELU"], "embed_dim": 64}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="embed_dim is 64 there and 32 in the weights"):
        load_clip(str(tmp_path / "clip.safetensors"))
    text = {**OPEN_CLIP["GELU"]["text_cfg"], "heads": 3}
    config = {"model_cfg": {**OPEN_CLIP["GELU"], "text_cfg": text}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="a width of 64 cannot be shared by 3 attention heads"):
        load_clip(str(tmp_path / "clip.safetensors"))
    (tmp_path / "open_clip_config.json").unlink()
    with pytest.raises(InputError, match="holds no model of open_clip or transformers"):
        load_clip(str(tmp_path))


def test_heads_that_nobody_says_are_not_guessed(tmp_path: Path) -> None:
    sizes = {**tiny_clip.SIZES["VIT"], "vision_width": 1280, "vision_layers": 1}
    path = tiny_clip.write(tmp_path, "WIDE", sizes=sizes)
    with pytest.raises(InputError, match=r"does not say how many attention heads.*1280"):
        load_clip(str(path))


def test_a_prompt_is_as_long_as_the_model_reads() -> None:
    template = PromptTemplate("a photo of a {}.")
    for length in (24, 100):
        state = tiny_clip.build().state_dict()
        table = state["positional_embedding"]
        state["positional_embedding"] = table.repeat(2, 1)[:length]
        clip = CLIP(state)
        PromptedCLIP(clip, PromptLearner(), template, ["x " * (length - 8)])
        with pytest.raises(InputError, match=f"does not fit into CLIP's {length} tokens"):
            PromptedCLIP(clip, PromptLearner(), template, ["x " * (length - 6)])


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": ["clip"]},
        {"text_config": [1]},
        {"text_config": {"hidden_act": ["gelu"]}},
        {"vision_config": {"num_attention_heads": "x"}},
        {"vision_config": {"num_attention_heads": -1}},
        {"preprocessor": {"image_mean": ["x", 0, 0]}},
        {"preprocessor": {"image_mean": [0.5]}},
        {"preprocessor": {"image_std": [0, 1, 1]}},
        {"preprocessor": {"resample": []}},
    ],
    ids=str,
)
def test_a_configuration_that_makes_no_sense(change, of_transformers: Path, tmp_path: Path) -> None:
    config = json.loads((of_transformers / "config.json").read_text())
    (tmp_path / "model.safetensors").symlink_to(of_transformers / "model.safetensors")
    change = dict(change)
    images = change.pop("preprocessor", {})
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(config[key], dict)
        config[key] = {**config[key], **value} if both else value
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(images))
    with pytest.raises(InputError, match=r"makes no sense|OpenAI layout"):
        load_clip(str(tmp_path))

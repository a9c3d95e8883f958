"""Every name that plugins use is there, import is light, and names are looked up helpfully."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from dassl.config import clean_cfg, get_cfg_default
from dassl.data.datasets import build_dataset
from dassl.engine import build_trainer
from dassl.evaluation import build_evaluator
from dassl.modeling import build_backbone, build_head, build_network
from dassl.utils import InputError, Registry, check_availability
from yacs.config import CfgNode

NAMES = {
    "dassl.config": "get_cfg_default clean_cfg",
    "dassl.engine": "TRAINER_REGISTRY build_trainer TrainerBase SimpleTrainer TrainerX TrainerXU "
    "SimpleNet",
    "dassl.engine.trainer": "TrainerBase SimpleTrainer TrainerX TrainerXU SimpleNet",
    "dassl.data": "DataManager DatasetWrapper",
    "dassl.data.data_manager": "DataManager DatasetWrapper build_data_loader",
    "dassl.data.datasets": "DATASET_REGISTRY build_dataset Datum DatasetBase",
    "dassl.data.datasets.build": "DATASET_REGISTRY build_dataset",
    "dassl.data.datasets.base_dataset": "Datum DatasetBase",
    "dassl.data.transforms": "build_transform INTERPOLATION_MODES",
    "dassl.data.transforms.transforms": "build_transform INTERPOLATION_MODES",
    "dassl.data.samplers": "RandomSampler SequentialSampler RandomDomainSampler SeqDomainSampler "
    "RandomClassSampler build_sampler",
    "dassl.optim": "build_optimizer build_lr_scheduler",
    "dassl.evaluation": "EVALUATOR_REGISTRY build_evaluator EvaluatorBase Classification",
    "dassl.metrics": "compute_accuracy cosine_distance compute_distance_matrix",
    "dassl.modeling": "build_backbone build_head build_network BACKBONE_REGISTRY HEAD_REGISTRY "
    "NETWORK_REGISTRY Backbone",
    "dassl.utils": "setup_logger set_random_seed collect_env_info Registry check_availability "
    "MetricMeter AverageMeter mkdir_if_missing read_json write_json listdir_nohidden check_isfile "
    "read_image count_num_param load_checkpoint save_checkpoint resume_from_checkpoint "
    "load_pretrained_weights open_specified_layers open_all_layers init_network_weights "
    "tolist_if_not download_url",
    "dassl.utils.tools": "set_random_seed collect_env_info check_availability mkdir_if_missing "
    "read_json write_json listdir_nohidden check_isfile read_image tolist_if_not download_url",
    "dassl.utils.torchtools": "count_num_param load_checkpoint save_checkpoint open_all_layers "
    "resume_from_checkpoint load_pretrained_weights open_specified_layers init_network_weights",
}

METHODS = {
    "TrainerBase": "register_model get_model_names save_model resume_model_if_exist load_model "
    "set_model_mode update_lr detect_anomaly init_writer close_writer write_scalar train "
    "before_train before_epoch run_epoch after_epoch after_train model_zero_grad model_backward "
    "model_update model_backward_and_update",
    "SimpleTrainer": "check_cfg build_data_loader build_model test model_inference "
    "parse_batch_test get_current_lr",
    "TrainerX": "run_epoch forward_backward parse_batch_train",
    "TrainerXU": "run_epoch forward_backward parse_batch_train",
    "DatasetBase": "num_classes lab2cname classnames generate_fewshot_dataset "
    "split_dataset_by_label split_dataset_by_domain check_input_domains download_data",
}


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in NAMES for name in NAMES[module].split()]
)
def test_names_of_the_api_exist(module, name):
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner in METHODS for name in METHODS[owner].split()]
)
def test_methods_of_the_api_exist(owner, name):
    module = "dassl.data.datasets" if owner == "DatasetBase" else "dassl.engine"
    assert hasattr(getattr(importlib.import_module(module), owner), name)


def test_import_is_light():
    heavy = ["sklearn", "scipy", "tensorboard", "torchvision.models", "matplotlib", "clip"]
    code = f"import sys, dassl.engine; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_defaults_are_dassl_s():
    cfg = get_cfg_default()
    expected = {
        "OUTPUT_DIR": "./output",
        "RESUME": "",
        "SEED": -1,
        "INPUT.SIZE": (224, 224),
        "INPUT.INTERPOLATION": "bilinear",
        "INPUT.RRCROP_SCALE": (0.08, 1.0),
        "INPUT.GB_K": 21,
        "DATASET.NUM_SHOTS": -1,
        "DATALOADER.NUM_WORKERS": 4,
        "DATALOADER.TRAIN_X.N_INS": 16,
        "DATALOADER.TRAIN_U.SAME_AS_X": True,
        "MODEL.HEAD.HIDDEN_LAYERS": (),
        "OPTIM.NAME": "adam",
        "OPTIM.LR": 3e-4,
        "OPTIM.SGD_DAMPNING": 0,
        "OPTIM.ADAM_EPS": 1e-8,
        "OPTIM.STEPSIZE": (-1,),
        "OPTIM.WARMUP_EPOCH": -1,
        "OPTIM.WARMUP_RECOUNT": True,
        "TRAIN.COUNT_ITER": "train_x",
        "TEST.FINAL_MODEL": "last_step",
    }
    for key, value in expected.items():
        node = cfg
        for part in key.split("."):
            node = node[part]
        assert node == value, key


def test_a_configuration_is_a_copy():
    get_cfg_default().OPTIM.LR = 1.0
    assert get_cfg_default().OPTIM.LR == 3e-4


def test_a_configuration_s_lists_are_copies_too():
    get_cfg_default().INPUT.PIXEL_MEAN.append(1.0)
    assert len(get_cfg_default().INPUT.PIXEL_MEAN) == 3


def test_a_yaml_file_is_merged_into_plugins_nodes_too(tmp_path):
    cfg = get_cfg_default()
    cfg.TRAINER.COOP = CfgNode({"N_CTX": 16, "DEEP": CfgNode({"PREC": "fp16"})})
    path = tmp_path / "some.yaml"
    path.write_text("OPTIM: {LR: 0.5}\nTRAINER: {COOP: {N_CTX: 4, DEEP: {PREC: fp32}}}\n")
    cfg.merge_from_file(str(path))
    assert (cfg.OPTIM.LR, cfg.TRAINER.COOP.N_CTX, cfg.TRAINER.COOP.DEEP.PREC) == (0.5, 4, "fp32")
    other = cfg.clone()
    other.OPTIM.LR = 0.25
    cfg.merge_from_other_cfg(other)
    assert cfg.OPTIM.LR == 0.25


def test_a_configuration_in_python_is_not_executed(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ncfg = {{'SEED': 1}}\n")
    with pytest.raises(InputError, match=r"x\.py.*expected YAML"):
        get_cfg_default().merge_from_file(str(path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content", [b"", b"OPTIM: [1\n", b"OPTIM:\n\tLR: 1\n", b"- 1\n", b"A: \xff"]
)
def test_a_damaged_configuration_is_named(tmp_path, content):
    path = tmp_path / "half.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"half\.yaml"):
        get_cfg_default().merge_from_file(str(path))


def test_clean_cfg_keeps_one_trainer_s_node():
    cfg = get_cfg_default()
    cfg.TRAINER.COOP = CfgNode({"N_CTX": 16})
    cfg.TRAINER.COCOOP = CfgNode({"N_CTX": 4})
    clean_cfg(cfg, "CoOp")
    assert set(cfg.TRAINER) == {"NAME", "COOP"}


def test_registry_gives_what_was_registered():
    registry = Registry("TOY")

    @registry.register()
    class First:
        pass

    def second():
        pass

    registry.register(second)
    assert registry.get("First") is First
    assert registry.get("second") is second
    assert registry.registered_names() == ["First", "second"]
    with pytest.raises(KeyError, match=r"already registered in TOY"):
        registry.register(second)
    registry.register(second, force=True)
    with pytest.raises(KeyError, match=r'"First"'):
        registry.get("Frst")


def test_unknown_name_is_answered_with_the_nearest():
    check_availability("sgd", ["adam", "sgd"])
    with pytest.raises(ValueError, match=r'got "PromtSRC".*do you mean "PromptSRC"') as error:
        check_availability("PromtSRC", ["CoOp", "PromptSRC"])
    assert "CoOp" in str(error.value)
    # A difference of case alone is the nearest of all.
    with pytest.raises(ValueError, match=r'do you mean "CoOp"'):
        check_availability("coop", ["CoCoOp", "CoOp", "cop"])


@pytest.mark.parametrize(
    ("build", "key"),
    [
        (build_trainer, "TRAINER.NAME"),
        (build_dataset, "DATASET.NAME"),
        (build_evaluator, "TEST.EVALUATOR"),
    ],
)
def test_builders_refuse_unknown_names(make_cfg, build, key):
    with pytest.raises(ValueError, match='got "NoSuchThing"'):
        build(make_cfg(key, "NoSuchThing"))


@pytest.mark.parametrize("build", [build_backbone, build_head, build_network])
def test_modeling_builders_refuse_unknown_names(build):
    with pytest.raises(ValueError, match='got "NoSuchThing"'):
        build("NoSuchThing")

"""Drawing, loading and augmenting, and that workers and tests in between change nothing."""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data import DataManager, DatasetWrapper
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import DatasetBase, Datum
from dassl.data.samplers import build_sampler
from dassl.data.transforms import AVAI_CHOICES, INTERPOLATION_MODES, build_transform
from dassl.utils import InputError, read_image
from PIL import Image
from torch.utils.data import DataLoader


def items(counts):
    """Data with that many images of each label, the labels interleaved."""
    names = [(index, label) for label, count in enumerate(counts) for index in range(count)]
    return [
        Datum(f"{label}_{index}", label, classname=f"c{label}") for index, label in sorted(names)
    ]


pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


# Few-shot drawing


@pytest.mark.parametrize("num_shots", [1, 3, 5])
@pytest.mark.parametrize("repeat", [False, True])
def test_few_shot_draw_is_python_s_sample_per_class(num_shots, repeat):
    data = [*items([0, 4, 7]), *items([3])]
    base = DatasetBase(train_x=data, test=data)
    random.seed(5)
    drawn = base.generate_fewshot_dataset(data, num_shots=num_shots, repeat=repeat)

    random.seed(5)
    expected = []
    # Labels 1 and 2 come first, 0 last.
    for label in (1, 2, 0):
        members = [item for item in data if item.label == label]
        if len(members) >= num_shots:
            expected += random.sample(members, num_shots)
        elif repeat:
            expected += random.choices(members, k=num_shots)
        else:
            expected += members
    assert drawn == expected


def test_few_shot_draw_gives_one_list_for_each_source():
    data = items([3, 3])
    base = DatasetBase(train_x=data, test=data)
    first, second = base.generate_fewshot_dataset(data, data, num_shots=2)
    assert len(first) == len(second) == 4
    assert base.generate_fewshot_dataset(data) is data
    assert base.generate_fewshot_dataset(data, data) == (data, data)


def test_dataset_takes_its_classes_from_train_x():
    base = DatasetBase(train_x=items([1, 0, 2]), test=items([5, 5, 5, 5]))
    assert base.num_classes == 3
    assert base.lab2cname == {0: "c0", 2: "c2"}
    assert base.classnames == ["c0", "c2"]


def test_splitting_keeps_the_order():
    data = [Datum("a", 1, 0), Datum("b", 0, 1), Datum("c", 1, 1)]
    base = DatasetBase(train_x=data)
    by_label = base.split_dataset_by_label(data)
    assert list(by_label) == [1, 0]
    assert by_label[1] == [data[0], data[2]]
    assert base.split_dataset_by_domain(data) == {0: [data[0]], 1: [data[1], data[2]]}


def test_domains_are_checked():
    base = DatasetBase()
    base.domains = ("photo", "sketch")
    base.check_input_domains(["photo"], ["sketch"])
    with pytest.raises(ValueError, match=r'\["?\'photo\', \'sketch\'.*got "cartoon"'):
        base.check_input_domains(["photo"], ["cartoon"])
    with pytest.raises(ValueError, match="SOURCE_DOMAINS is empty"):
        base.check_input_domains([], ["photo"])


def test_datum_refuses_what_is_not_a_path():
    with pytest.raises(TypeError, match="path of an image as a string"):
        Datum(impath=3)


def test_archives_are_unpacked_where_they_lie(tmp_path):
    import shutil

    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("content")
    archive = shutil.make_archive(str(tmp_path / "data"), "gztar", source)
    target = tmp_path / "root" / "data.tar.gz"
    base = DatasetBase()
    base.download_data(f"file://{archive}", str(target), from_gdrive=False)
    assert (tmp_path / "root" / "a.txt").read_text() == "content"

    content = bytearray(Path(archive).read_bytes())
    content[-6] ^= 1  # in the checksum, which the unpacked files do not need
    Path(archive).write_bytes(content)
    with pytest.raises(InputError, match="CRC"):
        base.download_data(f"file://{archive}", str(tmp_path / "flipped" / "data.tar.gz"), False)
    assert not (tmp_path / "flipped" / "a.txt").exists()

    page = tmp_path / "page.html"
    page.write_text("Quota exceeded")
    with pytest.raises(InputError, match="cannot be unpacked"):
        base.download_data(f"file://{page}", str(tmp_path / "bad" / "x.zip"), from_gdrive=False)
    with pytest.raises(InputError, match="by hand"):
        base.download_data(f"file://{tmp_path}/absent", str(tmp_path / "y.zip"), from_gdrive=False)
    assert not (tmp_path / "y.zip").exists()


# Samplers


def sampled(name, data, **options):
    generator = torch.Generator().manual_seed(3)
    sampler = build_sampler(name, data_source=data, generator=generator, **options)
    expected_length = len(sampler)
    indices = list(sampler)
    assert len(indices) == expected_length
    return indices


def test_plain_samplers():
    data = items([5, 5])
    assert sampled("SequentialSampler", data) == list(range(10))
    shuffled = sampled("RandomSampler", data)
    assert shuffled != list(range(10))
    assert sorted(shuffled) == list(range(10))
    with pytest.raises(ValueError, match='do you mean "RandomSampler"'):
        build_sampler("RandonSampler", data_source=data)


def test_random_domain_sampler_fills_batches_evenly():
    data = [Datum(str(i), 0, domain=i % 3) for i in range(30)]
    indices = sampled("RandomDomainSampler", data, batch_size=6, n_domain=2)
    assert len(set(indices)) == len(indices)
    for start in range(0, len(indices), 6):
        counts = Counter(data[i].domain for i in indices[start : start + 6])
        assert sorted(counts.values()) == [3, 3]
    # All domains in each batch: every image is drawn.
    assert len(sampled("RandomDomainSampler", data, batch_size=6, n_domain=0)) == 30
    with pytest.raises(ValueError, match="multiple of the number of domains"):
        build_sampler("RandomDomainSampler", data_source=data, batch_size=7, n_domain=2)


def test_seq_domain_sampler_takes_turns():
    data = [Datum(str(i), 0, domain=i % 2) for i in range(12)]
    indices = sampled("SeqDomainSampler", data, batch_size=3)
    domains = [[data[i].domain for i in indices[s : s + 3]] for s in range(0, 12, 3)]
    assert domains == [[0] * 3, [1] * 3, [0] * 3, [1] * 3]
    assert sorted(indices) == list(range(12))


def test_random_class_sampler_puts_instances_together():
    data = items([6, 6, 1, 6])
    indices = sampled("RandomClassSampler", data, batch_size=6, n_ins=3)
    for start in range(0, len(indices), 3):
        assert len({data[i].label for i in indices[start : start + 3]}) == 1
    for start in range(0, len(indices), 6):
        assert len({data[i].label for i in indices[start : start + 6]}) == 2
    # The class with a single image fills its place with it.
    counts = Counter(data[i].label for i in indices)
    assert counts[2] in (0, 3)
    with pytest.raises(ValueError, match="at least N_INS"):
        build_sampler("RandomClassSampler", data_source=data, batch_size=2, n_ins=3)
    with pytest.raises(ValueError, match="the data has 4 groups"):
        build_sampler("RandomClassSampler", data_source=data, batch_size=15, n_ins=3)


# Transforms


def picture(width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("choice", AVAI_CHOICES)
@pytest.mark.parametrize("is_train", [True, False])
def test_every_choice_gives_images_of_the_size(make_cfg, choice, is_train):
    transform = build_transform(make_cfg("INPUT.SIZE", (16, 16)), is_train, choices=[choice])
    # random_crop cuts from the image as it is, so the image is no smaller than that.
    tensor = transform(picture(16, 16))
    assert tensor.shape == (3, 16, 16)
    assert torch.isfinite(tensor).all()


def test_test_transform_resizes_crops_and_normalises(make_cfg):
    from torchvision.transforms import functional as TF

    cfg = make_cfg("INPUT.SIZE", (10, 20), "INPUT.INTERPOLATION", "bicubic")
    image = picture(60, 40)
    resized = TF.resize(image, 20, INTERPOLATION_MODES["bicubic"])
    assert resized.size == (30, 20)
    expected = TF.normalize(
        TF.to_tensor(TF.center_crop(resized, [10, 20])), cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD
    )
    torch.testing.assert_close(build_transform(cfg, is_train=False)(image), expected)


def test_train_transform_says_what_it_does(make_cfg, capsys):
    transform = build_transform(make_cfg())
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Building transform_train"
    assert printed[1] == "+ random resized crop (size=(16, 16), scale=(0.08, 1.0))"
    assert printed[2] == "+ random flip"
    assert printed[3] == "+ to torch tensor of range [0, 1]"
    assert printed[4].startswith("+ normalization (mean=[0.485")
    crop = transform.transforms[0]
    assert crop.scale == (0.08, 1.0)
    assert crop.interpolation == INTERPOLATION_MODES["bilinear"]


def test_train_without_a_crop_resizes(make_cfg):
    transform = build_transform(make_cfg(), choices=())
    assert transform(picture(30, 50)).shape == (3, 16, 16)


def test_transform_names_are_checked(make_cfg):
    with pytest.raises(ValueError, match='do you mean "random_flip"'):
        build_transform(make_cfg(), choices=["randomflip"])
    with pytest.raises(ValueError, match='do you mean "bicubic"'):
        build_transform(make_cfg("INPUT.INTERPOLATION", "bicubik"))
    assert build_transform(make_cfg("INPUT.NO_TRANSFORM", True)) is None


def test_cutout_clears_one_square(make_cfg):
    cfg = make_cfg("INPUT.CUTOUT_LEN", 4)
    white = Image.new("RGB", (16, 16), "white")
    cleared = [int((build_transform(cfg, True, ["cutout"])(white) == 0).sum()) for _ in range(20)]
    assert max(cleared) == 3 * 4 * 4
    assert min(cleared) >= 3 * 2 * 2


def test_instance_norm(make_cfg):
    tensor = build_transform(make_cfg(), False, ["instance_norm"])(picture(16, 16))
    torch.testing.assert_close(tensor.mean(dim=(1, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(tensor.std(dim=(1, 2)), torch.ones(3))


# Loading


def contents(loader):
    return [(batch["impath"], batch["index"].tolist(), batch["img"]) for batch in loader]


def epochs_of(manager, epochs=(0, 1, 2), between=lambda: None):
    result = []
    for epoch in epochs:
        manager.set_epoch(epoch)
        result.append(contents(manager.train_loader_x))
        between()
    return result


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert len(one) == len(other)
        for (paths, index, images), (paths_, index_, images_) in zip(one, other, strict=True):
            assert paths == paths_
            assert index == index_
            assert torch.equal(images, images_)


@pytest.fixture
def reference_epochs(make_cfg):
    return epochs_of(DataManager(make_cfg()))


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(make_cfg, reference_epochs, workers):
    manager = DataManager(make_cfg("DATALOADER.NUM_WORKERS", workers))
    assert manager.train_loader_x.persistent_workers
    assert_same(epochs_of(manager), reference_epochs)


def test_workers_that_end_with_the_epoch_change_nothing(make_cfg, reference_epochs):
    manager = DataManager(make_cfg())
    manager.train_loader_x = DataLoader(
        manager.train_loader_x.dataset,
        batch_size=4,
        sampler=manager.train_loader_x.sampler,
        num_workers=1,
        drop_last=True,
        generator=torch.Generator(),
    )
    assert_same(epochs_of(manager), reference_epochs)


@pytest.mark.parametrize("workers", [0, 1])
def test_tests_and_random_numbers_in_between_change_nothing(make_cfg, reference_epochs, workers):
    manager = DataManager(make_cfg("DATALOADER.NUM_WORKERS", workers))

    def between():
        list(manager.test_loader)
        list(manager.val_loader)
        torch.rand(3), random.random(), np.random.rand()

    assert_same(epochs_of(manager, between=between), reference_epochs)


def test_a_resumed_run_sees_the_same(make_cfg, reference_epochs):
    assert_same(epochs_of(DataManager(make_cfg()), epochs=[2]), reference_epochs[2:])


def test_epochs_and_seeds_differ(make_cfg, reference_epochs):
    orders = [[index for _, index, _ in epoch] for epoch in reference_epochs]
    assert orders[0] != orders[1] != orders[2]
    dataset = DataManager(make_cfg()).train_loader_x.dataset
    first = dataset[0]["img"]
    dataset.set_epoch(1)
    assert not torch.equal(dataset[0]["img"], first)
    other = DataManager(make_cfg("SEED", 2))
    other.set_epoch(0)
    assert [index for _, index, _ in contents(other.train_loader_x)] != orders[0]


def test_unseeded_runs_follow_torch_s_own_seed(make_cfg):
    first = epochs_of(DataManager(make_cfg("SEED", -1)), epochs=[0])
    assert_same(epochs_of(DataManager(make_cfg("SEED", -1)), epochs=[0]), first)
    torch.manual_seed(1)
    other = epochs_of(DataManager(make_cfg("SEED", -1)), epochs=[0])
    assert not torch.equal(other[0][0][2], first[0][0][2])


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_leaves_the_global_random_state_alone(make_cfg, workers):
    manager = DataManager(make_cfg("DATALOADER.NUM_WORKERS", workers))

    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    list(manager.train_loader_x)
    list(manager.test_loader)
    assert states() == before


def test_augmentation_by_python_and_numpy_is_seeded_too(make_cfg):
    def noisy(_):
        return torch.tensor([random.random(), np.random.rand(), torch.rand(()).item()])

    def numbers(workers):
        cfg = make_cfg("DATALOADER.NUM_WORKERS", workers)
        manager = DataManager(cfg, custom_tfm_train=noisy)
        manager.set_epoch(1)
        return torch.cat([batch["img"] for batch in manager.train_loader_x])

    here = numbers(0)
    assert torch.equal(here, numbers(1))
    assert len(here.unique()) == here.numel()


def test_batches_hold_what_plugins_read(make_cfg):
    manager = DataManager(make_cfg())
    batch = next(iter(manager.test_loader))
    assert set(batch) == {"img", "label", "domain", "impath", "index"}
    assert batch["img"].shape == (4, 3, 16, 16)
    assert batch["label"].tolist() == [0, 0, 1, 1]
    assert batch["index"].tolist() == [0, 1, 2, 3]
    assert [re.sub(r".*/", "", path) for path in batch["impath"]] == [
        "red_8.png",
        "red_9.png",
        "green_8.png",
        "green_9.png",
    ]
    assert manager.num_classes == 3
    assert manager.lab2cname == {0: "red", 1: "green", 2: "blue"}
    assert manager.num_source_domains == 0
    assert manager.train_loader_u is None


def test_views_and_the_image_as_it_is(make_cfg):
    cfg = make_cfg("DATALOADER.K_TRANSFORMS", 2, "DATALOADER.RETURN_IMG0", True)
    batch = next(iter(DataManager(cfg).train_loader_x))
    first, second = batch["img"]
    assert first.shape == second.shape == batch["img0"].shape == (4, 3, 16, 16)
    assert not torch.equal(first, second)
    plain = build_transform(cfg, is_train=True, choices=["normalize"])
    torch.testing.assert_close(batch["img0"][0], plain(Image.open(batch["impath"][0])))

    two = [build_transform(make_cfg(), is_train=False, choices=c) for c in ([], ["normalize"])]
    batch = next(iter(DataManager(make_cfg(), custom_tfm_train=two).train_loader_x))
    assert batch["img"].shape == batch["img2"].shape
    assert batch["img"].min() >= 0 > batch["img2"].min()

    with pytest.raises(ValueError, match="K_TRANSFORMS is 2"):
        DatasetWrapper(cfg, [Datum("a")], transform=None, is_train=True)


def test_labelled_and_unlabelled_images_are_drawn_and_augmented_apart(make_cfg):
    manager = DataManager(make_cfg("DATASET.NUM_LABELED", 6))
    manager.set_epoch(0)
    orders = [
        [index for batch in loader for index in batch["index"].tolist()]
        for loader in (manager.train_loader_x, manager.train_loader_u)
    ]
    assert orders[0] != orders[1]
    first = [loader.dataset[0] for loader in (manager.train_loader_x, manager.train_loader_u)]
    assert first[0]["impath"] == first[1]["impath"]
    assert not torch.equal(first[0]["img"], first[1]["img"])


def test_wrappers_of_others_are_built_as_dassl_does(make_cfg):
    calls = []

    class Wrapper(torch.utils.data.Dataset):
        def __init__(self, cfg, data_source, transform=None, is_train=False):
            calls.append((len(data_source), is_train))
            self.data_source = data_source

        def __len__(self):
            return len(self.data_source)

        def __getitem__(self, index):
            return {"img": torch.tensor(index)}

    manager = DataManager(make_cfg(), dataset_wrapper=Wrapper)
    manager.set_epoch(1)
    assert calls == [(18, True), (6, False), (6, False)]
    assert len(next(iter(manager.train_loader_x))["img"]) == 4


def test_the_short_last_batch_is_dropped_in_training_only(make_cfg):
    manager = DataManager(make_cfg("DATALOADER.TRAIN_X.BATCH_SIZE", 4))
    assert len(manager.train_loader_x) == 4
    assert len(manager.test_loader) == 2


def test_a_batch_larger_than_the_set_is_warned_about(make_cfg):
    with pytest.warns(UserWarning, match=r"18 images.*batch of 32.*1 step.*lower BATCH_SIZE"):
        manager = DataManager(make_cfg("DATALOADER.TRAIN_X.BATCH_SIZE", 32))
    assert [len(batch["label"]) for batch in manager.train_loader_x] == [18]


def test_negative_workers_are_chosen_by_the_machine(make_cfg, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert DataManager(make_cfg("DATALOADER.NUM_WORKERS", -1)).test_loader.num_workers == 6
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert DataManager(make_cfg("DATALOADER.NUM_WORKERS", -1)).test_loader.num_workers == 8
    assert get_cfg_default().DATALOADER.NUM_WORKERS == 4


def test_no_images_is_an_error(make_cfg):
    with pytest.raises(ValueError, match=r"no images to load for testing.*DATASET.ROOT"):
        build_data_loader(make_cfg(), data_source=[], is_train=False)


def loading_error(loader):
    # Without its traceback, which would keep the workers alive until the garbage is collected.
    try:
        list(loader)
    except OSError as error:
        return error.with_traceback(None)


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_images_are_named(make_cfg, tmp_path, workers):
    cfg = make_cfg("DATALOADER.NUM_WORKERS", workers)
    transform = build_transform(cfg, is_train=False)
    path = tmp_path / "bird.jpg"
    loader = build_data_loader(cfg, data_source=[Datum(str(path))], tfm=transform, is_train=False)
    missing = loading_error(loader)
    assert isinstance(missing, FileNotFoundError)
    assert re.search(r"bird\.jpg.*DATASET\.ROOT", str(missing))
    path.write_bytes(b"not an image")
    damaged = loading_error(loader)
    assert not isinstance(damaged, FileNotFoundError)
    assert re.search(r"bird\.jpg.*damaged or not an image", str(damaged))


def test_a_truncated_image_is_named(make_cfg, image_folder, tmp_path):
    whole = (image_folder / "red_0.png").read_bytes()
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole[: len(whole) // 2])
    dataset = DatasetWrapper(make_cfg(), [Datum(str(cut))], transform=np.asarray)
    with pytest.raises(OSError, match=r"cut\.png.*fetch it again") as error:
        dataset[0]
    assert error.value.__cause__ is not None


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.pgm"])
def test_16_bit_pictures_are_scaled(tmp_path, name):
    values = np.linspace(0, 65535, 24 * 20).astype(np.uint16).reshape(20, 24)
    if name.endswith(".pgm"):
        (tmp_path / name).write_bytes(b"P5 24 20 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(tmp_path / name)
    image = read_image(str(tmp_path / name))
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image)[..., 1], values >> 8)


@pytest.mark.parametrize(("dtype", "kind"), [(np.int32, "whole"), (np.float32, "real")])
def test_pictures_of_no_known_range_are_refused(tmp_path, dtype, kind):
    path = tmp_path / "depth.tif"
    Image.fromarray(np.arange(480, dtype=dtype).reshape(20, 24)).save(path)
    with pytest.raises(InputError, match=rf"depth\.tif.*32-bit {kind} numbers.*8 or 16 bits"):
        read_image(str(path))


def test_a_picture_that_is_a_program_is_not_run(tmp_path, monkeypatch):
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    called = []
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: called.append(args))
    monkeypatch.setattr(subprocess, "check_call", lambda *args, **kwargs: called.append(args))
    path = tmp_path / "x.png"
    Image.new("RGB", (8, 8)).save(path, format="EPS")
    with pytest.raises(InputError, match=r"x\.png"):
        read_image(str(path))
    assert not called


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"x\.png.*no ordinary file"):
        read_image(str(tmp_path / "x.png"))


def test_a_decompression_bomb_is_named(tmp_path, monkeypatch):
    Image.new("L", (64, 64)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16)
    with pytest.raises(InputError, match=r"bomb\.png.*decompression bomb"):
        read_image(str(tmp_path / "bomb.png"))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_worker_says_is_one_line(make_cfg, tmp_path, workers):
    cfg = make_cfg("DATALOADER.NUM_WORKERS", workers)
    (tmp_path / "bird.jpg").write_bytes(b"not an image")
    data = [Datum(str(tmp_path / "bird.jpg"))]
    transform = build_transform(cfg, is_train=False)
    loader = build_data_loader(cfg, data_source=data, tfm=transform, is_train=False)
    error = loading_error(loader)
    assert isinstance(error, InputError)
    assert str(error).startswith('Cannot read the image "')
    assert "\n" not in str(error)


def test_the_summary_lists_the_sizes(make_cfg, capsys):
    DataManager(make_cfg("VERBOSE", True))
    printed = capsys.readouterr().out
    assert re.search(r"# classes +3\n", printed)
    assert re.search(r"# train_x +18\n", printed)
    assert re.search(r"# test +6\n", printed)

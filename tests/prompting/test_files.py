"""Files are whole, on the disk, and leave nothing beside them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from prompting.errors import InputError
from prompting.files import temporary_files, write_atomically


def test_content_and_folder_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: flushed.append(os.fstat(fd).st_ino) or fsync(fd))
    write_atomically(tmp_path / "file", lambda path: path.write_text("content"))
    assert flushed == [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 128 vs 22"),
        Exception("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_named(tmp_path: Path, failure: Exception) -> None:
    (tmp_path / "file").write_text("old")

    def write(path: Path) -> None:
        path.write_text("ne")
        raise failure

    with pytest.raises(
        InputError, match=r"file could not be written: the disk .* full \(\d.* left\)"
    ):
        write_atomically(tmp_path / "file", write)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_torch_on_a_full_device(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="full"):
        write_atomically(
            tmp_path / "file", lambda _: torch.save({"a": torch.zeros(10**6)}, "/dev/full")
        )


def test_other_failures_stay_what_they_are(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        write_atomically(tmp_path / "file", write)


def test_what_a_killed_write_leaves_is_found(tmp_path: Path) -> None:
    seen: list[Path] = []
    write_atomically(tmp_path / "folder" / "file", seen.append)
    seen[0].touch()  # as if the process had been killed in between
    (tmp_path / "folder" / ".env.template").write_text("a user's")
    assert temporary_files(tmp_path) == temporary_files(tmp_path / "folder") == seen


def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    for text in ("one", "two"):
        write_atomically(tmp_path / "link", lambda path, text=text: path.write_text(text))
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "file").read_text() == text


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        InputError, match="pipe cannot be written: what is there is no regular file"
    ):
        write_atomically(tmp_path / "pipe", lambda path: path.write_text("x"))
    assert (tmp_path / "pipe").is_fifo()

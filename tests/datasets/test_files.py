"""Writing whole files and reading text files."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading

import pytest

from datasets.errors import DiskFullError, InputError
from datasets.files import alone, read_text, remove_leftovers, write_bytes, write_json


def test_write_json_leaves_the_old_file_where_writing_fails(tmp_path):
    path = tmp_path / "file.json"
    write_json([1], path)
    with pytest.raises(TypeError):
        write_json([object()], path)
    assert json.loads(path.read_text()) == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_the_file_and_the_room(number, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "file.json"
    write_bytes(b"old", path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            DiskFullError, match=r"no room for .*file\.json: it needs 1,000 bytes, and"
        ):
            write_bytes(bytes(1000), path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
    with pytest.raises(OSError, match="no") as other:
        write_bytes(b"new", path)
    assert not isinstance(other.value, InputError)


def test_file_and_folder_are_on_the_disk_before_it_returns(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (synced.append(os.fstat(handle)), fsync(handle))
    )
    write_bytes(b"content", tmp_path / "file")
    inodes = [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]
    assert [status.st_ino for status in synced] == inodes
    write_bytes(b"content", tmp_path / "other", durable=False)
    assert len(synced) == 2


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    code = (
        "import os, signal, datasets.files as f\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"f.write_bytes(b'x', {str(tmp_path / 'file')!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    (left,) = tmp_path.iterdir()
    for name in ("file", ".hidden", ".file.0123", "file." + "0" * 32):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, of="another")
    assert left.exists()
    remove_leftovers(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        "file",
        ".hidden",
        ".file.0123",
        "file." + "0" * 32,
    }


def test_only_one_works_in_a_folder_and_the_other_says_that_it_waits(tmp_path, capsys):
    order = []

    def second():
        with alone(tmp_path):
            order.append("second")

    with alone(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert capsys.readouterr().out == f"Waiting for another process that works in {tmp_path}\n"


def test_text_with_and_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "names.txt"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text("Bär\n", encoding=encoding)
        assert read_text(path) == "Bär\n"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_in_another_encoding_is_named(encoding, tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("cat\nBär\n", encoding=encoding)
    with pytest.raises(
        InputError, match=r"names\.txt is not UTF-8 text: .*Save it in the encoding UTF-8"
    ):
        read_text(path)


def test_text_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.txt does not exist"):
        read_text(tmp_path / "gone.txt")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_text(tmp_path)

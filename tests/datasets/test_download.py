"""`python -m datasets.download` against a server on this machine that can be made to misbehave."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import os
import re
import shutil
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from tqdm import tqdm

from datasets import archives, ilsvrc
from datasets import download as download_module
from datasets.archives import ArchiveError, unpack
from datasets.catalogue import catalogue
from datasets.disk import file_digest
from datasets.download import download, fetch, main
from datasets.dtd import DescribableTextures
from datasets.errors import InputError
from datasets.recipe import (
    DRIVE,
    HUB,
    STATED,
    UNPUBLISHED,
    Piece,
    Recipe,
    Source,
    file_on_drive,
    imagenet_class_names,
)
from datasets.synsets import read_class_names
from datasets.web import ATTEMPTS, DownloadError, open_remote


class Server(ThreadingHTTPServer):
    """Serves ``files``; the first ``breaks[path]`` answers for a path stop half-way.  Those in
    ``stated`` redirect first, stating a checksum; ``sent`` counts the bytes of content."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks, self.asked, self.status = {}, {}, [], {}
        self.stated, self.gives_parts, self.sent = {}, True, 0

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.lstrip("/")
        asked = self.headers.get("Range", "")
        self.server.asked.append((path, asked))
        if path in self.server.status or path not in self.server.files:
            self.send_error(self.server.status.get(path, 404))
            return
        if path in self.server.stated:
            self.send_response(302)
            self.send_header("X-Linked-ETag", f'"{self.server.stated[path]}"')
            self.send_header("Location", self.server.url(f"cdn/{path}"))
            self.end_headers()
            return
        content = self.server.files[path]
        tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        start, stop = 0, len(content)
        part = asked and self.server.gives_parts and self.headers.get("If-Range", tag) == tag
        if part:
            first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()
            start, stop = int(first), min(int(last or stop) + 1, stop)
        if start >= stop:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if part else 200)
        if part:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        content = content[start:stop]
        if self.server.breaks.get(path, 0) > 0:
            self.server.breaks[path] -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        self.server.sent += len(content)
        with contextlib.suppress(ConnectionError):  # who wanted a part closes early on a whole
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def tar(members, mode="w:gz"):
    """A tar file of {name: bytes | TarInfo}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as packed:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                packed.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return buffer.getvalue()


DTD = {"dtd/images/banded/banded_0002.jpg": b"picture" * 1000, "dtd/labels/labels.txt": b"no"}


def recipe(*pieces, mirror=""):
    return Recipe(tuple(pieces), classes=1, test=1, mirror=Source(mirror) if mirror else None)


def images_from(*urls, **options):
    sources = tuple(Source(url, {"dtd/images": "images"}, **options) for url in urls)
    return Piece(("images",), sources)


def test_images_and_split_arrive_and_nothing_else(server, tmp_path):
    split = b'{"train": [], "val": [], "test": []}'
    server.files = {"dtd.tar.gz": tar(DTD), "split.json": split}
    piece = Piece(
        ("split_zhou_DescribableTextures.json",),
        (Source(server.url("split.json"), sha256=hashlib.sha256(split).hexdigest()),),
    )
    made = recipe(images_from(server.url("dtd.tar.gz")), piece)
    assert download("DTD", tmp_path / "data/dtd", made)
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {
        "data/dtd/images/banded/banded_0002.jpg",
        "data/dtd/split_zhou_DescribableTextures.json",
    }
    assert (tmp_path / "data/dtd/images/banded/banded_0002.jpg").read_bytes() == b"picture" * 1000
    assert (tmp_path / "data/dtd/split_zhou_DescribableTextures.json").read_bytes() == split
    server.asked.clear()
    assert download("DTD", tmp_path / "data/dtd", made)
    assert server.asked == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_kinds_of_tar(server, tmp_path, mode):
    server.files["dtd.tar"] = tar(DTD, mode)
    assert download("DTD", tmp_path, recipe(images_from(server.url("dtd.tar"))), 0)


def test_archive_in_an_archive(server, tmp_path):
    server.files["outer.zip"] = zipped({"dtd-1/inner.tar.gz": tar(DTD)})
    piece = images_from(server.url("outer.zip"), inner="dtd-1/inner.tar.gz")
    assert download("DTD", tmp_path, recipe(piece), 0)
    assert (tmp_path / "images/banded/banded_0002.jpg").is_file()


def test_broken_connections_are_resumed(server, tmp_path):
    server.files["dtd.tar.gz"] = content = tar({"dtd/images/a.jpg": bytes(range(256)) * 4000}, "w")
    server.breaks["dtd.tar.gz"] = 3
    assert download("DTD", tmp_path, recipe(images_from(server.url("dtd.tar.gz"))), 0)
    starts = [int(asked[6:-1]) if asked else 0 for _, asked in server.asked]
    assert len(starts) == 4
    assert starts == sorted(set(starts))
    assert starts[1] == len(content) // 2


def test_an_interrupted_download_goes_on_in_the_next_run(server, tmp_path):
    server.files["dtd.tar.gz"] = tar(DTD, "w")
    server.breaks["dtd.tar.gz"] = ATTEMPTS
    made = recipe(images_from(server.url("dtd.tar.gz")))
    assert not download("DTD", tmp_path, made, 0)
    assert not (tmp_path / "images").exists()
    server.asked.clear()
    assert download("DTD", tmp_path, made, 0)
    assert len(server.asked) == 1
    assert server.asked[0][1] not in ("", "bytes=0-")


@pytest.mark.parametrize("more", [b"", b"more"])
def test_a_download_killed_when_all_had_come_is_not_fetched_again(server, tmp_path, more):
    server.files["a.bin"] = content = b"content" * 1000
    server.breaks["a.bin"] = ATTEMPTS
    source = Source(server.url("a.bin"), sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(DownloadError):
        fetch(source, tmp_path, 0)
    next(tmp_path.glob("*.part")).write_bytes(content + more)
    server.asked.clear()
    server.sent = server.breaks["a.bin"] = 0
    assert fetch(source, tmp_path, 0).read_bytes() == content
    assert server.sent == (len(content) if more else 0)


def test_parts_of_two_versions_are_not_put_together(server, tmp_path):
    server.files["a.bin"] = b"old" * 1000
    server.breaks["a.bin"] = ATTEMPTS
    source = Source(server.url("a.bin"))
    with pytest.raises(DownloadError, match="broke off"):
        fetch(source, tmp_path, 0)
    server.files["a.bin"] = b"new" * 2000
    assert fetch(source, tmp_path, 0).read_bytes() == b"new" * 2000


def test_a_checksum_stated_by_the_hub_is_compared(server, tmp_path, monkeypatch, capsys):
    server.files |= {"a.bin": b"", "cdn/a.bin": b"content"}
    source = Source(server.url("a.bin"), no_sum=STATED)
    server.stated["a.bin"] = "0" * 64
    with pytest.raises(DownloadError, match=f"wrong checksum: expected {'0' * 64}"):
        fetch(source, tmp_path, 0)
    server.stated["a.bin"] = hashlib.sha256(b"content").hexdigest()
    assert fetch(source, tmp_path / "", 0).read_bytes() == b"content"
    assert "not compared" not in capsys.readouterr().out
    monkeypatch.setattr(download_module, "HUB", server.url(""))
    with pytest.raises(DownloadError, match="did not state"):
        fetch(Source(server.url("cdn/a.bin"), no_sum=STATED), tmp_path, 0)


def test_a_source_without_a_known_sum_says_so(server, tmp_path, capsys):
    server.files["a.bin"] = b"content"
    fetch(Source(server.url("a.bin"), no_sum=UNPUBLISHED), tmp_path, 0)
    assert "not compared with a checksum, nobody has published its sum" in capsys.readouterr().out


def refuse_drive(monkeypatch):
    def drive(**_):
        raise RuntimeError("Too many users have viewed or downloaded this file recently")

    monkeypatch.setattr("gdown.download", drive)


def split_piece(content, name="split.json"):
    return file_on_drive(name, "some-id", hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("breaks", [0, 2])
def test_a_split_that_drive_refuses_is_read_out_of_the_mirror_alone(
    server, tmp_path, monkeypatch, breaks
):
    refuse_drive(monkeypatch)
    monkeypatch.setattr("datasets.web.BLOCK", 2**14)
    split = b'{"train": [], "val": [], "test": []}' * 100
    pictures = {f"dtd/images/{i}.jpg": os.urandom(20_000) for i in range(100)}
    server.files["dtd.zip"] = zipped({**pictures, "dtd/split.json": split})
    server.breaks["dtd.zip"] = breaks
    made = recipe(split_piece(split), mirror=server.url("dtd.zip"))
    assert download("DTD", tmp_path / "dtd", made, 0)
    assert (tmp_path / "dtd/split.json").read_bytes() == split
    assert [path.name for path in (tmp_path / "dtd").iterdir()] == ["split.json"]
    assert server.sent < 100_000 < len(server.files["dtd.zip"])


def test_a_mirror_that_gives_no_parts_is_not_fetched_whole_for_a_split(
    server, tmp_path, monkeypatch, capsys
):
    refuse_drive(monkeypatch)
    server.gives_parts = False
    server.files["dtd.zip"] = zipped({"dtd/split.json": b"{}", "dtd/a.jpg": os.urandom(10**7)})
    made = recipe(split_piece(b"{}"), mirror=server.url("dtd.zip"))
    assert not download("DTD", tmp_path / "dtd", made, 0)
    out = capsys.readouterr().out
    assert "the server gives no parts of a file" in out
    assert f"Put split.json into {tmp_path / 'dtd'} by hand" in out
    assert not list(tmp_path.rglob("*.zip*"))


def test_a_split_out_of_the_mirror_is_compared_with_its_sum(server, tmp_path, monkeypatch, capsys):
    refuse_drive(monkeypatch)
    server.files["dtd.zip"] = zipped({**DTD, "dtd/split.json": b"{}"})
    made = recipe(Piece(("images",)), split_piece(b"[]"), mirror=server.url("dtd.zip"))
    assert not download("DTD", tmp_path / "dtd", made, 0)  # here out of the whole archive
    assert (tmp_path / "dtd/images").is_dir()
    assert not (tmp_path / "dtd/split.json").exists()
    assert "split.json has a wrong checksum" in capsys.readouterr().out


def test_a_file_that_changes_between_two_parts_is_noticed(server):
    server.files["a.bin"] = b"old" * 10**6
    with open_remote(server.url("a.bin"), 0) as file:
        server.files["a.bin"] = b"new" * 10**6
        with pytest.raises(DownloadError, match="changed on the server"):
            file.read(10)


def test_remote_file_reads_like_a_local_one(server, monkeypatch):
    monkeypatch.setattr("datasets.web.BLOCK", 100)
    server.files["a.bin"] = content = os.urandom(1000)
    local = io.BytesIO(content)
    with open_remote(server.url("a.bin"), 0) as remote:
        for offset, whence, size in (
            (0, 0, 7),
            (-30, 2, 99),
            (500, 0, 450),
            (-20, 1, 5),
            (3, 1, -1),
        ):
            assert remote.seek(offset, whence) == local.seek(offset, whence)
            assert remote.read(size) == local.read(size)
            assert remote.tell() == local.tell()


def test_wrong_checksum_goes_to_the_next_source(server, tmp_path, capsys):
    server.files = {"bad": b"damaged", "good": b"content"}
    good = hashlib.sha256(b"content").hexdigest()
    sources = tuple(Source(server.url(path), sha256=good) for path in ("bad", "good"))
    assert download("DTD", tmp_path, recipe(Piece(("split.json",), sources)), 0)
    assert (tmp_path / "split.json").read_bytes() == b"content"
    assert "wrong checksum" in capsys.readouterr().out


def test_wrong_checksum_everywhere(server, tmp_path):
    server.files["bad"] = b"damaged"
    piece = Piece(("split.json",), (Source(server.url("bad"), sha256="0" * 64),))
    assert not download("DTD", tmp_path, recipe(piece), 0)
    assert not (tmp_path / "split.json").exists()
    assert not list(tmp_path.rglob("*bad*"))


def test_dead_link_web_page_and_dead_server_fall_through_to_the_mirror(server, tmp_path, capsys):
    server.files = {"page.tar.gz": b"<!DOCTYPE html><p>moved", "mirror.zip": zipped(DTD)}
    server.status["busy.tar.gz"] = 503
    dead = [server.url(path) for path in ("gone.tar.gz", "page.tar.gz", "busy.tar.gz")]
    made = recipe(
        images_from(*dead, "http://127.0.0.1:9/dtd.tar.gz"), mirror=server.url("mirror.zip")
    )
    assert download("DTD", tmp_path / "dtd", made, 0)
    out = capsys.readouterr().out
    for expected in ("404 Not Found", "a web page came", "503", "connection failed"):
        assert expected in out
    assert [path for path, _ in server.asked].count("gone.tar.gz") == 1
    assert [path for path, _ in server.asked].count("busy.tar.gz") == ATTEMPTS


def test_mirror_is_fetched_once_for_all_pieces(server, tmp_path):
    server.files["mirror.zip"] = zipped({**DTD, "dtd/split.json": b"{}"})
    made = recipe(Piece(("images",)), Piece(("split.json",)), mirror=server.url("mirror.zip"))
    assert download("DTD", tmp_path / "dtd", made, 0)
    assert len(server.asked) == 1
    assert (tmp_path / "dtd/split.json").read_bytes() == b"{}"


def test_what_is_on_disk_is_not_touched(server, tmp_path):
    server.files["dtd.tar.gz"] = tar({"x/a": b"new", "x/b": b"new"})
    (tmp_path / "a").write_text("mine")
    piece = Piece(("a", "b"), (Source(server.url("dtd.tar.gz"), {"x/a": "a", "x/b": "b"}),))
    assert download("X", tmp_path, recipe(piece), 0)
    assert (tmp_path / "a").read_text() == "mine"
    assert (tmp_path / "b").read_text() == "new"


def test_truncated_archive_is_refused_and_not_kept(server, tmp_path, capsys):
    for name, content in {
        "t.tar.gz": tar(DTD),
        "t.tar": tar(DTD, "w"),
        "t.zip": zipped(DTD),
    }.items():
        server.files[name] = content[: len(content) // 2]
        assert not download("DTD", tmp_path, recipe(images_from(server.url(name))), 0)
        assert not (tmp_path / "images").exists()
        assert re.search("is damaged|does not hold", capsys.readouterr().out)
        assert not list(tmp_path.rglob(f"*{name}"))


def altered(content, position):
    """``content`` with one bit flipped."""
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


MANY = {f"dtd/images/{i}.jpg": bytes(range(256)) * 8 for i in range(4)}
STORED = tar(MANY, "w")
DAMAGED = {
    "gzip's checksum": altered(gzip.compress(STORED), -8),
    "gzip's length": altered(gzip.compress(STORED), -4),
    "gzip's content": altered(gzip.compress(STORED, 0), 5000),
    "gzip without its end": gzip.compress(STORED)[:-8],
    "bzip2": altered(tar(MANY, "w:bz2"), -20),
    "xz": altered(tar(MANY, "w:xz"), -40),
    "header of the second member": altered(STORED, 512 + 2048 + 10),
    "tar cut between two members": STORED[: 512 + 2048],
    "tar cut in a header": STORED[: 512 + 2048 + 100],
    "tar cut in a member": STORED[: 512 + 2048 + 512 + 100],
    "zip's content": altered(zipped({"dtd/images/a.jpg": os.urandom(5000)}), 1000),
    "zip cut": zipped(MANY)[:-10],
    # in the table at the end: the picture would not be looked for where it is
    "zip's name": zipped({"dtd/images/a": b"", "dtd/images/b": b""})[::-1].replace(
        b"b/segami/dtd", b"b/segaMi/dtd", 1
    )[::-1],
    "zip with a path twice": zipped({"dtd/images/a": b"", "dtd/images/a/b": b""}),
}


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (32, b"\xff\x01", "list of the archive's members"),
        (46, b"\0", "has no name"),
        (50, b"\0", "half of one"),
        (54, b"/", "The folder 'set/0.tx/' has a content"),
    ],
)
def test_a_damaged_list_of_a_zips_members_is_noticed(place, value, says, tmp_path):
    """A comment's length that makes a member swallow others; a name that a zero
    cuts, or that became a folder's."""
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for index in range(9):
            packed.writestr(f"set/{index}.txt", "x" * 999)
    content = bytearray(archive.read_bytes())
    first = content.index(b"PK\1\2") + place
    content[first : first + len(value)] = value
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match=says):
        unpack(archive, {"set": "set"}, tmp_path / "unpacked")
    assert not list((tmp_path / "unpacked").iterdir())


@pytest.mark.parametrize("damage", DAMAGED)
def test_nothing_of_a_damaged_archive_is_put_in_place(damage, tmp_path):
    archive, into = tmp_path / "archive", tmp_path / "into"
    into.mkdir()
    archive.write_bytes(DAMAGED[damage])
    with pytest.raises(ArchiveError, match=r"archive (is damaged|holds .* twice)"):
        unpack(archive, {"dtd/images": "images"}, into)
    assert list(into.iterdir()) == []


def test_an_archive_padded_with_zeros_is_whole(tmp_path):
    for name, content in (("a.tar", STORED + bytes(10_240)), ("a.gz", gzip.compress(STORED))):
        (tmp_path / name).write_bytes(content + bytes(512))
        unpack(tmp_path / name, {"dtd/images": name + "-images"}, tmp_path)
        assert len(list((tmp_path / f"{name}-images").iterdir())) == 4


def test_zeros_without_end_behind_a_tar_are_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FREE_GROWTH", 2**20)
    archive = tmp_path / "bomb"
    archive.write_bytes(gzip.compress(tar(DTD, "w") + bytes(2**23)))
    with pytest.raises(ArchiveError, match="more than 20 times its size"):
        unpack(archive, {"dtd/images": "images"}, tmp_path)


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


EVIL = {
    "absolute": tar({"/tmp/evil.jpg": b"x"}),
    "above": tar({"dtd/images/../../../evil.jpg": b"x"}),
    "above_elsewhere": tar({**DTD, "../evil.jpg": b"x"}),
    "symbolic link": tar({"l": link("dtd/images/l", "/etc"), "dtd/images/l/passwd": b"x"}),
    "hard link": tar({"l": link("dtd/images/l", "../../evil.jpg", tarfile.LNKTYPE)}),
    "device": tar({"d": link("dtd/images/null", "", tarfile.CHRTYPE)}),
    "pipe": tar({"d": link("dtd/images/pipe", "", tarfile.FIFOTYPE)}),
    "zip absolute": zipped({"/tmp/evil.jpg": b"x"}),
    "zip above": zipped({"dtd/images/../../../evil.jpg": b"x"}),
    "drive": tar({"C:/evil.jpg": b"x"}),
    "zip backslash": zipped({"dtd\\..\\..\\evil.jpg": b"x"}),
}


def zip_with_link():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        member = zipfile.ZipInfo("dtd/images/l")
        member.external_attr = 0o120777 << 16
        packed.writestr(member, "/etc/passwd")
    return buffer.getvalue()


@pytest.mark.parametrize("name", [*EVIL, "zip link"])
def test_malicious_archive_is_refused(name, tmp_path):
    archive = tmp_path / "inside/evil.bin"
    into = tmp_path / "inside/into"
    into.mkdir(parents=True)
    archive.write_bytes(EVIL.get(name) or zip_with_link())
    with pytest.raises(ArchiveError, match=r"points outside|link or a device"):
        unpack(archive, {"dtd/images": "images"}, into)
    assert not Path("/tmp/evil.jpg").exists()
    assert not list(tmp_path.glob("evil*"))
    assert not [p for p in tmp_path.rglob("*") if p.is_symlink()]


@pytest.mark.parametrize("pack", [tar, zipped])
def test_bomb_is_refused(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FREE_GROWTH", 2**20)
    archive = tmp_path / "bomb"
    archive.write_bytes(pack({"dtd/images/a.jpg": bytes(4 * 2**20)}))
    with pytest.raises(ArchiveError, match="more than 20 times its size"):
        unpack(archive, {"dtd/images": "images"}, tmp_path)
    assert list(tmp_path.iterdir()) == [archive]


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    archive = tmp_path / "many"
    archive.write_bytes(tar({f"dtd/images/{i}": b"" for i in range(6)}))
    with pytest.raises(ArchiveError, match="more than 5 members"):
        unpack(archive, {"dtd/images": "images"}, tmp_path)


def test_archive_of_something_else(tmp_path):
    archive = tmp_path / "other"
    archive.write_bytes(tar({"other/a.jpg": b"x"}))
    with pytest.raises(ArchiveError, match="does not hold dtd/images"):
        unpack(archive, {"dtd/images": "images"}, tmp_path)


def test_google_drive_goes_through_gdown(tmp_path, monkeypatch):
    import gdown

    asked = []

    def drive(id, output, resume):
        asked.append((id, resume))
        Path(output).write_bytes(b"{}")
        return output

    monkeypatch.setattr(gdown, "download", drive)
    piece = Piece(("split.json",), (Source(DRIVE + "some-id"),))
    assert download("DTD", tmp_path, recipe(piece), 0)
    assert asked == [("some-id", True)]
    assert (tmp_path / "split.json").read_bytes() == b"{}"


def test_google_drive_that_refuses(tmp_path, monkeypatch, capsys):
    import gdown

    def drive(**_):
        raise RuntimeError("Too many users have viewed or downloaded this file recently")

    monkeypatch.setattr(gdown, "download", drive)
    piece = Piece(("split.json",), (Source(DRIVE + "some-id"),))
    assert not download("DTD", tmp_path, recipe(piece), 0)
    out = capsys.readouterr().out
    assert "Too many users" in out
    assert "https://drive.google.com/uc?id=some-id" in out


def test_class_names_come_with_this_package_where_drive_refuses(tmp_path, monkeypatch):
    refuse_drive(monkeypatch)
    assert download("ImageNet", tmp_path, recipe(imagenet_class_names()), 0)
    names = read_class_names(str(tmp_path))
    assert len(names) == 1000
    assert next(iter(names.items())) == ("n01440764", "tench")


VAL_NAMES = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 6)]
VAL_SYNSETS = ["n02", "n01", "n02", "n03", "n01"]


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """The folder of a data set with ImageNet's three archives in miniature."""
    folder = tmp_path / "imagenet"
    data = tmp_path / "made/ILSVRC2012_devkit_t12/data"
    data.mkdir(parents=True)
    folder.mkdir()
    rows = np.array(
        [(3, "n03"), (1, "n01"), (2, "n02"), (4, "n00")],
        dtype=[("ILSVRC2012_ID", object), ("WNID", object)],
    )
    savemat(data / "meta.mat", {"synsets": rows})
    numbers = "".join(f"{int(synset[1:])}\n" for synset in VAL_SYNSETS)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(numbers)
    with tarfile.open(folder / f"{ilsvrc.DEVKIT}.tar.gz", "w:gz") as packed:
        packed.add(data, f"{ilsvrc.DEVKIT}/data")
    of_class = {f"{name}.tar": tar({f"{name}_1.JPEG": b"picture"}, "w") for name in ("n01", "n02")}
    (folder / ilsvrc.TRAIN).write_bytes(tar(of_class, "w"))
    (folder / ilsvrc.VAL).write_bytes(tar({name: name.encode() for name in VAL_NAMES}, "w"))
    sums = {path.name: file_digest(path, "md5") for path in folder.iterdir()}
    monkeypatch.setattr(ilsvrc, "MD5", sums)
    return folder


BY_HAND = recipe(ilsvrc.TrainImages(), ilsvrc.ValImages())
SORTED = {f"{synset}/{name}" for synset, name in zip(VAL_SYNSETS, VAL_NAMES, strict=True)}


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_imagenets_archives_are_unpacked_and_val_is_sorted(imagenet):
    assert download("ImageNet", imagenet, BY_HAND)
    assert files_in(imagenet / "images/train") == {"n01/n01_1.JPEG", "n02/n02_1.JPEG"}
    assert files_in(imagenet / "images/val") == SORTED
    assert not (imagenet / ".download").exists()


def test_imagenets_flat_val_is_sorted_in_place_and_goes_on(imagenet):
    (imagenet / ilsvrc.VAL).unlink()
    (imagenet / "images/val/n02").mkdir(parents=True)
    for place, name in zip(("n02/", "", "", "", ""), VAL_NAMES, strict=True):
        (imagenet / "images/val" / (place + name)).touch()
    assert download("ImageNet", imagenet, BY_HAND)
    assert files_in(imagenet / "images/val") == SORTED


@pytest.mark.parametrize("damaged", ["train", "val"])
def test_imagenets_archive_with_a_wrong_sum_is_not_unpacked(imagenet, damaged, capsys):
    archive = imagenet / f"ILSVRC2012_img_{damaged}.tar"
    archive.write_bytes(altered(archive.read_bytes(), 600))
    assert not download("ImageNet", imagenet, BY_HAND)
    assert f"{archive} has a wrong checksum: expected the md5" in capsys.readouterr().out
    assert not (imagenet / "images" / damaged).exists()


def test_by_hand(tmp_path, capsys):
    piece = Piece(("images/train",), by_hand="Register first.")
    assert not download("ImageNet", tmp_path, recipe(piece))
    assert f"images/train: to be fetched by hand into {tmp_path}. Register first." in (
        capsys.readouterr().out
    )


def test_second_download_into_the_same_folder_is_refused(server, tmp_path):
    server.files["dtd.tar.gz"] = tar(DTD)
    work = tmp_path / ".download"
    work.mkdir()
    with (
        download_module._lock(work),
        pytest.raises(InputError, match=r"another download into .* is running"),
    ):
        download("DTD", tmp_path, recipe(images_from(server.url("dtd.tar.gz"))), 0)


def test_what_killed_downloads_left_is_removed_unless_it_serves(server, tmp_path):
    server.files = {"a.bin": b"content" * 1000}
    server.breaks["a.bin"] = ATTEMPTS
    made = recipe(Piece(("a.txt",), (Source(server.url("a.bin")),)))
    assert not download("X", tmp_path, made, 0)
    work = tmp_path / ".download"
    (part,) = work.glob("*.part")
    for name in ("tmpabc123/images/half.jpg", "12345678-other.zip", "12345678-b.part"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(b"left")
    size = part.stat().st_size
    server.breaks["a.bin"] = ATTEMPTS
    server.asked.clear()
    assert not download("X", tmp_path, made, 0)
    assert server.asked[0] == ("a.bin", f"bytes={size}-")
    assert {path.name for path in work.iterdir()} - {"lock"} == {part.name, f"{part.name}.version"}
    (work / f"{part.name}.version").unlink()
    server.status["a.bin"] = 404
    assert not download("X", tmp_path, made, 0)
    assert not work.exists()


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_with_file_and_room(server, tmp_path, monkeypatch, capsys):
    server.files["dtd.tar.gz"] = tar(DTD)
    made = recipe(images_from(server.url("dtd.tar.gz")))
    monkeypatch.setattr(DescribableTextures, "recipe", made)
    usage = shutil.disk_usage(tmp_path)._replace(free=50)
    monkeypatch.setattr("datasets.disk.shutil.disk_usage", lambda _: usage)
    assert main(["dtd", "--root", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert re.search(r"No room for .*dtd\.tar\.gz.*: it takes 0\.0 MB, and 0\.0 MB are free", err)
    assert len(err.splitlines()) == 1
    usage = usage._replace(free=10**9)
    monkeypatch.setattr("datasets.web.tqdm", full_disk)
    assert main(["dtd", "--root", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert re.search(
        r"dtd\.tar\.gz\.part cannot be written, the disk is full .*1\.0 GB are free", err
    )


def open_on_full_disk(path, mode="r"):
    return full_disk() if "x" in mode else open(path, mode)


def test_a_disk_that_fills_up_while_unpacking(tmp_path, monkeypatch):
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar(DTD, "w"))
    monkeypatch.setattr(archives, "open", open_on_full_disk, raising=False)
    with pytest.raises(InputError, match=r"banded_0002\.jpg cannot be written, the disk is full"):
        unpack(archive, {"dtd/images": "images"}, tmp_path)
    assert list(tmp_path.iterdir()) == [archive]


def test_ctrl_c_prints_no_traceback_and_the_same_command_goes_on(
    server, tmp_path, monkeypatch, capsys
):
    content = tar(DTD, "w") * 40
    server.files["dtd.tar.gz"] = content
    monkeypatch.setattr(
        DescribableTextures, "recipe", recipe(images_from(server.url("dtd.tar.gz")))
    )

    class Bar(tqdm):
        def update(self, n=1):
            raise KeyboardInterrupt

    monkeypatch.setattr("datasets.web.tqdm", Bar)
    assert main(["dtd", "--root", str(tmp_path)]) == 130
    assert "Stopped. The same command goes on" in capsys.readouterr().err
    monkeypatch.setattr("datasets.web.tqdm", tqdm)
    server.asked.clear()
    assert main(["dtd", "--root", str(tmp_path)]) == 0
    assert re.fullmatch(r"bytes=[1-9]\d*-", server.asked[0][1])


def test_the_lock_does_not_need_fcntl_which_windows_lacks(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with download_module._lock(tmp_path):
        assert (tmp_path / "lock").exists()


def test_command_says_what_is_wrong(tmp_path, capsys):
    assert main(["imagenette", "--root", str(tmp_path)]) == 2
    assert "Did you mean imagenet" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["dtd", "caltech101", "--root", str(tmp_path / "file")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" into")[0] for line in lines] == [
        "error: DescribableTextures: cannot write",
        "error: Caltech101: cannot write",
    ]


def test_recipes_are_whole():
    for name, dataset in catalogue().items():
        recipe = dataset.recipe
        for piece in recipe.pieces:
            assert piece.provides
            assert piece.sources or piece.by_hand
            assert set(piece.sums) <= set(piece.provides)
            for source in piece.sources:
                assert re.match(r"https://|gdrive:[\w-]{20,}|shipped:", source.url), name
                assert set(source.take.values()) in (set(), set(piece.provides))
        if dataset.split_file:
            assert dataset.split_file in recipe.sums
        assert (recipe.mirror is None) == (name == "ImageNet")
        sources = [source for piece in recipe.pieces for source in piece.sources]
        for source in [*sources, *filter(None, [recipe.mirror])]:
            assert bool(source.sha256) != bool(source.no_sum), source
            assert re.fullmatch("([0-9a-f]{64})?", source.sha256)
            assert source.no_sum != STATED or source.url.startswith(HUB)
        assert not recipe.mirror or re.search("/resolve/[0-9a-f]{40}/", recipe.mirror.url)


def test_dead_addresses_are_gone():
    urls = {
        source.url
        for dataset in catalogue().values()
        for piece in dataset.recipe.pieces
        for source in piece.sources
    }
    for dead in ("s3-us-west-2", "princeton", "ai.stanford.edu", "madm.dfki", "vision.caltech"):
        assert not [url for url in urls if dead in url]

"""`python -m datasets.download` against a server on this machine that can be made to misbehave."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from datasets import archives
from datasets import download as download_module
from datasets.archives import ArchiveError, unpack
from datasets.catalogue import catalogue
from datasets.download import DownloadError, download, fetch, main
from datasets.recipe import DRIVE, MIRROR, Piece, Recipe, Source


class Server(ThreadingHTTPServer):
    """Serves ``files``; the first ``breaks[path]`` answers for a path stop half-way."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks, self.asked, self.status = {}, {}, [], {}

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
        content = self.server.files[path]
        tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        start = 0
        if asked and self.headers.get("If-Range") == tag:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        content = content[start:]
        if self.server.breaks.get(path, 0) > 0:
            self.server.breaks[path] -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
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
    return Recipe(tuple(pieces), classes=1, test=1, mirror=mirror)


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
    server.breaks["dtd.tar.gz"] = download_module.ATTEMPTS
    made = recipe(images_from(server.url("dtd.tar.gz")))
    assert not download("DTD", tmp_path, made, 0)
    assert not (tmp_path / "images").exists()
    server.asked.clear()
    assert download("DTD", tmp_path, made, 0)
    assert len(server.asked) == 1
    assert server.asked[0][1] not in ("", "bytes=0-")


def test_parts_of_two_versions_are_not_put_together(server, tmp_path):
    server.files["a.bin"] = b"old" * 1000
    server.breaks["a.bin"] = download_module.ATTEMPTS
    source = Source(server.url("a.bin"))
    with pytest.raises(DownloadError, match="broke off"):
        fetch(source, tmp_path, 0)
    server.files["a.bin"] = b"new" * 2000
    assert fetch(source, tmp_path, 0).read_bytes() == b"new" * 2000


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
    assert not [p for p in tmp_path.rglob("*bad*") if p.is_file() and p.suffix != ".version"]


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
    assert [path for path, _ in server.asked].count("busy.tar.gz") == download_module.ATTEMPTS


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
    assert sum(p.stat().st_size for p in (tmp_path / "images").rglob("*")) <= 2**20 + 2**18


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
        pytest.raises(OSError, match="another download into it is running"),
    ):
        download("DTD", tmp_path, recipe(images_from(server.url("dtd.tar.gz"))), 0)


def test_command_says_what_is_wrong(tmp_path, capsys):
    assert main(["imagenette", "--root", str(tmp_path)]) == 2
    assert "Did you mean imagenet" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["dtd", "--root", str(tmp_path / "file")]) == 1
    assert "cannot write into" in capsys.readouterr().out


def test_recipes_are_whole():
    for name, dataset in catalogue().items():
        for piece in dataset.recipe.pieces:
            assert piece.provides
            assert piece.sources or piece.by_hand
            for source in piece.sources:
                assert re.match(r"https?://|gdrive:[\w-]{20,}", source.url), name
                assert set(source.take.values()) in (set(), set(piece.provides))
        if dataset.split_file:
            assert any(dataset.split_file in piece.provides for piece in dataset.recipe.pieces)
        assert (dataset.recipe.mirror.startswith(MIRROR)) == (name != "ImageNet")

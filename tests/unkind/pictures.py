"""Pictures that are damaged, of rare kinds, or none; and archives of pictures."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import os
import socket
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from dassl.utils import read_image
from PIL import Image

from datasets.download import download
from datasets.pictures import SIXTEEN_BITS, TOO_LARGE, flaw_of
from datasets.recipe import Piece, Recipe, Source

from .mutations import of_bytes, truncate
from .readers import Impossible, Reader, quiet
from .world import World

SIDE = 24


def _noise(high: int = 256, channels: int = 3, kind: type = np.uint8) -> np.ndarray:
    shape = (SIDE, SIDE, channels) if channels > 1 else (SIDE, SIDE)
    return np.random.default_rng(0).integers(0, high, shape).astype(kind)


def _encoded(pixels: np.ndarray, form: str, mode: str | None = None, **how: Any) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, form, **how)
    return file.getvalue()


def ordinary() -> dict[str, bytes]:
    """Pictures of usual kinds, 8 bits a channel, by a file name."""
    colours, grey = _noise(), _noise(channels=1)
    return {
        "baseline.jpg": _encoded(colours, "JPEG"),
        "progressive.jpg": _encoded(colours, "JPEG", progressive=True),
        "grey.jpg": _encoded(grey, "JPEG"),
        "cmyk.jpg": _encoded(colours, "JPEG", "CMYK"),
        "rgb.png": _encoded(colours, "PNG"),
        "alpha.png": _encoded(_noise(channels=4), "PNG"),
        "palette.png": _encoded(colours, "PNG", "P"),
        "bits.png": _encoded(grey, "PNG", "1"),
        "lossy.webp": _encoded(colours, "WEBP"),
        "lossless.webp": _encoded(colours, "WEBP", lossless=True),
        "plain.bmp": _encoded(colours, "BMP"),
        "plain.gif": _encoded(colours, "GIF"),
        "plain.ppm": _encoded(colours, "PPM"),
        "plain.tif": _encoded(colours, "TIFF"),
        "deflated.tif": _encoded(colours, "TIFF", compression="tiff_adobe_deflate"),
    }


def deep() -> dict[str, tuple[bytes, np.ndarray | None]]:
    """Pictures with more than 8 bits a value, and what they are in 8; None: no range is known."""
    wide = _noise(2**16, 1, np.uint16)
    numbers = wide.astype(np.float32)
    return {
        "16.png": (_encoded(wide, "PNG"), wide),
        "16.tif": (_encoded(wide, "TIFF"), wide),
        "16.pgm": (b"P5 %d %d 65535\n" % (SIDE, SIDE) + wide.astype(">u2").tobytes(), wide),
        "32.tif": (_encoded(wide.astype(np.int32) * 1000, "TIFF"), None),
        "float.tif": (_encoded(numbers, "TIFF"), None),
    }


POSTSCRIPT = (
    b"%%!PS-Adobe-3.0 EPSF-3.0\n%%%%BoundingBox: 0 0 24 24\n%%%%EndComments\n"
    b"(%s) (w) file closefile\nshowpage\n"
)


@dataclass
class Pictures(Reader):
    """A picture through read_image, and through datasets.check, which must agree."""

    name: str = "images"
    limit: float = 15.0
    refusals: tuple[type[Exception], ...] = (OSError, *Reader.refusals)
    """The message of an OSError counts as clear: the toolbox's interface says that it raises one."""

    def prepare(self, world: World, folder: Path) -> None:
        self.ordinary, self.deep = ordinary(), deep()
        # a Ghostscript that tells of it: Pillow starts the one that it finds
        tools = folder / "tools"
        tools.mkdir()
        (tools / "gs").write_text(f"#!/bin/sh\ntouch {self.marker}\nexit 1\n")
        (tools / "gs").chmod(0o755)
        os.environ["PATH"] = f"{tools}{os.pathsep}{os.environ['PATH']}"
        self.pixels = {}
        for name, content in self.ordinary.items():
            with Image.open(io.BytesIO(content)) as image:
                self.pixels[name] = np.asarray(image.convert("RGB"))

    def damage(self, random: Random, folder: Path) -> Path:
        self.must_refuse, self.scaled, self.truncated = "", None, False
        how = random.choice(("bytes", "bytes", "truncated", "deep", "strange", "special"))
        if how in ("bytes", "truncated"):
            name = random.choice(list(self.ordinary))
            self.truncated = how == "truncated"
            change = truncate if self.truncated else of_bytes
            path = folder / name
            path.write_bytes(change(random, self.ordinary[name]))
            return path
        if how == "deep":
            name = random.choice(list(self.deep))
            content, self.scaled = self.deep[name]
            path = folder / name
            path.write_bytes(content)
            if self.scaled is None:
                self.must_refuse = "its values have no known range"
            return path
        path = folder / f"picture.{random.choice(('jpg', 'png', 'gif', 'webp', 'tif'))}"
        if how == "strange":
            self.must_refuse, content = random.choice(self.strange())
            path.write_bytes(content)
        else:
            self.must_refuse = random.choice(list(SPECIAL))
            SPECIAL[self.must_refuse](path)
        return path

    def strange(self) -> list[tuple[str, bytes]]:
        """Contents that are no pictures, or that cost more than a picture may; and why."""
        header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
        bomb += struct.pack(">I", zlib.crc32(header))
        zeros = zlib.compress(bytes(10**6), 9)
        bomb += struct.pack(">I", len(zeros)) + b"IDAT" + zeros
        bomb += struct.pack(">I", zlib.crc32(b"IDAT" + zeros))
        return [
            ("it is empty", b""),
            ("it is text", b"a picture\n"),
            ("it is a web page", b"<!DOCTYPE html><html><body>404</body></html>"),
            ("it is a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\nsize 9\n"),
            ("it is an archive", _zip({"a": b"b"})),
            ("it is a film", b"\0\0\0\x18ftypmp42" + bytes(200)),
            ("it is an SVG", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
            ("it is a PDF", b"%PDF-1.4\n%\xe2\xe3\n" + bytes(100)),
            ("it is 60000 pixels wide and high", bomb),
            ("it is PostScript, a program", POSTSCRIPT % str(self.marker).encode()),
        ]

    def read(self, path: Path) -> Any:
        flaw = flaw_of(str(path))
        unreadable = flaw not in ("", SIXTEEN_BITS)
        try:
            image = read_image(str(path))
        except self.refusals:
            if not unreadable:
                self.must_refuse = "read_image refuses it, and datasets.check does not"
                return None
            raise
        if unreadable and flaw != TOO_LARGE:  # which costs memory, and can be read
            raise Impossible("datasets.check refuses it, and read_image does not")
        if image.mode != "RGB":
            raise Impossible(f"it came as {image.mode}")
        return np.asarray(image)

    def intact(self, path: Path) -> Any:
        return self.pixels.get(path.name, ())

    def expected(self, path: Path, value: Any) -> Any:
        if self.must_refuse:
            raise Impossible(self.must_refuse)
        if self.truncated:
            raise Impossible("it is truncated")
        if self.scaled is not None:
            differences = np.abs(value.astype(float) - self.scaled[..., None] / 257)
            if differences.max() > 1:
                raise Impossible("it has 16 bits, and these are not its values in 8")
        return value  # flipped bits of formats without checksums are other pictures


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


SPECIAL: Mapping[str, Callable[[Path], None]] = {
    "it is a named pipe": _fifo,
    "it is a socket": _socket,
    "it is a folder": Path.mkdir,
    "it is a device": lambda path: path.symlink_to("/dev/zero"),
    "it is a link to nothing": lambda path: path.symlink_to("nothing"),
    "it is a link to itself": lambda path: path.symlink_to(path.name),
    "it may not be there": lambda path: None,
}


def _zip(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _tar(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(file.getvalue(), mtime=0)


class _Archives(http.server.ThreadingHTTPServer):
    """Serves one content at a time on localhost, whatever is asked for."""

    content = b""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Archives(Reader):
    """Archives on a server of one's own, fetched and put in place by datasets.download."""

    name: str = "archives"
    OUTSIDE = (
        "../outside.jpg",
        "/tmp/unkind-outside.jpg",
        "set/../../outside.jpg",
        "set\\..\\x.jpg",
    )

    def prepare(self, world: World, folder: Path) -> None:
        random = np.random.default_rng(1)
        self.files = {f"{n}/{i}.jpg": random.bytes(3000) for n in ("ant", "bee") for i in range(3)}
        members = {f"set/images/{name}": content for name, content in self.files.items()}
        members["set/readme.txt"] = b"left alone\n" * 30
        self.members = members
        self.contents = {"set.zip": _zip(members), "set.tar.gz": _tar(members)}
        self.server = _Archives()

    def damage(self, random: Random, folder: Path) -> Path:
        name = random.choice(list(self.contents))
        self.whole = False
        if random.random() < 0.75:
            self.server.content = of_bytes(random, self.contents[name])
        else:
            self.server.content = self._hostile(random, name)
        place = folder / name
        place.write_bytes(self.server.content)
        return place

    def _hostile(self, random: Random, name: str) -> bytes:
        pack = _zip if name.endswith(".zip") else _tar
        how = random.choice(("outside", "outside", "bomb", "link", "lost", "none"))
        if how == "outside":
            return pack({**self.members, random.choice(self.OUTSIDE): b"outside"})
        if how == "bomb":
            return pack({**self.members, "set/images/ant/bomb.jpg": bytes(600 * 2**20)})
        if how == "link" and pack is _tar:
            link = tarfile.TarInfo("set/images/ant")
            link.type, link.linkname = random.choice((tarfile.SYMTYPE, tarfile.LNKTYPE)), "/etc"
            return pack({"set/images/ant": link, **self.members})
        return pack({"set/other/x.jpg": b"x"} if how == "lost" else {})

    def read(self, path: Path) -> Any:
        root = path.parent / "root" / "set"
        root.parent.mkdir()
        url = f"http://127.0.0.1:{self.server.server_address[1]}/{path.name}"
        source = Source(
            url, take={"set/images": "images"}, no_sum="the archive's own sums are tried"
        )
        recipe = Recipe((Piece(("images",), (source,)),), classes=2, train=4, test=2)
        with quiet() as shown:
            complete = download("Set", root, recipe, pause=0.0)
        if any(path.parent.rglob("*outside*")) or Path("/tmp/unkind-outside.jpg").exists():
            return "a file outside of the folder"
        there = root / "images"
        if not complete:
            if there.exists():
                return "it failed, and what came is in place"
            raise _Failed(shown.getvalue().strip().splitlines()[-1])
        return {
            str(p.relative_to(there)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in there.rglob("*")
            if p.is_file()
        }

    refusals: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        self.refusals = (_Failed,)

    def is_named(self, message: str, path: Path) -> bool:
        return "failed" in message and "images" in message

    def intact(self, path: Path) -> Any:
        return {name: hashlib.sha256(c).hexdigest() for name, c in self.files.items()}

    def expected(self, path: Path, value: Any) -> Any:
        raise Impossible("its members are not what was packed")


class _Failed(Exception):
    """download said that it failed; the last line that it printed."""

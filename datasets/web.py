"""Files over HTTP: whole ones, resumed where they broke off, and parts of one read from afar."""

from __future__ import annotations

import io
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from .disk import require_room, writing

ATTEMPTS = 5
TIMEOUT = 60
"""Seconds without a byte after which a connection counts as broken."""
BLOCK = 2**20
"""Bytes that one request for a part of a file asks for at least."""
Result = TypeVar("Result")


class DownloadError(Exception):
    """A source did not give what was wanted."""


def fetch_file(url: str, part: Path, pause: float) -> str:
    """Fetch ``url`` into ``part``, going on where it ends if the server still has the same file.

    Returns the sha256 that the server states for it (the Hub does, in the header X-Linked-ETag of
    its first answer), or "".

    Raises:
        DownloadError: the server refuses, or the connection keeps breaking.
        InputError: the disk is full.
    """
    return _persistently(lambda: _receive(url, part), pause)


def _persistently(action: Callable[[], Result], pause: float) -> Result:
    """The result of ``action``, tried again while the failure may pass."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            return action()
        except urllib.error.HTTPError as error:
            reason = f"the server says {error.code} {error.reason}"
            if 400 <= error.code < 500 and error.code not in (408, 429):
                break
        except (HTTPException, OSError) as error:
            if isinstance(error, OSError) and error.filename:
                raise  # a file on this machine, not the connection
            reason = f"the connection failed ({getattr(error, 'reason', error)})"
    raise DownloadError(reason)


class _NotingRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects and keeps the headers of the answers that led on."""

    def __init__(self) -> None:
        self.headers: list[HTTPMessage] = []

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        self.headers.append(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, headers: dict[str, str]) -> tuple[HTTPResponse, str]:
    """The answer for ``url``, also one that the part asked for does not exist (416), and the
    sha256 that it or a redirect before it states ("": none)."""
    redirects = _NotingRedirects()
    request = urllib.request.Request(
        url, headers={"User-Agent": "python-datasets-download", **headers}
    )
    try:
        response = urllib.request.build_opener(redirects).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        response = error
    for answer in (*redirects.headers, response.headers):
        stated = answer.get("X-Linked-ETag", "").strip('"').lower()
        if re.fullmatch("[0-9a-f]{64}", stated):
            return response, stated
    return response, ""


def _receive(url: str, part: Path) -> str:
    """One attempt.  The server's mark of the file's version (ETag or Last-Modified) is kept beside
    the part, so that parts of two versions are never put together."""
    version = part.with_name(part.name + ".version")
    headers = {}
    if part.exists() and version.exists():
        headers = {"Range": f"bytes={part.stat().st_size}-", "If-Range": version.read_text()}
    response, stated = _open(url, headers)
    with response:
        if response.status == 416:
            if response.headers.get("Content-Range") == f"bytes */{part.stat().st_size}":
                return stated  # an earlier run was killed when all had come
            part.unlink()
            raise ConnectionError("the server's file does not go on where ours ends")
        resumed = response.status == 206
        start = part.stat().st_size if resumed else 0
        mark = _version(response)
        with writing(version):
            if mark:
                version.write_text(mark)
            else:
                version.unlink(missing_ok=True)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        if length:
            require_room(part, int(length))
        with (
            writing(part),
            open(part, "ab" if resumed else "wb") as file,
            tqdm(
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                desc=part.stem,
                disable=None,
            ) as bar,
        ):
            while chunk := response.read(2**18):
                file.write(chunk)
                bar.update(len(chunk))
            if total is not None and file.tell() < total:
                raise ConnectionError(f"it broke off after {file.tell()} of {total} bytes")
    return stated


def _version(response: HTTPResponse) -> str:
    """What tells this version of a file from another one: its strong ETag, or when it changed."""
    tag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified", "") if tag.startswith("W/") else tag


class RemoteFile(io.RawIOBase):
    """A file on a server, read in parts by HTTP range: give `open_remote`'s result to zipfile."""

    def __init__(self, url: str, pause: float = 1.0) -> None:
        self._url, self._pause, self._position = url, pause, 0
        self._version, self.size = "", 0
        self._version, self.size, _ = _persistently(lambda: self._ask(0, 1), pause)

    def _ask(self, start: int, stop: int) -> tuple[str, int, bytes]:
        """Version and size of the file, and its bytes from ``start`` to ``stop``."""
        response, _ = _open(self._url, {"Range": f"bytes={start}-{stop - 1}"})
        with response:
            said = response.headers.get("Content-Range", "")
            match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", said)
            if response.status != 206 or not match:
                raise DownloadError("the server gives no parts of a file, only the whole")
            version, size = _version(response), int(match[3])
            if self.size and (version, size) != (self._version, self.size):
                raise DownloadError("the file changed on the server meanwhile; run this again")
            content = response.read(stop - start)
        if int(match[1]) != start or len(content) != min(stop, size) - start:
            raise ConnectionError(f"{len(content)} bytes came of {stop - start}")
        return version, size, content

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} lies before the file's start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        stop = min(self._position + len(buffer), self.size)
        if stop <= self._position:
            return 0
        *_, content = _persistently(lambda: self._ask(self._position, stop), self._pause)
        buffer[: len(content)] = content
        self._position = stop
        return len(content)


def open_remote(url: str, pause: float = 1.0) -> io.BufferedReader:
    """The file at ``url``, open for reading, of which only what is read crosses the network.

    Raises (as reading does):
        DownloadError: the server refuses, gives no parts, or changes the file meanwhile.
    """
    return io.BufferedReader(RemoteFile(url, pause), BLOCK)

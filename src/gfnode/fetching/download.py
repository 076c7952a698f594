"""One file over HTTP: resumed where it was cut off, from the first of several places that serves.

While ``name`` is downloaded, ``name.part`` holds what has come and ``name.part.json`` says of what:
the address, the mark of its version (ETag or date) and its size. A download that is cut off or
killed at any moment goes on from there, if the server still has the same version (``Range`` with
``If-Range``, RFC 9110 sections 13 and 14), and begins again if not. The file gets its name when all
of it has come and :data:`Check` has passed it.
"""

import http.client
import math
import os
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gfnode import __version__
from gfnode.errors import InputError
from gfnode.files import make_folder, read_json, write_json

PIECE = 2**16
"""Bytes that are read at most before they are written and shown."""

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers after which the same address is tried again."""

Check = Callable[[Path], None]
"""Raises :class:`InputError` for a whole file that is not the one wanted."""


class Watcher:
    """What is told of a download; this one tells nobody."""

    def start(self, what: str, done: int, total: int | None) -> None:
        """Bytes of a file come, after ``done`` that were here; of ``total``, if known."""

    def advance(self, count: int) -> None:
        """Bytes have come."""

    def say(self, text: str) -> None:
        """Something did not work, and what is done about it."""


@dataclass(frozen=True)
class Patience:
    """How long a server may take.

    Parameters
    ----------
    silence
        Seconds without an answer, or without a byte, after which it has stalled.
    window, least
        So many bytes must come in so many seconds.
    tries
        How often an address is tried. After some progress this counts afresh, but so many times
        may what has come be lost: a server that serves and spoils in turn has an end.
    pause
        Seconds before the second try; doubled for each further one.
    """

    silence: float = 30.0
    window: float = 60.0
    least: int = 30_000
    tries: int = 3
    pause: float = 1.0


class Failed(Exception):
    """An address gave no file; ``again`` where another try may help."""

    def __init__(self, reason: str, *, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


@dataclass
class _Kept:
    """What has come of a file so far."""

    path: Path
    url: str = ""
    version: str = ""
    total: int | None = None

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @classmethod
    def find(cls, path: Path) -> "_Kept":
        """Read what is known of it; nothing is known of a file whose note cannot be read."""
        kept = cls(path)
        with suppress(InputError):
            found = read_json(kept.note) if kept.note.exists() else {}
            kept.url, kept.version = str(found.get("url", "")), str(found.get("version", ""))
            total = found.get("size")
            kept.total = total if isinstance(total, int) else None
        return kept

    def begin(self, url: str, version: str, total: int | None) -> None:
        """Start anew, with another file or another version of it."""
        self.drop()
        self.url, self.version, self.total = url, version, total
        write_json(self.note, {"url": url, "version": version, "size": total})

    def drop(self) -> None:
        """Forget it. The bytes go first: those without a note are not used."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


@dataclass
class Download:
    """A file to be had from one of several addresses.

    Parameters
    ----------
    urls
        In the order in which they are tried.
    target
        What it is called when it is whole.
    check
        Looks at the whole file before it gets its name.
    size
        In bytes, where it is known for certain.
    limit
        Bytes that it may have at most, whatever the server says.
    begins
        First bytes of a file of this kind.
    watcher, patience
        See there.
    """

    urls: Sequence[str]
    target: Path
    check: Check
    size: int | None = None
    limit: float = math.inf
    begins: bytes = b""
    watcher: Watcher = field(default_factory=Watcher)
    patience: Patience = field(default_factory=Patience)

    def run(self) -> str:
        """Download it, and return the address that it came from.

        Raises
        ------
        ExceptionGroup
            Of one :class:`Failed` for each address, when none gave the file.
        InputError
            When it cannot be written.
        """
        make_folder(self.target.parent)
        kept = _Kept.find(self.target.with_name(f"{self.target.name}.part"))
        urls = sorted(self.urls, key=lambda url: url != kept.url)  # the one that had begun, first
        failures = []
        for place, url in enumerate(urls):
            try:
                self._from(url, kept)
                self._finish(kept)
                return url
            except Failed as failure:
                failures.append(Failed(f"{host(url)}: {failure}"))
                more = place + 1 < len(urls)
                self.watcher.say(f"{host(url)}: {failure}" + ("; trying the next" if more else ""))
            except OSError as error:  # of the disk: those of the network are Failed
                raise InputError(
                    f"{self.target}: cannot be written: {error.strerror or error}; what was "
                    "downloaded is kept, and the same command continues"
                ) from error
        raise ExceptionGroup("no address gave the file", failures)

    def _from(self, url: str, kept: _Kept) -> None:
        """All of it from one address, in several tries."""
        tries, lost, pause = 0, 0, self.patience.pause
        while True:
            before = kept.size if kept.url == url else 0
            try:
                self._once(url, kept)
                return
            except Failed as failure:
                after = kept.size if kept.url == url else 0
                if after > before:
                    tries, pause = 0, self.patience.pause
                tries += 1
                lost += after < before
                if not failure.again or tries >= self.patience.tries:
                    raise
                if lost >= self.patience.tries:
                    raise Failed(
                        f"{failure}; given up after {lost} tries in which what had come was lost"
                    ) from failure
                wait = max(pause, failure.wait)
                self.watcher.say(f"{host(url)}: {failure}; retrying in {wait:g} s")
                time.sleep(wait)
                pause *= 2

    def _once(self, url: str, kept: _Kept) -> None:
        """One request, that goes on where the last one ended."""
        offset = kept.size if kept.url == url and kept.version else 0
        if offset and offset == kept.total:
            return
        headers = {"User-Agent": f"gfnode/{__version__}", "Accept-Encoding": "identity"}
        if offset:
            headers |= {"Range": f"bytes={offset}-", "If-Range": kept.version}
        with self._open(url, headers, kept) as answer:
            if answer is None:  # 416: nothing is left to come
                return
            version, total = _version(answer), _total(answer)
            going_on = answer.status == 206
            if going_on:
                _check_range(answer, offset, kept)
            else:
                self._check_kind(answer, total)
                kept.begin(url, version, total)
            self.watcher.start(f"{self.target.name} from {host(url)}", kept.size, kept.total)
            self._receive(answer, kept)

    def _open(self, url: str, headers: dict[str, str], kept: _Kept) -> Any:
        try:
            request = urllib.request.Request(url, headers=headers)
            return urllib.request.urlopen(request, timeout=self.patience.silence)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and "Range" in headers:
                    whole = _whole(error.headers.get("Content-Range", ""))
                    if whole is not None and whole == kept.size:
                        return nullcontext()
                    kept.drop()
                    raise Failed("has another version of the file", again=True) from error
                reason = str(error.reason or http.client.responses.get(error.code, ""))
                reason = " ".join(reason.split())
                again = error.code in TRANSIENT
                wait = _seconds(error.headers.get("Retry-After", "")) if again else 0.0
                raise Failed(
                    f"HTTP {error.code} {reason}".rstrip(), again=again, wait=wait
                ) from error
        except (http.client.HTTPException, OSError) as error:
            raise _failed(error) from error
        except ValueError as error:
            raise Failed(f"not an address: {error}") from error

    def _check_kind(self, answer: Any, total: int | None) -> None:
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Failed("sends the file in an encoding that was not requested")
        if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise Failed("sends a web page instead of the file")
        if self.size is not None and total is not None and total != self.size:
            raise Failed(f"has a file of {total} bytes, expected {self.size}")
        if total is not None and total > self.limit:
            raise Failed(f"has a file of {total} bytes, expected at most {self.limit:.0f}")

    def _receive(self, answer: Any, kept: _Kept) -> None:
        whole = self.size if kept.total is None else kept.total
        most = self.limit if whole is None else whole
        with kept.path.open("ab") as file:
            done = file.tell()
            began, then = time.monotonic(), done
            while piece := self._read(answer):
                if done < len(self.begins):
                    self._check_begin(kept, done, piece)
                file.write(piece)
                file.flush()
                done += len(piece)
                if done > most:
                    kept.drop()
                    raise Failed(f"sends more than the expected {most:.0f} bytes")
                self.watcher.advance(len(piece))
                if (now := time.monotonic()) - began > self.patience.window:
                    if done - then < self.patience.least:
                        raise Failed("has stalled", again=True)
                    began, then = now, done
        if whole is not None and done < whole:
            raise Failed(f"ends after {done} of {whole} bytes", again=True)

    def _read(self, answer: Any) -> bytes:
        try:
            return bytes(answer.read1(PIECE))
        except (http.client.HTTPException, OSError) as error:
            raise _failed(error) from error

    def _check_begin(self, kept: _Kept, done: int, piece: bytes) -> None:
        expected = self.begins[done : done + len(piece)]
        if piece[: len(expected)] != expected:
            kept.drop()
            raise Failed("sends something other than the file")

    def _finish(self, kept: _Kept) -> None:
        """Look at the whole file, and give it its name."""
        try:
            if self.size is not None and kept.size != self.size:
                raise InputError(f"{kept.path}: has {kept.size} bytes, expected {self.size}")
            self.check(kept.path)
        except InputError as error:
            kept.drop()
            raise Failed(str(error).replace(str(kept.path), self.target.name)) from error
        with kept.path.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(kept.path, self.target)
        kept.drop()


def host(url: str) -> str:
    """Name of the server of an address."""
    return urlsplit(url).netloc or url


def _version(answer: Any) -> str:
    """Mark by which the server knows this version of the file; weak ones do not do."""
    etag = str(answer.headers.get("ETag", ""))
    return etag if etag.startswith('"') else str(answer.headers.get("Last-Modified", ""))


def _total(answer: Any) -> int | None:
    return _number(answer.headers.get("Content-Length", ""))


def _check_range(answer: Any, offset: int, kept: _Kept) -> None:
    """The server goes on at the right byte of the same file, or it begins again."""
    said = answer.headers.get("Content-Range", "")
    match = re.fullmatch(rf"bytes ({_NUMBER})-{_NUMBER}/({_NUMBER}|\*)", said.strip())
    whole = _whole(said)
    if match is None or int(match[1]) != offset or (whole is not None and whole != kept.total):
        kept.drop()
        raise Failed(
            f"sends another part of the file ({said or 'it does not say which'})", again=True
        )


def _whole(content_range: str) -> int | None:
    return _number(content_range.rsplit("/", 1)[-1])


def _seconds(retry_after: str) -> float:
    return min(60.0, float(_number(retry_after) or 0))


_NUMBER = "[0-9]{1,18}"  # servers may send anything: other digits, or thousands of them


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(_NUMBER, text := text.strip()) else None


def _failed(error: Exception) -> Failed:
    """What went wrong with the network, in words; another try helps against most of it."""
    inner = getattr(error, "reason", error)
    if isinstance(inner, TimeoutError):
        return Failed("has stalled", again=True)
    if isinstance(inner, socket.gaierror):
        return Failed("no such server, or no network")
    if isinstance(inner, ConnectionRefusedError):
        return Failed("refuses the connection")
    if isinstance(inner, OSError):
        return Failed(str(inner.strerror or inner).lower(), again=True)
    if isinstance(inner, http.client.IncompleteRead):
        return Failed("breaks off", again=True)
    said = " ".join(str(inner).split()) or type(error).__name__
    bad = isinstance(inner, http.client.InvalidURL)
    what = "not an address" if bad else "does not answer as web servers do"
    return Failed(f"{what}: {said}", again=not bad)

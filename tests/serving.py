"""A web server on this machine that misbehaves as told."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PIECE = 4096


@dataclass
class Server:
    """What is served: content by path, and what goes wrong with the next requests of a path.

    Parameters
    ----------
    url
        Of the server, without a slash at its end.
    files
        Content by path.
    wrong
        For each path, what happens to its next requests, one after the other; see
        :meth:`_Handler.do_GET`. When the list is used up, requests are answered as they should be.
    always
        What happens to every request of a path.
    ranges
        The server knows ranges.
    marks
        The server says which version of a file it has.
    asked
        Path and range of every request.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    always: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    marks: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(each == path for each, _ in self.asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def told(self) -> Server:
        return self.server.told  # type: ignore[attr-defined, no-any-return]

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        told = self.told
        told.asked.append((self.path, self.headers.get("Range", "")))
        queue = told.wrong.get(self.path, [])
        what = told.always.get(self.path) or (queue.pop(0) if queue else "")
        self.close_connection = True
        if what.isdigit():
            return self.send_plain(int(what))
        if what.startswith("redirect "):
            self.send_response(302)
            self.send_header("Location", what.split()[1])
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if what == "page":
            return self.send_page()
        if what in ("deaf", "nonsense"):
            return self.send_no_answer(what)
        content = told.files.get(self.path)
        if content is None:
            return self.send_plain(404)
        return self.send_file(content, what)

    def send_no_answer(self, what: str) -> None:
        if what == "deaf":  # takes the request and never answers
            self.told.closing.wait(30)
        else:
            self.wfile.write(b"\x00no web\r\n\r\n")

    def send_plain(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        if code == 503:
            self.send_header("Retry-After", "0")
        self.end_headers()

    def send_page(self) -> None:
        page = b"<html>This data set has moved.</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def send_file(self, content: bytes, what: str) -> None:
        mark = f'"{hashlib.md5(content).hexdigest()}"'
        begin = 0
        if (asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))) and (
            self.told.ranges and self.headers.get("If-Range", mark) == mark
        ):
            begin = int(asked[1])
            if begin >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            shown = begin - 7 if what == "shifted" else begin
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        if self.told.marks:
            self.send_header("ETag", mark)
        if what.startswith("length "):
            self.send_header("Content-Length", what.split()[1])
        elif what == "chunks":
            self.send_header("Transfer-Encoding", "chunked")
        elif what != "endless":
            self.send_header("Content-Length", str(len(content) - begin))
        if what == "gzip":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.send_body(content[begin:], what)
        return None

    def send_body(self, rest: bytes, what: str) -> None:
        try:
            if what == "chunks":  # the first of them, and no last one
                self.wfile.write(b"%x\r\n%b\r\n" % (len(rest[:PIECE]), rest[:PIECE]))
                return
            if what in ("truncate", "stall"):
                self.wfile.write(rest[: len(rest) // 2])
                self.wfile.flush()
                if what == "stall":
                    self.told.closing.wait(30)
                return
            if what in ("slow", "trickle"):
                piece = PIECE if what == "slow" else 1
                for at in range(0, len(rest), piece):
                    self.wfile.write(rest[at : at + piece])
                    self.wfile.flush()
                    if self.told.closing.wait(0.005 if what == "slow" else 0.02):
                        return
                return
            if what == "damaged":
                rest = rest[:-40] + bytes(byte ^ 0xFF for byte in rest[-40:])
            self.wfile.write(rest)
        except OSError:  # the other side has gone
            pass


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """A server that is gone at the end."""
    server = _Quiet(("127.0.0.1", 0), _Handler)
    told = Server(f"http://127.0.0.1:{server.server_address[1]}")
    server.told = told  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        told.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
        time.sleep(0)

"""What tests of pages share: commands, pages taken apart, pages opened in a browser."""

import base64
import csv
import io
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

SMALL = (
    *("--set", "windows.most=[64,32,32]", "--set", "windows.horizon=200fs"),
    *("--set", "training.epochs=2", "--set", "training.batch=32"),
    *("--set", "model.width=8", "--set", "model.encoder_layers=1"),
)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'$x_{</svg>{{7*7}}"
VOID = {"meta", "link", "input", "br", "img", "hr"}


class Page(HTMLParser):
    """Tags, attributes, tables by id and scripts of a page; refuses tags that do not balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self._table: list[list[str]] | None = None
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(dict(attrs)["id"], [])
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.scripts.append(data)
        elif self._open and self._open[-1] != "style":
            self.text.append(data)
        if {"td", "th"} & set(self._open):
            self._table[-1][-1] += data


def files(parsed: Page) -> dict[str, str]:
    """Content of every file that the page holds, by name."""
    found = {}
    for tag, attributes in parsed.tags:
        if tag == "a" and "download" in attributes:
            head, data = attributes["href"].split(",", 1)
            assert head.endswith(";base64")
            found[attributes["download"]] = base64.b64decode(unquote(data)).decode()
    return found


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def number(cell: str) -> float:
    return float(cell.strip().split()[0].replace("−", "-").replace("∞", "inf"))


def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no chromium, chromium-browser or google-chrome on PATH")


QUIET = (
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
SOFTWARE = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


class Visit:
    """A page opened from disk, and everything it says or asks for."""

    def __init__(self, opened: Any, path: Path, **options: Any) -> None:
        self.context = opened.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)  # drawing without a GPU beside other tests
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda each: self.said.append(f"{each.type}: {each.text}"))
        self.page.on("pageerror", lambda each: self.said.append(str(each)))
        self.page.on("request", lambda each: self.asked.append(each.url))
        self.page.on("dialog", lambda each: self.said.append(each.message))
        self.page.goto(path.as_uri())

    def wait(self, frame: int) -> None:
        """Until the player is past a frame; waiting inside the page would need eval."""
        for _ in range(1000):
            if self.state()["frame"] >= frame:
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"still before frame {frame}: {self.state()}")

    def state(self) -> dict[str, Any]:
        return self.page.evaluate("document.getElementById('player').player.state")

    def shown(self) -> list[dict[str, Any]]:
        """Kind and coordinates of every model that a viewer holds, in Å as they are drawn."""
        return self.page.evaluate(
            """document.getElementById('player').player.viewers.map((v) => v.models_.map((m) =>
               ({kind: m.kind, x: m.atoms.map((a) => [a.x, a.y, a.z])})))"""
        )

"""Models and readers of other packages, found by their entry points and loaded when asked for.

A package offers them in its ``pyproject.toml``::

    [project.entry-points."gfnode.models"]
    damped = "my_package:ENTRY"

    [project.entry-points."gfnode.readers"]
    csv = "my_package:FORMAT"

Installing it is the user's choice; nothing is imported until a name of it is asked for. What is
broken is named together with its package, and leaves the rest as it is.
"""

import hashlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from traceback import walk_tb
from typing import Any, Generic, TypeVar

from gfnode.errors import InputError

T = TypeVar("T")


class PluginWarning(UserWarning):
    """A plug-in cannot be used, or is not the one that a run was made with."""


_REGISTRIES: "list[Registry[Any]]" = []


def told(error: BaseException) -> str | None:
    """What a user is told of an error that code of a plug-in in use raised; None for others.

    Of a package that offers several things all that are in use are named: it may be any of them.
    """
    registries = sorted(_REGISTRIES, key=lambda each: each.group)
    if not (found := [at for each in registries if (at := each.suspects(error))]):
        return None
    return _blame(" or ".join(what for what, _ in found), found[0][1], "", error)


@dataclass(frozen=True)
class Origin:
    """The installed package that something came from."""

    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}".strip()


class Registry(MutableMapping[str, T], Generic[T]):
    """Things by name: those of gfnode, and those that installed packages offer.

    Looking a name up loads that one plug-in; going through all names loads all plug-ins, warns once
    of each that is broken, and leaves it out. Names can be added and removed as in a dictionary.

    Parameters
    ----------
    group
        Of the entry points, ``gfnode.models`` say.
    what
        What is registered, in words.
    own
        Those of gfnode, which no plug-in replaces.
    check
        ``check(name, loaded)`` returns what a plug-in offers, or raises ``TypeError`` or
        ``ValueError`` that says what is wrong with it.
    normal
        Turns the name of an entry point into a name of the registry.
    """

    def __init__(
        self,
        group: str,
        what: str,
        own: Mapping[str, T],
        check: Callable[[str, object], T],
        normal: Callable[[str], str] = str,
    ) -> None:
        self.group, self.what, self._check, self._normal = group, what, check, normal
        self._own = dict(own)
        self._offers: dict[str, list[EntryPoint]] | None = None
        self._loaded: dict[str, T] = {}
        self._warned: set[str] = set()
        _REGISTRIES.append(self)

    def check_names(self) -> None:
        """Warn once of plug-ins that take a name of gfnode; nothing is loaded."""
        self._found()

    def origin(self, name: str) -> Origin | None:
        """The package that offers a name; None for gfnode itself and for names added by hand."""
        if name in self._own or not (offers := self._found().get(name)):
            return None
        return _origin(offers[0])

    def code(self, name: str) -> str | None:
        """SHA-256 of the code that offers a name: all Python files of its package or module.

        It tells a change of code that has no version of its own. None for gfnode itself and for
        names added by hand.
        """
        if name in self._own or not (offers := self._found().get(name)):
            return None
        return _code(offers[0].module.split(".")[0])

    @contextmanager
    def blamed(self, name: str, done: str) -> Iterator[None]:
        """Turn what a plug-in's code raises into an InputError that names its package and line.

        The error is its cause. Errors of gfnode itself, and of names added by hand, are left as
        they are.

        Parameters
        ----------
        name
            Of the registry.
        done
            What is done with it, in words: ``built``, say.
        """
        try:
            yield
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            if self.origin(name) is None:
                raise
            what, point = f"the {self.what} {name!r}", self._found()[name][0]
            raise InputError(_blame(what, point, f" while it was {done}", error)) from error

    def suspects(self, error: BaseException) -> tuple[str, EntryPoint] | None:
        """What in use an error may come from, in words, and where the first of it comes from."""
        points = {name: self._found()[name][0] for name in self._loaded}
        names = [name for name, point in points.items() if _line(error, point)]
        words = f"the {self.what} {' or '.join(map(repr, names))}"
        return (words, points[names[0]]) if names else None

    def __getitem__(self, name: str) -> T:
        if name in self._own:
            return self._own[name]
        if name not in self._loaded:
            if not (offers := self._found().get(name)):
                raise KeyError(name)
            self._loaded[name] = self._load(name, offers)
        return self._loaded[name]

    def __setitem__(self, name: str, value: T) -> None:
        try:
            self._own[name] = self._check(name, value)
        except (TypeError, ValueError) as error:
            raise InputError(f"the {self.what} {name!r} cannot be registered: {error}") from error

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._own or name in self._found())

    def __iter__(self) -> Iterator[str]:
        yield from tuple(self._own)
        for name in tuple(self._found()):
            try:
                self[name]
            except InputError as error:
                self._warn(f"{error}; it is ignored")
            else:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _found(self) -> dict[str, list[EntryPoint]]:
        """What installed packages offer, by name; names of gfnode's own are refused."""
        if self._offers is None:
            self._offers = {}
            try:
                points = sorted(entry_points(group=self.group), key=lambda point: point.name)
            except Exception as error:
                self._warn(
                    f"the entry points of installed packages cannot be read ({_said(error)}), so "
                    f"only gfnode's own {self.what}s are available; a package is damaged"
                )
                return self._offers
            for point in points:
                name = self._normal(point.name)
                self._offers.setdefault(name, []).append(point)
        for name in self._own.keys() & self._offers.keys():
            self._warn(
                f"the package {_origin(self._offers[name][0])} offers a {self.what} {name!r}, but "
                "gfnode already has one of that name; the package's one is ignored until it is "
                "renamed"
            )
        return {name: points for name, points in self._offers.items() if name not in self._own}

    def _load(self, name: str, offers: list[EntryPoint]) -> T:
        if len(offers) > 1:
            packages = " and ".join(str(_origin(point)) for point in offers)
            raise InputError(f"{packages} both offer a {self.what} {name!r}: uninstall one of them")
        point = offers[0]
        try:
            return self._check(name, point.load())
        except (Exception, SystemExit) as error:
            raise InputError(
                f"the {self.what} {name!r} of the package {_origin(point)} cannot be used "
                f"({point.value}: {_said(error)}); upgrade or uninstall the package"
            ) from error

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            warn(text)


def _origin(point: EntryPoint) -> Origin:
    if point.dist is None:
        return Origin(point.module.split(".")[0], "")
    return Origin(point.dist.name, point.dist.version)


def _code(module: str) -> str:
    spec = find_spec(module)
    places = [Path(each) for each in (spec and spec.submodule_search_locations) or ()]
    files = {str(file.relative_to(place)): file for place in places for file in place.rglob("*.py")}
    if spec and spec.origin and not places:
        files = {Path(spec.origin).name: Path(spec.origin)}
    digest = hashlib.sha256()
    for name, file in sorted((n, f) for n, f in files.items() if f.is_file()):
        digest.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _line(error: BaseException, point: EntryPoint) -> str:
    """Where the package of an entry point raised an error, or called what raised it; else empty."""
    package = point.module.split(".")[0]
    lines = [
        f"{frame.f_code.co_filename}:{number}"
        for frame, number in walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).split(".")[0] == package
    ]
    return lines[-1] if lines else ""


def _blame(what: str, point: EntryPoint, when: str, error: BaseException) -> str:
    line = _line(error, point)
    return (
        f"{what} of the package {_origin(point)} failed{when}{line and f', at {line}'} "
        f"({_said(error)}); correct or upgrade the package"
    )


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return text if isinstance(error, InputError) else f"{kind}: {text}" if text else kind


def warn(text: str) -> None:
    """Warn of a plug-in."""
    warnings.warn(text, PluginWarning, stacklevel=4)


def remedy(package: object, version: object) -> str:
    """What to install, from the words of a ``run.json``; nothing that is no name of a package."""
    name = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"
    if not (isinstance(package, str) and re.fullmatch(name, package)):
        return "install the package it came from, if you trust it"
    exact = f"=={version}" if re.fullmatch(r"[A-Za-z0-9.!+_-]{1,60}", str(version)) else ""
    return f"install the package it came from, if you trust it (pip install {package}{exact})"

"""The entries of ``catalogue.toml``: public trajectories by names such as ``md17:aspirin``."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from gfnode.errors import InputError


@dataclass(frozen=True)
class Remote:
    """A file that can be downloaded.

    Parameters
    ----------
    place
        Its place below the cache folder, with ``/``: ``md17/md17_aspirin.npz``.
    urls
        Where it is, in the order in which they are tried.
    mb
        Size in 10⁶ bytes; an estimate unless ``size`` is given.
    size, md5
        In bytes and as hexadecimal digits, where the authors of the data publish them.
    """

    place: str
    urls: tuple[str, ...]
    mb: float
    size: int | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.place.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Member:
    """A file inside an archive that can be downloaded."""

    archive: Remote
    path: str


@dataclass(frozen=True)
class Part:
    """A file of an entry, and the archive that holds it too, where there is one."""

    remote: Remote
    member: Member | None = None


@dataclass(frozen=True)
class Entry:
    """A molecule of a data set: its files, what is in them, and under which terms.

    Parameters
    ----------
    name, aliases
        ``md17:aspirin``; other names for the same.
    title
        Of the data set.
    runs, top
        Trajectories, and the topology that they need.
    short
        A name without that of the data set.
    formula, atoms, frames
        Of the molecule (in Hill order), and of each run.
    step_fs
        Time between frames of the series.
    times_stored
        The files hold times themselves.
    units, licence, citation
        In words.
    page
        Where a browser finds the files.
    simulate
        The command that makes a similar trajectory.
    """

    name: str
    aliases: tuple[str, ...]
    title: str
    runs: tuple[Part, ...]
    top: Part | None
    short: str | None
    formula: str
    atoms: int
    frames: int
    step_fs: float
    times_stored: bool
    units: str
    licence: str
    citation: str
    page: str
    simulate: str

    @property
    def parts(self) -> tuple[Part, ...]:
        """All files."""
        return self.runs if self.top is None else (*self.runs, self.top)

    @property
    def names(self) -> tuple[str, ...]:
        """All names by which it is found."""
        return (self.name, *self.aliases, *([self.short] if self.short else []))

    @property
    def mb(self) -> float:
        """Size of all files in 10⁶ bytes."""
        return sum(part.remote.mb for part in self.parts)


def catalogue() -> dict[str, Entry]:
    """All entries by name, in the order of the file.

    A TOML file of the same form that ``GFNODE_CATALOGUE`` names is laid over it: mirrors of one's
    own institute, more data sets.

    Raises
    ------
    InputError
        When that file cannot be read.
    """
    own = os.environ.get("GFNODE_CATALOGUE", "")
    return _catalogue(own, Path(own).expanduser().stat().st_mtime_ns if _is_file(own) else 0)


def _is_file(own: str) -> bool:
    if own and not Path(own).expanduser().is_file():
        raise InputError(f"GFNODE_CATALOGUE={own}: no such file")
    return bool(own)


@cache
def _catalogue(own: str, _changed: int) -> dict[str, Entry]:
    text = (files("gfnode") / "catalogue" / "catalogue.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    if own:
        try:
            over = tomllib.loads(Path(own).expanduser().read_text(encoding="utf-8"))
            return {entry.name: entry for entry in _read(_laid_over(data, over), data)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(
                f"GFNODE_CATALOGUE={own}: does not have the form of gfnode's own catalogue: {what}"
            ) from error
    return {entry.name: entry for entry in _read(data, data)}


def _laid_over(below: dict[str, Any], above: dict[str, Any], depth: int = 3) -> dict[str, Any]:
    """Data sets, their entries and what an entry says are merged; what stands there is replaced."""
    found = dict(below)
    for key, value in above.items():
        inner = depth and isinstance(value, dict) and isinstance(below.get(key), dict)
        found[key] = _laid_over(below[key], value, depth - 1) if inner else value
    return found


def _read(data: dict[str, Any], shipped: dict[str, Any]) -> Iterator[Entry]:
    for set_name, facts in data.items():
        built_in = shipped.get(set_name, {}).get("entries", {})  # gfnode simulate knows these
        for key, own in facts["entries"].items():
            runs = own.get("runs", [own])
            yield Entry(
                name=f"{set_name}:{key}",
                aliases=tuple(f"{set_name}:{alias}" for alias in own.get("aliases", ())),
                title=facts["title"],
                runs=tuple(_part(set_name, facts, run) for run in runs),
                top=_part(set_name, facts, own["top"]) if "top" in own else None,
                short=own.get("short"),
                formula=own["formula"],
                atoms=own["atoms"],
                frames=own["frames"],
                step_fs=own.get("step_fs", facts["step_fs"]),
                simulate=facts["simulate"].format(
                    molecule=key if key in built_in else "STRUCTURE.xyz"
                ),
                times_stored=facts.get("times_stored", False),
                **{each: facts[each] for each in ("units", "licence", "citation", "page")},
            )


def _part(set_name: str, facts: dict[str, Any], own: dict[str, Any]) -> Part:
    member = None
    if (archive := facts.get("archive")) is not None:
        whole = Remote(
            f"{set_name}/{archive['file']}", tuple(archive["mirrors"]), float(archive["mb"])
        )
        member = Member(whole, archive["member"].format(**own))
    size = own.get("size")
    remote = Remote(
        f"{set_name}/{own['file']}",
        tuple(mirror.format(**own) for mirror in facts["mirrors"]),
        float(own["mb"]) if size is None else size / 1e6,
        size,
        own.get("md5"),
    )
    return Part(remote, member)


def sets() -> list[str]:
    """Names of the data sets: ``md17``, …."""
    return list(dict.fromkeys(name.partition(":")[0] for name in catalogue()))


def is_name(text: str) -> bool:
    """Whether text is written like the name of an entry (or is the short name of one)."""
    if ":" in text:  # no drive letter, no path, no address
        return re.fullmatch(r"[a-z][a-z0-9]+:[\w-]+(/\d+)?", text.lower()) is not None
    return any(text.partition("/")[0] == entry.short for entry in catalogue().values())


def find(name: str) -> Entry:
    """Return the entry of a name; case and ``_`` for ``-`` do not matter.

    Raises
    ------
    InputError
        For a name that is not there, with the nearest that are.
    """
    known = {_plain(each): entry for entry in catalogue().values() for each in entry.names}
    if (found := known.get(_plain(name))) is not None:
        return found
    near = difflib.get_close_matches(_plain(name), list(known), n=3, cutoff=0.6)
    hint = " or ".join(dict.fromkeys(known[each].name for each in near))
    raise InputError(
        f"{name}: not in the catalogue of data sets: "
        + (f"did you mean {hint}? " if hint else f"expected names such as {_examples()}. ")
        + "gfnode fetch --list shows all names"
    )


def expand(names: Sequence[str]) -> list[Entry]:
    """Return the entries of names, where the name of a data set (``md17``) stands for all in it.

    Raises
    ------
    InputError
        For names that are not there.
    """
    found: list[Entry] = []
    for name in names:
        if not isinstance(name, str):
            raise InputError(
                f"the trajectory is {name!r:.80}, expected a name such as {_examples()}"
            )
        if name.lower() in sets():
            found += [e for e in catalogue().values() if e.name.startswith(f"{name.lower()}:")]
        else:
            found.append(find(name))
    return list(dict.fromkeys(found))


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _examples() -> str:
    return ", ".join(next(n for n in catalogue() if n.startswith(f"{each}:")) for each in sets())

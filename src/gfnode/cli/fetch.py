"""``gfnode fetch``."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.console import console, resumable
from gfnode.errors import InputError
from gfnode.terminal import titled_table
from gfnode.units import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from gfnode.catalogue import Entry

LARGE_MB = 100.0
"""From so many 10⁶ bytes on, a person is asked first."""


@app.command(
    epilog="""\b
Examples:
  gfnode fetch --list
  gfnode fetch md17:aspirin
  gfnode fetch rmd17:ethanol md22:stachyose --yes
  gfnode fetch ala2
  gfnode fetch md17 --yes
  gfnode train --data md17:aspirin --out runs/aspirin

\b
Files go to the cache folder (set GFNODE_CACHE for another one). The same command continues a
download that was stopped."""
)
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...", help="Name such as md17:aspirin; a data set (md17) means all in it."
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List what is available, and exit.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Download nothing; check what is in the cache.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before large downloads.")] = False,
) -> None:
    """Download public trajectories: MD17, rMD17, MD22 and others."""
    from gfnode.catalogue import cache, catalogue, expand
    from gfnode.catalogue.located import missing
    from gfnode.fetching import Fetcher, NotFetchedError
    from gfnode.fetching.display import display

    if listed:
        chosen = expand(names) if names else list(catalogue().values())
        console().print(_table(chosen))
        typer.echo(f"cache folder: {cache.folder()}")
        return
    if not names:
        raise InputError(
            "nothing to fetch: give a name, e.g. gfnode fetch md17:aspirin; --list shows all"
        )
    entries = expand(names)
    lacking = {entry: parts for entry in entries if (parts := missing(entry))}
    if lacking and not offline:
        for entry in lacking:
            typer.echo(f"{_what(entry)}, {_size(entry)}")
        files = [part.remote for parts in lacking.values() for part in parts]
        _ask(sum(file.mb for file in files), str(cache.folder()), yes)
    failed: list[InputError] = []
    for entry in entries:
        try:
            with resumable(["the same command continues"]), display() as watcher:
                paths = Fetcher(offline, watcher).fetch(entry)
        except InputError as error:
            lines = error.lines if isinstance(error, NotFetchedError) else []
            for line in lines:
                typer.echo(f"  {line}", err=True)
            if len(entries) == 1:
                raise
            typer.echo(f"error: {error}", err=True)
            failed.append(error)
            continue
        _tell(entry, [str(path) for path in paths])
    if failed:
        raise InputError(f"{len(failed)} of {len(entries)} could not be fetched; see above")


def _what(entry: "Entry") -> str:
    runs = f"{len(entry.runs)} runs of " if len(entry.runs) > 1 else ""
    return (
        f"{entry.name}: {entry.formula}, {entry.atoms} atoms, {runs}{entry.frames} frames every "
        f"{format_time(entry.step_fs)}"
    )


def _size(entry: "Entry") -> str:
    exact = all(part.remote.size is not None for part in entry.parts)
    return f"{'' if exact else 'about '}{entry.mb:.0f} MB"


def _ask(mb: float, folder: str, yes: bool) -> None:
    """Ask a person before much is downloaded; nobody is asked where nobody can answer."""
    typer.echo(f"to download: {mb:.0f} MB into {folder}")
    if yes or mb < LARGE_MB or not _someone_is_there():
        return
    if not typer.confirm("continue?", default=True):
        raise typer.Exit(1)


def _someone_is_there() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _tell(entry: "Entry", paths: "Sequence[str]") -> None:
    typer.echo(f"{_what(entry)}: in the cache")
    for path in paths:
        typer.echo(f"  file     {path}")
    typer.echo(f"  units    {entry.units}")
    typer.echo(f"  licence  {entry.licence}")
    typer.echo(f"  cite     {entry.citation}")
    typer.echo(f"  use it   gfnode data {entry.short or entry.name}")


def _table(entries: "Sequence[Entry]") -> "Table":
    from gfnode.catalogue.located import in_cache

    table = titled_table("gfnode fetch NAME")
    for title in ("name", "formula", "atoms", "frames", "step", "MB", "licence", "cached"):
        left = title in ("name", "formula", "licence", "cached")
        table.add_column(title, justify="left" if left else "right", no_wrap=title == "name")
    for entry in entries:
        runs = f"{len(entry.runs)} × " if len(entry.runs) > 1 else ""
        table.add_row(
            entry.name + (f" ({entry.short})" if entry.short else ""),
            entry.formula,
            str(entry.atoms),
            f"{runs}{entry.frames}",
            format_time(entry.step_fs),
            f"{entry.mb:.0f}",
            entry.licence.partition(";")[0],
            "yes" if in_cache(entry) else "",
        )
    return table

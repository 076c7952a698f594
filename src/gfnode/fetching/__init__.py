"""Getting the trajectories of the catalogue: from the cache, or from the first mirror that serves.

A file is taken when its size and checksum are those that its authors publish, where they do, and
when it is of the right format, undamaged, and holds the right molecule. Its SHA-256 is then kept,
and compared whenever the file is used again or fetched anew (trust on first use).
"""

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gfnode.catalogue import Entry, Part, cache, expand
from gfnode.catalogue.entries import Remote
from gfnode.catalogue.located import missing
from gfnode.errors import InputError
from gfnode.fetching.download import Check, Download, Failed, Watcher, host
from gfnode.files import make_folder

if TYPE_CHECKING:
    from gfnode.trajectory import Integers

BEGINS = {".npz": b"PK\x03\x04", ".xtc": b"\x00\x00\x07\xcb", ".bz2": b"BZh"}
"""First bytes of a file, by suffix."""

LOOSE = 4.0
"""Times its size in the catalogue, which may be computed, that a download may have at most."""

LARGEST = 4 * 2**30
"""Bytes that a file taken out of an archive may have."""


class NotFetchedError(InputError):
    """No mirror gave a file; ``lines`` say what each of them answered."""

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        super().__init__(message)
        self.lines = list(lines)


@dataclass
class Fetcher:
    """Gets entries of the catalogue into the cache.

    Parameters
    ----------
    offline
        Take only what is there.
    watcher
        See :mod:`gfnode.fetching.download`.
    """

    offline: bool = False
    watcher: Watcher = field(default_factory=Watcher)

    def fetch(self, entry: Entry) -> list[Path]:
        """Get all files of an entry, and return the trajectories and then the topology.

        Raises
        ------
        InputError
            When a file cannot be had, or is another one than before.
        """
        if not self.offline:
            make_folder(cache.folder())
            self._check_room(entry)
        found = [self._get(entry, part) for part in entry.parts]
        self._check_all(entry)
        return found

    def _get(self, entry: Entry, part: Part) -> Path:
        path = cache.path_of(part.remote.place)
        if path.is_file():
            return self._known(entry, part)
        if self.offline:
            raise InputError(
                f"{entry.name}: {path.name} is not in {path.parent}, and nothing is downloaded "
                f"with --offline: run `gfnode fetch {entry.name}` without it, or get the file from "
                f"{entry.page} and put it there"
            )
        make_folder(path.parent)
        with self._alone(path):
            if path.is_file():  # another process got it while this one waited
                return self._known(entry, part)
            origin = self._bring(entry, part, path)
            cache.pin(part.remote.place, origin)
        return path

    def _known(self, entry: Entry, part: Part) -> Path:
        """A file that is there: the one it was, or, put there by hand, the right one."""
        path = cache.path_of(part.remote.place)
        if cache.pin_of(part.remote.place) is None:
            check_content(entry, part, path)
        cache.verify(part.remote.place)
        with suppress(OSError):  # left by a process that was killed when all was done
            path.with_name(f"{path.name}.part.json").unlink(missing_ok=True)
        return path

    def _bring(self, entry: Entry, part: Part, path: Path) -> str:
        """Download a file, or the archive that holds it; return where it came from."""

        def check(got: Path) -> None:
            check_content(entry, part, got)
            _same_as_before(part.remote.place, got)

        remote, lines = part.remote, []
        try:
            return self._download(remote, path, check)
        except ExceptionGroup as failures:
            lines = [str(each) for each in failures.exceptions]
        if part.member is not None:
            archive = cache.path_of(part.member.archive.place)
            try:
                with self._alone(archive):
                    return self._unpack(part, archive, path, check)
            except ExceptionGroup as failures:
                lines += [str(each) for each in failures.exceptions]
        raise _nowhere(entry, path, lines)

    def _download(self, remote: Remote, path: Path, check: Check) -> str:
        begins, limit = BEGINS.get(path.suffix, b""), LOOSE * remote.mb * 1e6
        return Download(remote.urls, path, check, remote.size, limit, begins, self.watcher).run()

    def _unpack(self, part: Part, archive: Path, path: Path, check: Check) -> str:
        """Take a file out of an archive, which stays in the cache for the other molecules."""
        assert part.member is not None
        remote, origin = part.member.archive, f"{archive.name} in this folder"
        if not archive.is_file():
            self.watcher.say(
                f"using the archive of all molecules: {archive.name}, {remote.mb:.0f} MB"
            )
            origin = self._download(remote, archive, lambda got: None)
        partial = path.with_name(f"{path.name}.part")  # no note beside it: it is never gone on with
        self.watcher.say(f"looking for {path.name} in {archive.name}; this may take minutes")
        try:
            extract(archive, part.member.path, partial)
            check(partial)
            partial.replace(path)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{path}: cannot be written: {reason}") from error
        except InputError as error:
            archive.unlink(missing_ok=True)  # it is downloaded again the next time
            said = str(error).replace(str(partial), path.name)
            failure = Failed(f"{archive.name} from {host(origin)}: {said}")
            raise ExceptionGroup("the archive is not the expected one", [failure]) from error
        finally:
            partial.unlink(missing_ok=True)
        return origin

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """No other process downloads the same file at the same time."""
        from filelock import FileLock, Timeout

        lock = FileLock(path.with_name(f"{path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self.watcher.say(f"another process is fetching {path.name}; waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _check_room(self, entry: Entry) -> None:
        needed = sum(part.remote.mb for part in missing(entry)) * 1e6
        free = shutil.disk_usage(cache.folder()).free
        if needed > free:
            raise InputError(
                f"{entry.name}: needs about {needed / 1e6:.0f} MB, but {cache.folder()} has "
                f"{free / 1e6:.0f} MB left: make room, or set GFNODE_CACHE to a folder on another "
                "disk"
            )

    def _check_all(self, entry: Entry) -> None:
        """What can be said only of trajectory and topology together."""
        if entry.top is None:
            return
        from gfnode.readers import FORMATS, Given

        top = cache.path_of(entry.top.remote.place)
        for part in entry.runs:
            path = cache.path_of(part.remote.place)
            _check_molecule(entry, path, FORMATS[path.suffix].open(path, Given(top=top)).numbers)


def fetch(*names: str, offline: bool = False, progress: bool = True) -> list[Path]:
    """Get public trajectories into the cache, and return their files.

    Parameters
    ----------
    names
        ``"md17:aspirin"``, …; the name of a data set (``"md17"``) stands for all in it.
    offline
        Take only what is in the cache.
    progress
        Show what is done, on a terminal.

    Returns
    -------
    list of Path
        Trajectories, each entry's topology after them. ``gfnode.load("md17:aspirin")`` finds them
        by itself.

    Raises
    ------
    InputError
        For unknown names, files that cannot be had, and files that are not what they were.
    """
    from gfnode.fetching.display import display

    entries = expand(names)
    with display(progress) as watcher:
        fetcher = Fetcher(offline, watcher)
        return [path for entry in entries for path in fetcher.fetch(entry)]


def check_content(entry: Entry, part: Part, path: Path) -> None:
    """Refuse a file that is not of the right size, checksum and format, or of another molecule.

    Raises
    ------
    InputError
        See above.
    """
    remote = part.remote
    if remote.size is not None and (got := path.stat().st_size) != remote.size:
        raise InputError(f"{path}: has {got} bytes, expected {remote.size}")
    if remote.md5 is not None and (found := cache.md5(path)) != remote.md5:
        raise InputError(f"{path}: has MD5 {found}, expected {remote.md5}")
    if remote.name.endswith(".npz"):
        from gfnode.readers import FORMATS, Given

        _check_archive(path)
        given = Given(step=entry.step_fs)
        _check_molecule(entry, path, FORMATS[".npz"].open(path, given).numbers)
    elif remote.name.endswith(".xtc"):
        from gfnode.readers.gromacs import count_xtc

        count_xtc(path)


def extract(archive: Path, member: str, target: Path) -> None:
    """Take one file out of a tar archive; names and links inside it have no say in where it goes.

    Raises
    ------
    InputError
        When the archive is damaged, or holds no such file.
    OSError
        When the file cannot be written.
    """
    with target.open("wb") as file:
        for piece in _pieces(archive, member):
            file.write(piece)


def _pieces(archive: Path, member: str) -> Iterator[bytes]:
    try:
        with tarfile.open(archive, "r|*") as opened:
            for each in opened:
                if each.name.removeprefix("./") != member:
                    continue
                content = opened.extractfile(each) if each.isreg() else None
                if content is None or each.size > LARGEST:
                    raise InputError(f"{archive}: {member} in it is not a file, or is too large")
                left = each.size
                while left and (piece := content.read(min(left, 2**20))):
                    left -= len(piece)
                    yield piece
                if left:
                    raise InputError(f"{archive}: {member} in it is cut off")
                return
    except InputError:
        raise
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, OSError) as error:
        raise InputError(f"{archive}: is not a tar archive, or is damaged: {error}") from error
    raise InputError(f"{archive}: holds no {member}")


def _check_archive(path: Path) -> None:
    """Compare the checksums that an npz file holds of its arrays."""
    try:
        with zipfile.ZipFile(path) as opened:
            bad = opened.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: is not an npz file, or is damaged: {error}") from error
    if bad is not None:
        raise InputError(f"{path}: {bad} is damaged")


def _check_molecule(entry: Entry, path: Path, numbers: "Integers") -> None:
    from gfnode.trajectory import formula_of

    if (formula := formula_of(numbers)) != entry.formula:
        raise InputError(f"{path}: holds {formula}, expected {entry.formula} ({entry.name})")


def _same_as_before(place: str, path: Path) -> None:
    known = cache.pin_of(place)
    if known is not None and cache.sha256(path) != known["sha256"]:
        raise InputError(
            f"{path}: is not the file downloaded from {known.get('from')} on {known.get('on')}: "
            "its SHA-256 has changed (if the new one is right, delete its entry in "
            f"{cache.folder() / cache.PINS})"
        )


def _nowhere(entry: Entry, path: Path, lines: list[str]) -> NotFetchedError:
    return NotFetchedError(
        f"{entry.name}: {path.name} could not be downloaded from any of its {len(lines)} "
        f"addresses: get it by hand from {entry.page} and put it into {path.parent}, or make your "
        f"own trajectory: {entry.simulate}",
        lines,
    )

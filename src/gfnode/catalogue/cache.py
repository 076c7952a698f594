"""The folder of downloaded files, and the checksums that they had when they came.

``checksums.json`` in that folder holds, for every file by its place in it, the SHA-256 that it had
when it was first used, with its size, its time of change, where it came from and when. A file that
has the size and the time of change it had then is taken as the same; of others the checksum is
computed and compared.
"""

import hashlib
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gfnode.errors import InputError
from gfnode.files import read_json, write_json

PINS = "checksums.json"


def folder() -> Path:
    """The cache folder: ``GFNODE_CACHE``, else where the platform keeps what can be had again."""
    if given := os.environ.get("GFNODE_CACHE"):
        return Path(given).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("gfnode", appauthor=False)


def path_of(place: str) -> Path:
    """Where a file lies, by its place below the cache folder."""
    return folder().joinpath(*place.split("/"))


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    return _digest(path, "sha256")


def md5(path: Path) -> str:
    """MD5 of a file: no protection, but what some authors publish."""
    return _digest(path, "md5")


def pin_of(place: str) -> dict[str, Any] | None:
    """What is known of a file that was here before, whether it is here now or not."""
    pin = _pins().get(place)
    return pin if isinstance(pin, dict) and isinstance(pin.get("sha256"), str) else None


def pin(place: str, origin: str) -> str:
    """Remember a file as it is now, and return its SHA-256."""
    from filelock import FileLock

    path = path_of(place)
    digest = sha256(path)
    with FileLock(folder() / f"{PINS}.lock"):
        facts = {
            "sha256": digest,
            **_stamp(path),
            "from": origin,
            "on": datetime.now(UTC).strftime("%Y-%m-%d"),
        }
        write_json(folder() / PINS, _pins() | {place: facts})
    return digest


def verify(place: str) -> None:
    """Check a file that is here against the checksum that it had first; the first time, keep it.

    Raises
    ------
    InputError
        When it is another file than before.
    """
    path, known = path_of(place), pin_of(place)
    if known is None:
        with suppress(InputError, OSError):  # a cache that many share may be read-only
            pin(place, "this folder")
        return
    stamp = _stamp(path)
    if all(known.get(key) == value for key, value in stamp.items()):
        return
    if sha256(path) != known["sha256"]:
        raise InputError(
            f"{path}: is not the file downloaded from {known.get('from')} on {known.get('on')} "
            "(its SHA-256 has changed): it is damaged or was replaced. Delete it and fetch it "
            f"again; if the new file is right, delete its entry in {folder() / PINS}"
        )
    with suppress(InputError, OSError):
        pin(place, str(known.get("from")))


def _stamp(path: Path) -> dict[str, int]:
    found = path.stat()
    return {"size": found.st_size, "changed_ns": found.st_mtime_ns}


def _pins() -> dict[str, Any]:
    path = folder() / PINS
    return read_json(path) if path.exists() else {}


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(kind, usedforsecurity=False)
        ).hexdigest()

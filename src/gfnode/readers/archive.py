"""The arrays of an npz file, large ones row by row."""

import io
import math
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers.boundary import foreign
from gfnode.readers.source import BLOCK, Block
from gfnode.thinning import chunks
from gfnode.trajectory import Integers

DENSEST = 1100
"""Deflate cannot make data smaller than by a factor of 1032."""

Fields = Mapping[str, tuple[str, float]]
"""What an array is (``"positions"``): its name in the file, and its unit in Å and fs."""


class Archive(Mapping[str, NDArray[Any]]):
    """The arrays of an npz file, each read when asked for and checked against its checksum.

    ``np.load`` would skip the checksum of an array whose damaged header asks for fewer bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._reading(), zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                archive.open(member).close()  # compares both copies of the member's header
            self._keys = [member.removesuffix(".npy") for member in archive.namelist()]

    def __getitem__(self, key: str) -> NDArray[Any]:
        if key not in self._keys:
            raise KeyError(key)
        with self._reading(), zipfile.ZipFile(self.path) as archive:
            stored = io.BytesIO(archive.read(f"{key}.npy"))
            self._check_objects(key, self._read_head(stored, key)[2])
            stored.seek(0)
            return np.asarray(np.lib.format.read_array(stored, allow_pickle=False))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of an array, by its head."""
        return self._head(key)[0]

    def dtype(self, key: str) -> np.dtype[Any]:
        """Type of an array, by its head."""
        return self._head(key)[2]

    def text(self, key: str) -> str:
        """A single text, or nothing."""
        if key not in self or self.dtype(key).kind not in "US" or (value := self[key]).size != 1:
            return ""
        said = value.item()
        return said.decode(errors="replace") if isinstance(said, bytes) else str(said)

    def scaled(self, key: str, factor: float) -> NDArray[Any]:
        """A whole array of numbers, times a factor."""
        self._check_numbers(key, key)
        values = self[key]
        return values if factor == 1 else values * np.float64(factor)

    def describe(self) -> str:
        """Names and shapes."""
        shapes = (f"{key} {'×'.join(map(str, self.shape(key))) or 'scalar'}" for key in self._keys)
        return ", ".join(shapes)

    def check_shape(self, key: str, what: str, atoms: int, frames: int | None = None) -> int:
        """Return the number of frames of ``(frame, atom, 3)`` numbers; refuse anything else."""
        self._check_numbers(key, what)
        shape = self.shape(key)
        expected = (shape[0] if shape and frames is None else frames or 0, atoms, 3)
        if shape != expected:
            flat = len(shape) == 2 and shape[1] == 3 * atoms
            raise InputError(
                f"{self.path}: {_named(key, what)} has shape {shape}, expected {expected} (frame, "
                f"atom, 3)" + (f"; save {key}.reshape(-1, {atoms}, 3)" if flat else "")
            )
        return expected[0]

    def coarse(self, fields: Fields) -> tuple[str, ...]:
        """A note on positions of half precision."""
        key, factor = fields["positions"]
        if self.dtype(key) != np.float16 or not self.shape(key)[0]:
            return ()
        with closing(self._pieces(key)) as pieces:
            _, first = next(pieces)
        steps = np.spacing(np.abs(first)).astype(np.float64) * factor
        return (
            f"{self.path.name}: positions are stored as float16, which resolves only about "
            f"{np.sqrt(np.nanmean(np.square(steps))):.1g} Å; save them as float32",
        )

    def blocks(self, fields: Fields) -> Callable[[Integers], Iterator[Block]]:
        """The frames of ``positions``, and of all else that a block holds, if there."""

        def blocks(rows: Integers) -> Iterator[Block]:
            cell = self._cells(fields, rows)
            sizes = self._deviations(fields, rows)
            keys = [key for key in ("positions", "velocities", "forces") if key in fields]
            streams = [self._rows(*fields[key], rows) for key in keys]
            done = 0
            for parts in zip(*streams, strict=True):
                found = dict(zip(keys, parts, strict=True))
                now = slice(done, done + len(parts[0]))
                yield Block(
                    **found,
                    cell=None if cell is None else cell[now],
                    deviations=None if sizes is None else sizes[now],
                )
                done = now.stop

        return blocks

    def _cells(self, fields: Fields, rows: Integers) -> NDArray[Any] | None:
        """Cells ``(frame, 3, 3)`` from vectors or lengths, of every frame or of all."""
        if "cell" not in fields:
            return None
        key, factor = fields["cell"]
        values = self.scaled(key, factor)
        frames = self.shape(fields["positions"][0])[0]
        if values.shape in ((3,), (frames, 3)):
            values = values[..., None, :] * np.eye(3)
        if values.shape == (3, 3):
            values = np.broadcast_to(values, (frames, 3, 3))
        if values.shape != (frames, 3, 3):
            raise InputError(
                f"{self.path}: cell has shape {values.shape}, expected {(frames, 3, 3)} (frame, "
                f"3, 3), or lengths {(frames, 3)}"
            )
        return values[rows]

    def _deviations(self, fields: Fields, rows: Integers) -> NDArray[Any] | None:
        """Standard deviations ``(frame, atom)``."""
        if "deviations" not in fields:
            return None
        values = self.scaled(*fields["deviations"])
        expected = self.shape(fields["positions"][0])[:2]
        if values.shape != expected:
            raise InputError(
                f"{self.path}: deviations has shape {values.shape}, expected {expected} (frame, "
                "atom)"
            )
        return values[rows]

    def _rows(self, key: str, factor: float, rows: Integers) -> Iterator[NDArray[Any]]:
        """Some rows of an array, a few at a time, out of the (compressed) stream of them all.

        Pieces end at the same frames for every array of one shape, whatever its order in the file.
        """
        for begin, stored in self._pieces(key):
            first, last = np.searchsorted(rows, [begin, begin + len(stored)])
            if last > first:
                values = stored[rows[first:last] - begin]
                yield values if factor == 1 else values * np.float64(factor)

    def _pieces(self, key: str) -> Generator[tuple[int, NDArray[Any]], None, None]:
        """A whole array in pieces: the first row of each, and its rows."""
        (frames, *shape), fortran, dtype = self._head(key)
        count = int(np.prod(shape))
        parts = chunks(frames, BLOCK, count)
        if fortran:  # no frame is whole before the end of the stream
            whole = self[key]
            yield from ((part.start, whole[part]) for part in parts)
            return
        with ExitStack() as stack:
            with self._reading():
                archive = stack.enter_context(zipfile.ZipFile(self.path))
                file = stack.enter_context(archive.open(f"{key}.npy"))
                self._read_head(file, key)
            for part in parts:
                wanted = part.stop - part.start
                with self._reading():
                    raw = file.read(wanted * count * dtype.itemsize)
                    stored = np.frombuffer(raw, dtype).reshape(wanted, *shape)
                yield part.start, stored
            with self._reading():
                if file.read(1):  # the checksum is compared where the stream ends
                    raise InputError(f"{self.path}: {key} holds more data than its header declares")

    def _head(self, key: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        with (
            self._reading(),
            zipfile.ZipFile(self.path) as archive,
            archive.open(f"{key}.npy") as file,
        ):
            shape, fortran, dtype = self._read_head(file, key)
            stored = archive.getinfo(f"{key}.npy")
            if dtype.hasobject:  # of any size, and never read
                return shape, fortran, dtype
            size = file.tell() + dtype.itemsize * math.prod(shape)
            if size != stored.file_size or size > DENSEST * stored.compress_size + 1024:
                raise InputError(
                    f"{self.path}: {key} is damaged: its header declares "
                    f"{'×'.join(map(str, shape))} values, but there are fewer"
                )
            return shape, fortran, dtype

    def _read_head(self, file: IO[bytes], key: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        start = file.read(8)
        if not start.startswith(np.lib.format.MAGIC_PREFIX):
            raise InputError(f"{self.path}: {key} is not a NumPy array")
        version = np.lib.format.read_magic(io.BytesIO(start))
        one = version == (1, 0)
        size = int.from_bytes(lengths := file.read(2 if one else 4), "little")
        rest = io.BytesIO(lengths + file.read(size))
        read = np.lib.format.read_array_header_1_0 if one else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(rest)
        return tuple(map(int, shape)), bool(fortran), dtype

    def _check_objects(self, key: str, kind: np.dtype[Any]) -> None:
        if kind.hasobject:
            raise InputError(
                f"{self.path}: array {key} holds Python objects, which gfnode never loads; save it "
                f"as numbers or text, e.g. {key}.astype(str) or {key}.astype(float)"
            )

    def _check_numbers(self, key: str, what: str) -> None:
        self._check_objects(key, kind := self.dtype(key))
        if kind.kind not in "fiu":
            raise InputError(
                f"{self.path}: {_named(key, what)} holds {kind} values, expected numbers"
            )

    def _reading(self) -> Any:
        return foreign(self.path, "not an npz file, or damaged or cut off")


def _named(key: str, what: str) -> str:
    """An array by its name in the file, and what it was taken for."""
    return f"array {key}" + (f" ({what})" if what != key else "")

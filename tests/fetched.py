"""Small files in the layouts of the catalogue, and a catalogue that points at a test's server."""

import io
import tarfile
from pathlib import Path

import numpy as np
from ase.formula import Formula
from ase.symbols import string2symbols

from gfnode.catalogue import catalogue
from gfnode.trajectory import Trajectory
from serving import Server

FRAMES = 12


def numbers_of(formula: str) -> np.ndarray:
    """Atomic numbers of a formula."""
    from ase.data import atomic_numbers

    symbols = string2symbols(str(Formula(formula)))
    return np.array([atomic_numbers[symbol] for symbol in symbols])


def md17_bytes(formula: str, seed: int = 0, frames: int = FRAMES) -> bytes:
    """An npz file as MD17 and MD22 have them."""
    numbers, rng = numbers_of(formula), np.random.default_rng(seed)
    file = io.BytesIO()
    np.savez(file, R=rng.normal(size=(frames, len(numbers), 3)), z=numbers.astype(np.uint8))
    return file.getvalue()


def rmd17_bytes(formula: str, seed: int = 0) -> bytes:
    """An npz file as rMD17 has them, in random order."""
    numbers, rng = numbers_of(formula), np.random.default_rng(seed)
    file = io.BytesIO()
    np.savez(
        file,
        coords=rng.normal(size=(FRAMES, len(numbers), 3)),
        nuclear_charges=numbers.astype(np.uint8),
        old_indices=rng.permutation(10 * FRAMES)[:FRAMES],
    )
    return file.getvalue()


def archive_bytes(members: dict[str, bytes], kind: str = "w:bz2") -> bytes:
    """A tar archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=kind) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def ala2_bytes(folder: Path) -> dict[str, bytes]:
    """Three runs and their topology."""
    found = {}
    for run in range(3):
        rng = np.random.default_rng(run)
        Trajectory(
            rng.normal(size=(FRAMES, 22, 3)), 1000.0 * np.arange(FRAMES), numbers_of("C6H12N2O2")
        ).save(folder / f"{run}.xtc")
        name = f"alanine-dipeptide-{run}-250ns-nowater.xtc"
        found[name] = (folder / f"{run}.xtc").read_bytes()
    found["alanine-dipeptide-nowater.pdb"] = (folder / "0.pdb").read_bytes()
    return found


def own_catalogue(server: Server, path: Path) -> None:
    """Write a catalogue whose mirrors are at the server, under /one and /two."""
    mirrors = f'["{server.url}/one/{{file}}", "{server.url}/two/{{file}}"]'
    lines = []
    for name in ("md17", "md22", "rmd17", "mdshare"):
        lines += [f"[{name}]", f"mirrors = {mirrors}"]
    lines += ["[rmd17.archive]", f'mirrors = ["{server.url}/rmd17.tar.bz2"]']
    lines.append("[mdshare.entries.alanine-dipeptide]")  # without sizes and checksums
    parts = catalogue()["mdshare:alanine-dipeptide"].runs
    runs = [f'{{ file = "{part.remote.name}", mb = 1 }}' for part in parts]
    lines.append(f"runs = [{', '.join(runs)}]")
    lines.append('top = { file = "alanine-dipeptide-nowater.pdb", mb = 1 }')
    path.write_text("\n".join(lines), encoding="utf-8")

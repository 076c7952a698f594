"""Files are written whole, and what killed processes leave of them goes with the next attempt."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gfnode.errors import InputError
from gfnode.files import partial_name, write_json
from gfnode.share.export import export
from making import quick_run, wiggle


@pytest.fixture(scope="module")
def dead() -> int:
    """Number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left_of(path: Path, process: int) -> Path:
    """What a process leaves of a file or folder."""
    mine = partial_name(path)
    return mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{process}-"))


def test_what_killed_processes_leave_is_removed(tmp_path: Path, dead: int) -> None:
    out = tmp_path / "b.json"
    kept = {partial_name(out), partial_name(tmp_path / "c.json")}  # alive; of another file
    kept.add(left_of(tmp_path / "c.json", dead))
    for path in (*kept, left_of(out, dead)):
        path.touch()
    write_json(out, {})
    assert set(tmp_path.iterdir()) == {out, *kept}


@pytest.mark.parametrize("name", ["model", "model.v1"])
def test_so_of_exported_models(tmp_path: Path, dead: int, name: str) -> None:
    run = quick_run(wiggle().save(tmp_path / "w.npz"), tmp_path / "run")
    left = left_of(tmp_path / name, dead)
    left.mkdir()
    (left / "weights.safetensors").touch()
    export(run, tmp_path / name)
    assert {each.name for each in tmp_path.iterdir()} == {"w.npz", "run", name}
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o777 & ~mask


def test_an_export_that_does_not_fit_is_told_by_the_name_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = quick_run(wiggle().save(tmp_path / "w.npz"), tmp_path / "run")

    def full(path: Path, _: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="cannot be written: No space left") as found:
        export(run, tmp_path / "model")
    assert str(found.value).startswith(f"{tmp_path / 'model' / 'model.safetensors'}: ")
    assert {each.name for each in tmp_path.iterdir()} == {"w.npz", "run"}

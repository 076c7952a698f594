"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of third-party and large trajectories; tests that need it are skipped without."""
    folder = Path(os.environ.get("GFNODE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data folder at {folder} (set GFNODE_DATA)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def no_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the user has fetched has no say in the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GFNODE_CACHE", str(tmp_path_factory.getbasetemp() / "no-cache"))
        patch.delenv("GFNODE_CATALOGUE", raising=False)
        yield

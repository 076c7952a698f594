"""A disk that gets full while a trajectory is written: told as that, and nothing stays of it."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gfnode.readers.formats import OWN

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits of files are of POSIX")

LIMITED = """
import resource, sys
from pathlib import Path
import gfnode
sample = gfnode.load("sample:toluene")[:400]
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))  # no file grows further
for suffix in sys.argv[2:]:
    try:
        sample.save(Path(sys.argv[1]) / f"a{suffix}")
    except gfnode.InputError as error:
        print(error)
"""


def test_every_format_says_that_the_file_could_not_grow(tmp_path: Path) -> None:
    tables = importlib.util.find_spec("tables") is not None
    suffixes = [each for each in OWN if each != ".h5" or tables]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path, *suffixes],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    told = re.findall(r"(?<=/a)(\..*): cannot be written: (.*)", done.stdout)
    assert told == [(each, os.strerror(27)) for each in suffixes], done.stdout
    assert not list(tmp_path.iterdir())

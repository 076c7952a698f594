"""Python in a process of its own."""

import os
import subprocess
import sys


def python(*words: object, code: int = 0, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What it says until it ends, with an exit code; it imports all that the tests can."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        timeout=1800,
    )
    assert done.returncode == code, (done.returncode, done.stderr[-3000:])
    return done

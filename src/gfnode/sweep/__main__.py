"""The process that a launcher starts for one job: ``python -m gfnode.sweep FOLDER MEASURES``."""

import json
import os
import sys
import threading
import warnings

from gfnode.sweep.worker import do


def _die_with_parent() -> None:
    """End when the sweep does, however it does: its end of our input closes."""

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin: its lock would be held as the interpreter ends
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Do the job that the command line names."""
    folder, measures = sys.argv[1:]
    _die_with_parent()
    warnings.simplefilter("default")  # into the log
    do(folder, json.loads(measures))


main()

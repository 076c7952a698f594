"""The command line: ``gfnode data``, ``train``, ``evaluate``, …, one module for each command.

Heavy libraries are imported inside the commands, so that ``gfnode --help`` answers at once.
"""

# each adds its command to the app, in the order of gfnode --help
# isort: off
from gfnode.cli.app import app, main
from gfnode.cli import (  # noqa: F401
    fetch,
    simulate,
    data,
    convert,
    spectrum,
    ramachandran,
    train,
    evaluate,
    report,
    predict,
    sample,
    rollout,
    export,
    reproduce,
    models,
    settings,
)
# isort: on

__all__ = ["app", "main"]

"""The packages that simulations take and the rest of gfnode does not."""

from importlib.util import find_spec

from gfnode.errors import InputError


def need(module: str, what: str) -> None:
    """Refuse what takes a package that is not installed.

    Raises
    ------
    InputError
        With the line that installs it.
    """
    if find_spec(module) is None:
        raise InputError(
            f"{what} needs {module}, which is not installed: pip install 'gfnode[simulate]'"
        )

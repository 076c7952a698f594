"""The one exception that bad input raises."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message names what, what was expected, what was found and the remedy. The command line
    prints it without a traceback and exits with code 2.
    """

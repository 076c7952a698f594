"""``python -m gfnode``: the ``gfnode`` command where it is not on the path."""

from gfnode.cli import main

if __name__ == "__main__":
    main()

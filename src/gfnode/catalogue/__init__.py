"""Public trajectories by name: what there is, where it lies, and how it is read.

Nothing here downloads: :mod:`gfnode.fetching` does.
"""

from gfnode.catalogue.entries import Entry, Part, catalogue, expand, find, is_name
from gfnode.catalogue.located import Located, in_cache, locate, locate_all

__all__ = [
    "Entry",
    "Located",
    "Part",
    "catalogue",
    "expand",
    "find",
    "in_cache",
    "is_name",
    "locate",
    "locate_all",
]

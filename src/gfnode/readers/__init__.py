"""Trajectory files: ``load`` reads any known format, ``save`` writes one.

Units are converted here and nowhere else: inside the package lengths are Å and times fs. The suffix
chooses the format. To add one, write a module with ``open(path, given)``, which gives a
:class:`Source`, and ``write(trajectory, path, precision)``, and add a line to :data:`FORMATS`.
Other packages do so by entry points of the group ``gfnode.readers``; see :mod:`gfnode.plugins`.
"""

from gfnode.readers.boundary import foreign, frame_times
from gfnode.readers.formats import FORMATS, Format, load, opened
from gfnode.readers.isolation import isolated
from gfnode.readers.reader import Reader
from gfnode.readers.saving import save
from gfnode.readers.source import Block, Given, Source, batches, in_memory
from gfnode.readers.topology import read_topology, same_atoms

__all__ = [
    "FORMATS",
    "Block",
    "Format",
    "Given",
    "Reader",
    "Source",
    "batches",
    "foreign",
    "frame_times",
    "in_memory",
    "isolated",
    "load",
    "opened",
    "read_topology",
    "same_atoms",
    "save",
]

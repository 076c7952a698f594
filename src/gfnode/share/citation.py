"""What to cite; the facts of ``CITATION.cff``."""

from gfnode import __version__

SOFTWARE = "gfnode: graph Fourier neural ODEs for molecular dynamics"
PAPER = "Joint modeling of spatial and temporal multiscales in molecular dynamics"


def bibtex() -> str:
    """The software and the paper whose method it implements."""
    return f"""\
@software{{gfnode,
  title   = {{{SOFTWARE}}},
  author  = {{{{The gfnode authors}}}},
  version = {{{__version__}}},
  license = {{MIT}}
}}

@unpublished{{gfnode-method,
  title  = {{{PAPER}}},
  author = {{Anonymous}},
  year   = {{2024}},
  note   = {{Anonymous submission}}
}}"""

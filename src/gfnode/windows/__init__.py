"""Trajectories, parts, windows: a start, its velocity, and later frames that are asked for."""

from gfnode.windows.windows import Batch, Frames, Windows, select_atoms, to_device

__all__ = ["Batch", "Frames", "Windows", "select_atoms", "to_device"]

"""Windows of trajectories: a start, its velocity, and later frames as targets."""

from gfnode.windows.windows import Batch, Frames, Windows, select_atoms, to_device

__all__ = ["Batch", "Frames", "Windows", "select_atoms", "to_device"]

"""The kinetic temperature of velocities."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.trajectory.checks import Doubles
from gfnode.units import BOLTZMANN


def kinetic_temperature(velocities: NDArray[np.floating[Any]], masses: Doubles) -> Doubles:
    """T = Σ m v²/(3 N k_B) in K, ``(…)``: over 3N degrees of freedom, as MD17 counts them.

    Parameters
    ----------
    velocities
        ``(…, atom, 3)`` in Å/fs.
    masses
        ``(atom,)`` in u.
    """
    squares = np.square(velocities, dtype=np.float64).sum(-1)
    return np.asarray(squares @ masses / (3 * len(masses) * BOLTZMANN))

"""Make trajectories: systems whose motion is known exactly, and real engines."""

from gfnode.simulate.engines import Engine, energies
from gfnode.simulate.run import simulate
from gfnode.simulate.synthetic import (
    AsymmetricTop,
    CounterRotors,
    HarmonicNetwork,
    Motion,
    asymmetric_top,
    counter_rotors,
    harmonic_network,
)

__all__ = [
    "AsymmetricTop",
    "CounterRotors",
    "Engine",
    "HarmonicNetwork",
    "Motion",
    "asymmetric_top",
    "counter_rotors",
    "energies",
    "harmonic_network",
    "simulate",
]

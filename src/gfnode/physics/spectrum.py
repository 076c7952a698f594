"""Spectra of a trajectory, without a model: density of states, and the modes of the graph."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from gfnode.errors import InputError
from gfnode.experiment import GraphSettings, molecular_graph
from gfnode.fourier import Basis, eigenbasis
from gfnode.geometry import mean_conformer
from gfnode.graph import laplacian
from gfnode.metrics import Blocks
from gfnode.metrics.correlation import autocorrelation, memory_time
from gfnode.metrics.ranks import Frequencies, RankCorrelation, mean_frequencies, rank_correlation
from gfnode.metrics.spectra import (
    PER_CM,
    Peak,
    difference_gain,
    differences,
    peaks,
    spacing_of,
    state_weights,
    welch,
)
from gfnode.physics.modes import coefficients, eigenvalues_of, on_reference
from gfnode.thinning import chunks
from gfnode.trajectory import Doubles, Integers, Trajectory
from gfnode.trajectory.given import loaded

RESOLUTION_CM = 10.0
"""Spacing of bins in 1/cm, unless the series is too short."""

FEWEST = 8
"""Least number of segments of a series, at the cost of resolution."""

POINTS = 256
"""Least number of frames in a segment, for a finer resolution than requested."""

VIBRATIONS = 8.0
"""Spacing of frames in fs above which vibrations are aliased."""

MOST_BLOCKS = 30
"""Blocks of time for intervals."""

MOST_MODES = 300
"""Number of modes, at most; the lowest."""

STILL = 1e-4
"""Å; smaller amplitudes are rounding errors."""

ATOMS_AT_ONCE = 200
"""Atoms whose velocities are held in double precision at once."""


@dataclass(frozen=True)
class Space:
    """The motion in one eigenspace of the molecular graph.

    Parameters
    ----------
    eigenvalue
        Of the Laplacian.
    modes
        Dimension of the eigenspace.
    frequency_per_ps, low_per_ps, high_per_ps
        Mean frequency of the power spectrum of its amplitudes, with 95 % interval over blocks.
    wavenumber_per_cm
        The same in 1/cm.
    amplitude
        Root of the mean square amplitude about the mean, summed over modes and directions, Å.
    memory_ps
        Correlation time 2 ∫ C² of the amplitudes with autocorrelation C, ps.
    memory_reached
        False: the series is too short, and the correlation time a lower bound.
    """

    eigenvalue: float
    modes: int
    frequency_per_ps: float
    low_per_ps: float
    high_per_ps: float
    wavenumber_per_cm: float
    amplitude: float
    memory_ps: float
    memory_reached: bool


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Spectra of a trajectory.

    Parameters
    ----------
    name, formula
        Of the molecule.
    atoms, frames
        Their numbers.
    spacing_fs
        Between frames; half its inverse is the Nyquist frequency.
    resolution_per_ps
        Of all spectra: the inverse of a segment's length.
    blocks
        Number of blocks of time for intervals.
    superposed
        Whether frames were superposed on the mean shape before projection onto modes.
    folded
        Whether vibrations are aliased, as frames are too far apart: no peaks are listed.
    temperature
        Kinetic, in K over 3N degrees of freedom: the mean of stored velocities, else the integral
        of the density; nan from differences of frames too far apart.
    velocities
        ``stored``, or ``differences`` of frames.
    peaks
        Of the vibrational density of states.
    spaces
        By ascending eigenvalue.
    ranks
        Rank correlation of mean frequency with eigenvalue, the constant mode left out.
    frequency
        ``(frequency,)`` in 1/ps.
    density
        Vibrational density of states, ``(frequency,)`` in ps: its integral is one.
    powers
        Of each eigenspace, ``(space, frequency)`` in Å² ps.
    correlation
        Normalised velocity autocorrelation, ``(time,)``, every ``spacing_fs``.
    """

    name: str
    formula: str
    atoms: int
    frames: int
    spacing_fs: float
    resolution_per_ps: float
    blocks: int
    superposed: bool
    folded: bool
    temperature: float
    velocities: str
    peaks: tuple[Peak, ...]
    spaces: tuple[Space, ...]
    ranks: RankCorrelation
    frequency: Doubles
    density: Doubles
    powers: Doubles
    correlation: Doubles

    def to_dict(self) -> dict[str, Any]:
        """All numbers, for JSON; see docs/motion.md."""
        return {
            "molecule": self.name,
            "formula": self.formula,
            "atoms": self.atoms,
            "frames": self.frames,
            "spacing_fs": self.spacing_fs,
            "resolution_per_ps": self.resolution_per_ps,
            "resolution_per_cm": self.resolution_per_ps * PER_CM,
            "blocks": self.blocks,
            "superposed": self.superposed,
            "velocities": self.velocities,
            "folded": self.folded,
            "highest_per_cm": PER_CM * 500 / self.spacing_fs,
            "temperature_K": self.temperature,
            "peaks": [asdict(each) for each in self.peaks],
            "eigenspaces": [asdict(each) for each in self.spaces],
            "rank_correlation": asdict(self.ranks),
        }

    def table(self) -> tuple[list[str], Doubles]:
        """Names of columns, and all curves along frequency, ``(frequency, column)``."""
        names = ["frequency_per_ps", "wavenumber_per_cm", "density_of_states_ps"]
        names += [f"eigenvalue_{each.eigenvalue:.6g}_A2_ps" for each in self.spaces]
        return names, np.stack(
            [self.frequency, self.frequency * PER_CM, self.density, *self.powers], 1
        )


def spectrum(
    trajectories: Trajectory | Sequence[Trajectory],
    *,
    resolution_cm: float = RESOLUTION_CM,
    superposed: bool = True,
    hops: int = 2,
) -> Spectrum:
    """Density of states, spectra of the graph's eigenspaces, and their rank correlation.

    Spectra are by Welch's method (Hann windows that overlap by half). The density of states is the
    power spectrum of the mass-weighted velocities, including translation and rotation of the whole
    molecule at its lowest frequencies.

    Parameters
    ----------
    trajectories
        One, or replicas of the same atoms; evenly spaced.
    resolution_cm
        Spacing of bins in 1/cm; finer for segments of at least 256 frames, coarser for at least 8
        segments.
    superposed
        Superpose every frame on the mean shape before projection onto modes. Otherwise rotation of
        the whole molecule contributes to every mode, at low frequency.
    hops
        Graph distance up to which atoms are connected.

    Raises
    ------
    InputError
        For frames that are unevenly spaced or too few, and replicas that are inconsistent.
    """
    given = loaded(trajectories)
    first, spacing = given[0], _common_spacing(given)
    if not resolution_cm > 0:
        raise InputError(f"the resolution is {resolution_cm} 1/cm, expected above zero")
    frames = sum(map(len, given))
    wanted = max(POINTS, round(PER_CM / resolution_cm / (1e-3 * spacing)))
    segment = min(wanted, max(frames // FEWEST, 4), *(len(each) - 1 for each in given))
    if segment < 4:
        raise InputError(f"{first.label} has {frames} frames: too few for a spectrum")
    plan = [max(1, MOST_BLOCKS * len(each) // frames) for each in given]
    stored = all(each.velocities is not None for each in given)
    frequency, density = _density(given, spacing, segment, plan, stored)
    basis = _basis(first, hops)
    reference = _mean_shape(given) if superposed else None
    series = [_amplitudes(each, basis, reference) for each in given]
    power = np.concatenate(
        [_powers(x, basis.spaces, spacing, segment, n) for x, n in zip(series, plan, strict=True)]
    )
    blocks = Blocks(np.arange(len(power)), len(power), 0, 1.0)
    found = mean_frequencies(frequency, power, blocks)
    values = eigenvalues_of(basis)
    moving = replace(found, value=np.where(values == 0, np.nan, found.value))
    mean = density.mean(0)
    step, folded = float(frequency[1]), spacing > VIBRATIONS
    integral = float(mean.sum() * step)
    heat = np.nan if folded else integral
    if stored:  # the integral of the density weights frames by the Hann windows
        heats = [each.temperature() or 0.0 for each in given]
        heat = float(np.average(heats, weights=[len(each) for each in given]))
    return Spectrum(
        name=first.label,
        formula=first.formula,
        atoms=first.n_atoms,
        frames=frames,
        spacing_fs=spacing,
        resolution_per_ps=step,
        blocks=len(power),
        superposed=superposed,
        folded=folded,
        temperature=heat,
        velocities="stored" if stored else "differences",
        peaks=() if folded else peaks(frequency, mean),
        spaces=tuple(_spaces(basis, values, found, series, spacing)),
        ranks=rank_correlation(values, moving),
        frequency=frequency,
        density=mean / max(integral, 1e-300),
        powers=power.mean(0),
        correlation=_velocity_correlation(given, spacing, stored, segment),
    )


def _common_spacing(given: Sequence[Trajectory]) -> float:
    spacings = [spacing_of(each.times) for each in given]
    for each, spacing in zip(given, spacings, strict=True):
        if not np.array_equal(each.numbers, given[0].numbers):
            raise InputError(
                f"{each.label} ({each.formula}) and {given[0].label} ({given[0].formula}) hold "
                "different atoms: give only replicas of one system together"
            )
        if abs(spacing - spacings[0]) > 1e-3 * spacings[0]:
            raise InputError(
                f"{each.label} has frames every {spacing:g} fs, {given[0].label} every "
                f"{spacings[0]:g} fs: expected one spacing"
            )
    return spacings[0]


def _velocities(
    given: Sequence[Trajectory], spacing: float, stored: bool
) -> Iterator[tuple[int, Doubles]]:
    """Number of each trajectory, and velocities ``(time, 3 atom)`` of some atoms, squared in K."""
    root = np.sqrt(state_weights(given[0].masses)).reshape(-1, 3)
    for number, each in enumerate(given):
        for atoms in chunks(each.n_atoms, ATOMS_AT_ONCE):
            if stored:
                assert each.velocities is not None
                v = each.velocities[:, atoms].astype(np.float64)
            else:
                v = differences(each.positions[:, atoms], spacing)
            yield number, (v * root[atoms]).reshape(len(v), -1)


def _density(
    given: Sequence[Trajectory], spacing: float, segment: int, plan: Sequence[int], stored: bool
) -> tuple[Doubles, Doubles]:
    """Density of the kinetic temperature, ``(block, frequency)`` in K ps."""
    found: dict[int, Doubles] = {}
    for number, v in _velocities(given, spacing, stored):
        frequency, power = welch(v, 1e-3 * spacing, segment, plan[number], centre=False)
        found[number] = found.get(number, 0.0) + power
    gain = np.ones_like(frequency) if stored else difference_gain(frequency, 1e-3 * spacing)
    return frequency, np.concatenate([found[n] for n in range(len(given))]) * gain


def _velocity_correlation(
    given: Sequence[Trajectory], spacing: float, stored: bool, most: int
) -> Doubles:
    velocities = min(map(len, given)) - (not stored)  # differences are one fewer than frames
    most = min(most, velocities - 1)
    total, heat = np.zeros(most + 1), 0.0
    for _, v in _velocities(given, spacing, stored):
        share = float(np.square(v).sum())
        if share > 0:
            total += share * autocorrelation(v, most, centre=False)
            heat += share
    return np.asarray(total / max(heat, 1e-300))


def _basis(trajectory: Trajectory, hops: int) -> Basis:
    _, edges = molecular_graph(trajectory, GraphSettings(hops=hops))
    atoms = trajectory.n_atoms
    return eigenbasis(laplacian(edges.index, atoms), min(atoms, MOST_MODES))


def _mean_shape(given: Sequence[Trajectory]) -> Doubles:
    sample = np.concatenate([t.positions[:: max(1, len(t) * len(given) // 500)] for t in given])
    weights = torch.from_numpy(given[0].masses)
    shape = mean_conformer(torch.from_numpy(sample).double(), weights, tolerance=1e-4)
    return np.asarray(shape.numpy())


def _amplitudes(trajectory: Trajectory, basis: Basis, reference: Doubles | None) -> Doubles:
    """Amplitudes ``(frame, mode, 3)`` in Å; without a reference relative to the first centre."""
    x = trajectory.positions
    if reference is not None:
        placed = torch.from_numpy(on_reference(x, reference, trajectory.masses)).double()
        middle = placed.mean(-2, keepdim=True)
    else:
        placed = torch.from_numpy(np.array(x))
        middle = placed[:1].mean(-2, keepdim=True)
    found = coefficients(placed, middle, basis.vectors).numpy()
    still = found.std(0).max(-1) < STILL  # the constant mode of what was superposed
    return np.asarray(np.where(still[:, None], 0.0, found))


def _powers(
    values: Doubles, spaces: Integers, spacing: float, segment: int, blocks: int
) -> Doubles:
    """Power spectra of the eigenspaces, ``(block, space, frequency)`` in Å² ps."""
    found = []
    for space in range(int(spaces.max()) + 1):
        part = values[:, spaces == space].reshape(len(values), -1)
        found.append(welch(part, 1e-3 * spacing, segment, blocks)[1])
    return np.stack(found, 1)


def _spaces(
    basis: Basis,
    eigenvalues: Doubles,
    found: Frequencies,
    series: Sequence[Doubles],
    spacing: float,
) -> Iterator[Space]:
    counts = np.bincount(basis.spaces)
    for space, count in enumerate(counts):
        parts = [v[:, basis.spaces == space].reshape(len(v), -1) for v in series]
        time, reached = memory_time(max(parts, key=len), 1e-3 * spacing)
        square = np.concatenate(parts).var(0, dtype=np.float64).sum()
        yield Space(
            eigenvalue=float(eigenvalues[space]),
            modes=int(count),
            frequency_per_ps=float(found.value[space]),
            low_per_ps=float(found.low[space]),
            high_per_ps=float(found.high[space]),
            wavenumber_per_cm=float(found.value[space] * PER_CM),
            amplitude=float(np.sqrt(square)),
            memory_ps=time,
            memory_reached=reached,
        )

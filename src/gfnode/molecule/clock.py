"""Plausibility of the time step, from the motion of molecules.

Two clocks measure the time between frames. X–H bonds vibrate at a frequency that hardly depends on
the molecule, so that the phase advance of their lengths from frame to frame is a time. And the
temperature determines the speed of atoms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gfnode import graph
from gfnode.thinning import evenly
from gfnode.trajectory import Doubles, Integers, Trajectory, masses_of
from gfnode.trajectory.clock import Clock, agree
from gfnode.trajectory.series import Series
from gfnode.trajectory.temperature import kinetic_temperature
from gfnode.units import WAVENUMBER
from gfnode.windows.forces import RIGID
from gfnode.windows.rounding import coarseness

STRETCHING = {6: 3030.0, 7: 3420.0, 8: 3500.0, 16: 2600.0, 5: 2500.0, 14: 2150.0, 15: 2350.0}
STRETCHING |= {9: 3960.0, 17: 2890.0, 35: 2560.0, 53: 2230.0}  # hydrogen halides have no other
"""Wavenumbers in 1/cm of X–H stretching vibrations (C–H, N–H, O–H, …), by element.

With other masses, of deuterium say, they scale with the inverse root of the reduced mass."""

PLAUSIBLE = (30.0, 3000.0)
"""Plausible temperatures of molecular dynamics, K."""

FARTHEST = 1.9
"""Spacing of frames, in periods, beyond which the number of whole turns is undetermined."""

TRAPEZOIDAL, SIMPSON = (1 / 2, 1 / 2), (1 / 3, 4 / 3, 1 / 3)
"""Quadrature weights of velocities of consecutive frames, for a displacement."""

UNSURE = 0.15
"""Relative difference of the two rules that is accepted: Simpson's error is then 2 %."""

_FIRST = 2000  # frames
_LAGS = 40


def time_step_warnings(trajectories: Sequence[Trajectory], bonds: Integers) -> tuple[str, ...]:
    """A warning where the time step that trajectories share is implausible, else none.

    ``bonds`` are ``(bond, 2)`` among all atoms.
    """
    clock = clock_of(trajectories, bonds)
    if clock.wrong is None:
        return ()
    said = f"{trajectories[0].label}: {clock.words}"
    if clock.wrong == "time-step":
        said += f"; give it with --step {clock.better_fs:g}fs"
    return (said,)


def clock_of(trajectories: Sequence[Trajectory], bonds: Integers) -> Clock:
    """Compare the stated time step with those of the clocks, in the first frames of each.

    Simulations that explode do so late, and frames after that have no clock.
    """
    series = Series.of([each[:_FIRST] for each in trajectories])
    rounded_to = coarseness(series.positions(series.evenly(50))) or None
    return look_at_time(series, bonds, rounded_to)


def displacement_temperature(series: Series, *, heavy: bool = False) -> float | None:
    """Temperature from the shortest displacements, in K over 3N: a lower bound of the true one."""
    starts = _closest(series)
    if not len(starts):
        return None
    atoms = np.flatnonzero(series.first.numbers > 1) if heavy else None
    if atoms is not None and not len(atoms):
        atoms = None
    x = series.positions(np.stack([starts, starts + 1], 1).ravel(), atoms).astype(np.float64)
    x = x.reshape(len(starts), 2, -1, 3)
    masses = series.first.masses if atoms is None else series.first.masses[atoms]
    v = (x[:, 1] - x[:, 0]) / (series.times[starts + 1] - series.times[starts])[:, None, None]
    if len(masses) > 2:  # drift of the whole molecule is not thermal
        v -= (masses[:, None] * v).sum(1, keepdims=True) / masses.sum()
    return float(np.median(kinetic_temperature(v, masses)))  # passes over jumps


def look_at_time(series: Series, bonds: Integers, rounded_to: float | None) -> Clock:
    """Compare the stated time step with those of the clocks."""
    stated = _time_unit(series)
    temperature = displacement_temperature(series)
    # atoms in equilibrium never go further than their thermal speed carries them
    too_hot = temperature is not None and temperature > PLAUSIBLE[1]
    stored = _from_velocities(series) if stated else None
    swing = _swing(series, bonds, rounded_to) if stated else _Swing(why_not="one frame")
    step = wavenumber = usual = None
    if swing.angle is not None and stated is not None:
        usual = swing.wavenumber
        step = _settle(swing.angle / (WAVENUMBER * usual), usual, stated, series)
        wavenumber = usual * step / stated  # with the whole turns that the angle leaves out
    believed = [each for each in (step, stored) if each is not None]
    fits = None
    if believed and stated is not None:
        fits = all(agree(each, stated) for each in believed)
    if too_hot and not believed:
        fits = False
    return Clock(
        stated_fs=stated,
        bond=swing.name,
        bonds=swing.count,
        why_not=swing.why_not,
        angle=swing.angle,
        wavenumber=wavenumber,
        usual_wavenumber=usual,
        step_fs=step,
        step_stored_fs=stored,
        swing_fits=None if step is None or stated is None else agree(step, stated),
        fits=fits,
        too_hot=too_hot,
    )


@dataclass(frozen=True)
class _Swing:
    """Phase advance of one kind of X–H bond in a time step."""

    name: str | None = None
    wavenumber: float = 0.0  # that is usual, 1/cm
    count: int = 0
    why_not: str | None = None
    angle: float | None = None


def _swing(series: Series, bonds: Integers, rounded_to: float | None) -> _Swing:
    from ase.data import chemical_symbols

    numbers = series.first.numbers
    if not len(bonds):
        return _Swing(why_not="no hydrogen")
    kinds = np.sort(numbers[bonds], axis=1)
    element = next((z for z in STRETCHING if (kinds == (1, z)).all(1).any()), None)
    if element is None:
        return _Swing(why_not="no hydrogen")
    chosen = bonds[(kinds == (1, element)).all(1)]
    chosen = chosen[evenly(len(chosen), 60)]
    name = f"{chemical_symbols[element]}-H"
    reduced = [
        m[chosen].prod(1) / m[chosen].sum(1) for m in (masses_of(numbers), series.first.masses)
    ]
    usual = STRETCHING[element] * float(np.median(np.sqrt(reduced[0] / reduced[1])))
    step = _time_unit(series)
    assert step is not None
    memory, spread = _bond_memory(series, chosen, step)
    noise = 0.0 if rounded_to is None else rounded_to / np.sqrt(6)
    if spread < max(3 * RIGID, 1.5 * noise):  # these bonds are about 1 Å long
        return _Swing(name, usual, len(chosen), "rigid")
    known = np.isfinite(memory)
    far = step > FARTHEST * 2 * np.pi / (WAVENUMBER * usual)
    if far or known[:6].sum() < 2 or known.sum() < 4:
        return _Swing(name, usual, len(chosen), "too far apart")
    angle, swings = _fit_angle(memory)
    if swings < 0.4:  # hardly a cosine: dephased between frames
        return _Swing(name, usual, len(chosen), "too far apart")
    return _Swing(name, usual, len(chosen), None, angle)


def _bond_memory(series: Series, bonds: Integers, step: float) -> tuple[Doubles, float]:
    """Autocorrelation of bond lengths at 1 … 40 steps (nan: no pairs), and their deviation in Å."""
    most = max(50, min(1500, 20_000 // len(bonds)))
    pairs = [series.pairs(step * lag, most, 0.25 * step) for lag in range(1, _LAGS + 1)]
    asked = np.unique(np.concatenate([np.concatenate(pair) for pair in pairs]))
    if not len(asked):
        return np.full(_LAGS, np.nan), 0.0
    ends, place = np.unique(bonds, return_inverse=True)
    length = graph.pair_distances(series.positions(asked, ends), place.reshape(-1, 2))
    length -= np.median(length, axis=0)
    spreads = 1.4826 * np.median(np.abs(length), axis=0)
    length[np.abs(length) > 6 * spreads] = 0.0  # outliers, of damaged frames
    length -= length.mean(0)
    variance = np.square(length).mean(0)
    if not variance.any():
        return np.full(_LAGS, np.nan), 0.0
    found = np.full(_LAGS, np.nan)
    for lag, (first, second) in enumerate(pairs):
        if len(first) >= 8:
            a, b = np.searchsorted(asked, first), np.searchsorted(asked, second)
            each = (length[a] * length[b]).mean(0)[variance > 0] / variance[variance > 0]
            found[lag] = np.median(each)  # robust against a broken bond
    return found, float(np.median(spreads))


def _fit_angle(memory: Doubles) -> tuple[float, float]:
    """Fit α + β cos(mθ) to the autocorrelation at m = 1, 2, …; θ in 0 … π, and β."""
    lags = np.arange(1, len(memory) + 1)
    below = np.flatnonzero(memory < -0.3)
    last = int(np.clip(3 * lags[below[0]], 6, _LAGS)) if len(below) else _LAGS
    used = np.isfinite(memory) & (lags <= last)
    m, y = lags[used], memory[used]
    angles = np.linspace(0.01, np.pi - 0.01, 1500)
    cosine = np.cos(angles[:, None] * m)
    varies = cosine - cosine.mean(1, keepdims=True)
    beta = (varies * y).sum(1) / np.maximum(np.square(varies).sum(1), 1e-12)
    misfit = np.square(y - y.mean() - beta[:, None] * varies).sum(1)
    alpha = y.mean() - beta * cosine.mean(1)
    # at lag zero the autocorrelation is at most one: rounding noise only lowers α + β
    misfit = misfit + np.square(np.maximum(alpha + beta - 1.05, 0.0)) * len(m)
    misfit[beta <= 0] = np.inf
    best = int(misfit.argmin())
    return float(angles[best]), float(beta[best])


def _settle(step: float, usual: float, stated: float, series: Series) -> float:
    """Choose among the time steps that agree with one phase angle modulo whole turns, in fs.

    The stated one if it is among them; otherwise the first that gives the heavy atoms a plausible
    temperature.
    """
    turn = 2 * np.pi / (WAVENUMBER * usual)
    candidates = [step, turn - step, turn + step, 2 * turn - step]
    heavy = displacement_temperature(series, heavy=True)
    if heavy is None:
        return step
    hot = {each: heavy * (stated / each) ** 2 for each in candidates}
    for each, kelvin in hot.items():
        if kelvin < PLAUSIBLE[1] and agree(each, stated):
            return each
    likely = [each for each, T in hot.items() if PLAUSIBLE[0] / 2 < T < PLAUSIBLE[1]]
    return likely[0] if likely else step


def _from_velocities(series: Series) -> float | None:
    """Time step in fs for which displacements of heavy atoms match their stored velocities.

    ∫ v dt by the trapezoidal rule and by Simpson's; None where these differ, as for the carbon of
    methane at 4 fs, since velocities then change too much from frame to frame.
    """
    if not series.has_velocities:
        return None
    starts = _closest(series)
    if not len(starts):
        return None
    heavy = np.flatnonzero(series.first.numbers > 1)
    chosen = heavy if len(heavy) else np.arange(series.first.n_atoms)
    found = _advance(series, starts, chosen, TRAPEZOIDAL)
    ahead = np.minimum(starts + 2, len(series) - 1)
    spans = series.times[ahead] - series.times[starts]
    gap = float(np.median(series.times[starts + 1] - series.times[starts]))
    even = (series.segments[ahead] == series.segments[starts]) & np.isclose(spans, 2 * gap, 1e-3)
    if found is not None and even.any():
        coarse, found = found, _advance(series, starts[even], chosen, SIMPSON)
        if found is None or abs(np.log(coarse / found)) > np.log(1 + UNSURE):
            return None
    step = _time_unit(series)
    assert step is not None
    return None if found is None else found * step / gap


def _advance(
    series: Series, starts: Integers, atoms: Integers, weights: tuple[float, ...]
) -> float | None:
    """Time between frames in fs for which weighted sums of velocities match displacements."""
    last = len(weights) - 1
    ends = [series.positions(starts + k, atoms).astype(np.float64) for k in (0, last)]
    moved, carried = ends[1] - ends[0], np.zeros_like(ends[0])
    for k, weight in enumerate(weights):
        carried += weight * series.velocities(starts + k)[:, atoms].astype(np.float64)
    size, along = np.square(carried).sum(), (moved * carried).sum()
    moves = np.square(moved).sum()
    if not size or not moves or along <= 0.9 * np.sqrt(size * moves):
        return None
    return float(along / size)


def _time_unit(series: Series) -> float | None:
    """Unit of the time between frames in fs: the shortest gap, if all are multiples of it."""
    if not len(gaps := series.gaps):
        return series.step
    least = float(gaps.min())
    return least if np.allclose(gaps / least, np.rint(gaps / least), atol=1e-3) else series.step


def _closest(series: Series) -> Integers:
    """Evenly spaced frames among those with the shortest gap to the next one."""
    most = max(20, min(2000, 1_000_000 // series.first.n_atoms))
    return series.successive(1.02 * float(series.gaps.min(initial=np.inf)), most)

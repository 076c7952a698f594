"""Systems whose motion is known exactly: tests of models, and first trajectories to play with.

Each function returns a :class:`Motion`, which gives positions and velocities at any times in double
precision and makes a :class:`~gfnode.trajectory.Trajectory` of them. Units are Å, fs, u; the energy
unit is u Å²/fs². The elements are real, so that readers and graph functions work on the result.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation
from scipy.special import ellipj, ellipkinc

from gfnode.errors import InputError
from gfnode.trajectory import Doubles, Integers, Trajectory, masses_of
from gfnode.units import BOLTZMANN


@dataclass(frozen=True, eq=False)
class Motion(ABC):
    """A motion that is known at every time.

    Parameters
    ----------
    numbers
        Atomic numbers, ``(atom,)``.
    reference
        Geometry that the motion starts from or swings about, ``(atom, 3)`` in Å.
    """

    numbers: Integers
    reference: Doubles

    @abstractmethod
    def state(self, times: ArrayLike) -> tuple[Doubles, Doubles]:
        """Positions and velocities ``(time, atom, 3)`` at ``times (time,)`` in fs."""

    @property
    def masses(self) -> Doubles:
        """Standard atomic masses in u, ``(atom,)``."""
        return masses_of(self.numbers)

    def trajectory(self, frames: int = 4000, step: float = 0.5) -> Trajectory:
        """Frames every ``step`` fs from time zero, with exact velocities."""
        times = np.arange(frames, dtype=np.float64) * step
        positions, velocities = self.state(times)
        name = type(self).__name__
        return Trajectory(
            positions.astype(np.float32),
            times,
            self.numbers,
            velocities.astype(np.float32),
            time_step=step,
            name=name,
            source=f"synthetic {name}",
        )


@dataclass(frozen=True, eq=False)
class HarmonicNetwork(Motion):
    """Masses joined by springs, linear in the Cartesian displacements u from the reference.

    m_i ü_i = −Σ_j K_ij (u_i − u_j) − γ m_i u̇_i, alike in the three directions. With y = M^½ u the
    force is −(M^−½ L_K M^−½) y, whose eigenvectors Y and eigenvalues ω² give every mode in closed
    form,

        q(t) = e^(−γt/2) [q₀ cosh st + (q̇₀ + γq₀/2) sinh(st)/s],   s² = γ²/4 − ω²,

    which is cos and sin of ωt without damping. For equal masses m and springs K the modes are the
    eigenvectors of the graph Laplacian, ω_k = √(K λ_k/m). Such springs hold the orientation, so
    energy (without damping) and momentum are conserved but angular momentum is not.

    Parameters
    ----------
    laplacian
        L_K = Σ over springs of K (e_i − e_j)(e_i − e_j)ᵀ, ``(atom, atom)`` in u/fs².
    damping
        γ in 1/fs.
    amplitudes, rates
        q and q̇ at time zero, ``(mode, 3)`` in u^½ Å and u^½ Å/fs.
    """

    laplacian: Doubles
    damping: float
    frequencies: Doubles
    modes: Doubles
    amplitudes: Doubles
    rates: Doubles

    def mode_state(self, times: ArrayLike) -> tuple[Doubles, Doubles]:
        """Amplitudes q and rates q̇ of the modes, ``(time, mode, 3)``."""
        t = np.asarray(times, dtype=np.float64)[:, None, None]
        half = self.damping / 2
        omega = self.frequencies[:, None]
        s = np.sqrt(np.asarray(half**2 - omega**2, dtype=np.complex128))
        slow, fast = np.exp((s - half) * t), np.exp(-(s + half) * t)
        still = np.abs(s) < 1e-12  # critical damping, or a free mode
        cosh = (slow + fast) / 2
        sinh = np.where(still, t * slow, (slow - fast) / np.where(still, 1.0, 2 * s))
        pull = self.rates + half * self.amplitudes
        q = (self.amplitudes * cosh + pull * sinh).real
        return q, (self.amplitudes * s**2 * sinh + pull * cosh).real - half * q

    def state(self, times: ArrayLike) -> tuple[Doubles, Doubles]:
        """See :meth:`Motion.state`."""
        back = self.modes / np.sqrt(self.masses)[:, None]
        q, speed = self.mode_state(times)
        return self.reference + back @ q, back @ speed

    def energy(self, times: ArrayLike) -> Doubles:
        """Kinetic and potential energy together, ``(time,)`` in u Å²/fs²."""
        x, v = self.state(times)
        u = x - self.reference
        kinetic = (self.masses[:, None] * v**2).sum((1, 2)) / 2
        return np.asarray(kinetic + (u * (self.laplacian @ u)).sum((1, 2)) / 2)


def harmonic_network(
    reference: ArrayLike | None = None,
    bonds: ArrayLike | None = None,
    numbers: ArrayLike | None = None,
    *,
    stiffness: float | ArrayLike = 0.05,
    damping: float = 0.0,
    temperature: float = 300.0,
    seed: int = 0,
) -> HarmonicNetwork:
    """Masses and springs on a graph, with thermal initial amplitudes and no total momentum.

    Parameters
    ----------
    reference
        ``(atom, 3)`` in Å; None is a flat ring of six atoms, 1.4 Å apart.
    bonds
        Springs, ``(bond, 2)``; None joins consecutive atoms to a ring.
    numbers
        Atomic numbers, ``(atom,)``; None is all carbon.
    stiffness
        Spring constant in u/fs² (0.05 is 83 N/m), one for all or ``(bond,)``.
    damping
        Friction γ in 1/fs.
    temperature
        Of the initial amplitudes, in K: modes that swing have k_B T each, on average.
    seed
        Of the initial amplitudes.
    """
    x = _hexagon(1.4) if reference is None else np.asarray(reference, dtype=np.float64)
    atoms = len(x)
    ring = np.stack([np.arange(atoms), np.roll(np.arange(atoms), -1)], 1)
    pairs = (ring if bonds is None else np.asarray(bonds, dtype=np.int64)).reshape(-1, 2)
    z = np.full(atoms, 6) if numbers is None else np.asarray(numbers, dtype=np.int64)
    if x.shape != (atoms, 3) or z.shape != (atoms,) or (pairs >= atoms).any():
        raise InputError(
            f"reference {x.shape}, numbers {z.shape} and bonds up to atom {pairs.max()} disagree: "
            "expected (atom, 3), (atom,) and atoms below that count"
        )
    incidence = np.zeros((len(pairs), atoms))
    incidence[np.arange(len(pairs)), pairs[:, 0]] = 1.0
    incidence[np.arange(len(pairs)), pairs[:, 1]] -= 1.0
    springs = np.broadcast_to(np.asarray(stiffness, dtype=np.float64), len(pairs))
    laplacian = incidence.T @ (springs[:, None] * incidence)
    root = np.sqrt(masses_of(z))
    squares, modes = np.linalg.eigh(laplacian / np.outer(root, root))
    moving = squares > 1e-10 * squares[-1]
    frequencies = np.sqrt(np.where(moving, squares, 0.0))
    thermal = np.sqrt(BOLTZMANN * temperature)
    drawn = np.random.default_rng(seed).normal(size=(2, atoms, 3))
    # drawn in space: whatever the signs and, in an eigenspace, the choice of modes
    noise = thermal * (modes.T @ drawn) * moving[:, None]
    amplitudes = noise[0] / np.where(moving, frequencies, 1.0)[:, None]
    return HarmonicNetwork(z, x, laplacian, damping, frequencies, modes, amplitudes, noise[1])


@dataclass(frozen=True, eq=False)
class AsymmetricTop(Motion):
    """A rigid molecule that tumbles freely.

    The angular velocity in the body is exact: Jacobi functions of time (Landau & Lifshitz,
    Mechanics, § 37). The attitude follows from it by Dormand-Prince of order 8 at 1e-12.

    Parameters
    ----------
    moments, axes
        Principal moments in ascending order ``(3,)`` in u Å², and axes as columns ``(3, 3)``.
    spin
        Angular velocity at time zero along the principal axes, ``(3,)`` in 1/fs.
    drift
        Velocity of the centre of mass, ``(3,)`` in Å/fs.
    """

    moments: Doubles
    axes: Doubles
    spin: Doubles
    drift: Doubles

    def body_spin(self, times: ArrayLike) -> Doubles:
        """Angular velocity along the principal axes, ``(time, 3)`` in 1/fs."""
        t = np.asarray(times, dtype=np.float64)
        J, w = self.moments, self.spin
        L2, T2 = float(np.sum((J * w) ** 2)), float(np.sum(J * w**2))
        reverse = T2 * J[1] > L2  # ω goes round the axis of smallest inertia: count axes backwards
        if reverse:
            J, w = J[::-1], w[::-1]
        J1, J2, J3 = J
        upper = abs(J1 * (J3 - J1) * w[0] ** 2 + J2 * (J3 - J2) * w[1] ** 2)  # |2T J₃ − L²|
        lower = abs(J2 * (J2 - J1) * w[1] ** 2 + J3 * (J3 - J1) * w[2] ** 2)  # |L² − 2T J₁|
        d12, d13, d23 = abs(J2 - J1), abs(J3 - J1), abs(J3 - J2)
        rate = np.sqrt(d23 * lower / (J1 * J2 * J3))
        m = d12 * upper / max(d23 * lower, 1e-300)
        top = np.sqrt([upper / (J1 * d13), upper / (J2 * d23), lower / (J3 * d13)])
        side = 1.0 if w[2] >= 0 else -1.0
        begin = ellipkinc(np.arctan2(side * w[1] * top[0], w[0] * top[1]), m)
        sn, cn, dn, _ = ellipj(rate * t + begin, m)
        spin = np.stack([top[0] * cn, side * top[1] * sn, side * top[2] * dn], -1)
        return spin[:, ::-1] if reverse else spin

    def attitude(self, times: ArrayLike) -> Doubles:
        """Rotation from time zero, in space, ``(time, 3, 3)``."""
        t = np.asarray(times, dtype=np.float64)
        asked, place = np.unique(np.append(t, 0.0), return_inverse=True)
        if asked[0] < 0:
            raise InputError(f"times of a top must not be negative, got {asked[0]} fs")

        def rate(time: float, matrix: Doubles) -> Doubles:
            return np.cross(matrix.reshape(3, 3), self.body_spin([time])[0]).ravel()  # R [ω]×

        span = (0.0, max(float(asked[-1]), 1e-9))
        found = solve_ivp(rate, span, np.eye(3).ravel(), "DOP853", asked, rtol=1e-12, atol=1e-12)
        rotations = Rotation.from_matrix(found.y.T[place[:-1]].reshape(-1, 3, 3)).as_matrix()
        return np.asarray(self.axes @ rotations @ self.axes.T)

    def state(self, times: ArrayLike) -> tuple[Doubles, Doubles]:
        """See :meth:`Motion.state`."""
        t = np.asarray(times, dtype=np.float64)[:, None, None]
        middle = self.masses @ self.reference / self.masses.sum()
        R = self.attitude(times)
        arms = (self.reference - middle) @ np.swapaxes(R, 1, 2)
        spin = (R @ self.axes @ self.body_spin(times)[..., None])[..., 0]
        velocities = np.cross(spin[:, None], arms) + self.drift
        return middle + arms + self.drift * t, velocities


def asymmetric_top(
    molecule: str = "CH3CH2OH",
    *,
    temperature: float = 500.0,
    spin: ArrayLike | None = None,
    drift: Sequence[float] = (0.0, 0.0, 0.0),
    seed: int = 0,
) -> AsymmetricTop:
    """Let a rigid molecule tumble about no axis in particular.

    Parameters
    ----------
    molecule
        Name in ASE's G2 collection; it must have three different moments of inertia.
    temperature
        In K; draws the spin, ½ k_B T about each axis on average.
    spin
        Angular velocity along the principal axes in place of a drawn one, ``(3,)`` in 1/fs.
    drift
        Velocity of the centre of mass in Å/fs.
    seed
        Of spin and orientation.
    """
    from ase.build import molecule as build

    built = build(molecule)
    generator = np.random.default_rng(seed)
    z = np.asarray(built.numbers, dtype=np.int64)
    x = built.positions @ Rotation.random(rng=generator).as_matrix()
    masses = masses_of(z)
    arms = x - masses @ x / masses.sum()
    second = (masses[:, None] * arms).T @ arms
    moments, axes = np.linalg.eigh(np.trace(second) * np.eye(3) - second)
    if np.min(np.diff(moments)) < 1e-3 * moments[-1] or moments[0] < 1e-3 * moments[-1]:
        raise InputError(f"{molecule} is not an asymmetric top: its moments are {moments} u Å²")
    axes[:, 2] *= np.sign(np.linalg.det(axes))
    if spin is None:
        spin = generator.normal(size=3) * np.sqrt(BOLTZMANN * temperature / moments)
    return AsymmetricTop(z, x, moments, axes, np.asarray(spin, float), np.asarray(drift, float))


@dataclass(frozen=True, eq=False)
class CounterRotors(Motion):
    """Two rigid parts that turn about one axis in opposite senses, without angular momentum.

    Each part is balanced on the axis (its centre of mass lies on it, its products of inertia with
    it are zero), so with ω₂ = −ω₁ I₁/I₂ momentum and angular momentum vanish at every time.

    Parameters
    ----------
    origin, axis
        A point on the axis, and its direction of length one, ``(3,)``.
    rates
        Angular velocity of each atom about the axis, ``(atom,)`` in 1/fs.
    """

    origin: Doubles
    axis: Doubles
    rates: Doubles

    def state(self, times: ArrayLike) -> tuple[Doubles, Doubles]:
        """See :meth:`Motion.state`."""
        t = np.asarray(times, dtype=np.float64)
        angle = (t[:, None] * self.rates)[..., None]  # (time, atom, 1)
        arms = self.reference - self.origin
        along = (arms @ self.axis)[:, None] * self.axis
        across, third = arms - along, np.cross(self.axis, arms)
        positions = self.origin + along + np.cos(angle) * across + np.sin(angle) * third
        velocities = np.cos(angle) * third - np.sin(angle) * across
        return positions, self.rates[:, None] * velocities


def counter_rotors(
    *, rate: float | None = None, temperature: float = 500.0, seed: int = 0
) -> CounterRotors:
    """Toluene with a freely turning methyl group, the ring turning the other way.

    Atoms 0 to 6 are carbons (0 the methyl carbon, 1 its neighbour in the ring), 7 to 9 hydrogens of
    the methyl group, 10 to 14 of the ring.

    Parameters
    ----------
    rate
        Angular velocity of the methyl group in 1/fs; None is the thermal √(k_B T/I) with its sign
        drawn.
    temperature
        In K.
    seed
        Of orientation and sign.
    """
    generator = np.random.default_rng(seed)
    ring, hydrogens = _hexagon(1.39), _hexagon(2.48)[1:]
    methyl = np.array([[1.39 + 1.51, 0.0, 0.0]])
    turn = 2 * np.pi / 3 * np.arange(3)
    tilt = np.arccos(-1 / 3)  # tetrahedral
    spokes = 1.09 * np.stack(
        [
            np.full(3, -np.cos(tilt)),
            np.sin(tilt) * np.cos(turn),
            np.sin(tilt) * np.sin(turn),
        ],
        1,
    )
    x = np.concatenate([methyl, ring, methyl + spokes, hydrogens])
    z = np.array([6] * 7 + [1] * 8)
    part = np.isin(np.arange(15), [0, 7, 8, 9])
    share = masses_of(z) * (x[:, 1] ** 2 + x[:, 2] ** 2)
    inertia, other = float(share[part].sum()), float(share[~part].sum())
    if rate is None:
        rate = float(np.sqrt(BOLTZMANN * temperature / inertia) * generator.choice([-1.0, 1.0]))
    orientation = Rotation.random(rng=generator).as_matrix()
    rates = np.where(part, rate, -rate * inertia / other)
    return CounterRotors(z, x @ orientation.T, np.zeros(3), orientation[:, 0], rates)


def _hexagon(radius: float) -> Doubles:
    """Corners of a regular hexagon in the xy plane, the first on the x axis, ``(6, 3)``."""
    angle = np.pi / 3 * np.arange(6)
    return radius * np.stack([np.cos(angle), np.sin(angle), np.zeros(6)], 1)

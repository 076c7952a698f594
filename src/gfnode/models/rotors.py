"""Internal rotors, groups that rotate about a single bond: angular momentum and rotation."""

import torch
from torch import Tensor, nn

from gfnode.graph import rotors as find_rotors
from gfnode.trajectory import Doubles, Integers

_LEAST = 1e-12


class Rotors(nn.Module):
    """The rotors of a molecule, see :func:`gfnode.graph.rotors`.

    *Tips* are terminal rotors, which contain no other rotor, such as methyl groups: no atom
    belongs to two of them.

    Parameters
    ----------
    bonds, masses
        Of the molecule; without bonds there are no rotors.
    """

    axes: Tensor
    mass: Tensor
    tip: Tensor
    tip_of: Tensor
    turns: Tensor

    def __init__(self, bonds: Integers, masses: Doubles) -> None:
        super().__init__()
        groups = find_rotors(bonds, masses)
        members = torch.as_tensor(groups.members, dtype=torch.float32)
        mass = members * torch.as_tensor(masses, dtype=torch.float32)
        within = members @ members.mT == members.sum(1)  # (rotor, rotor): the second in the first
        tip = within.sum(1) == 1
        held = members * tip[:, None]
        self.register_buffer("axes", torch.as_tensor(groups.axes), persistent=False)
        self.register_buffer("mass", mass, persistent=False)  # (rotor, atom), 0 of other atoms
        self.register_buffer("tip", tip, persistent=False)  # (rotor,)
        turns = held.sum(0) > 0
        self.register_buffer("turns", turns, persistent=False)  # (atom,) in a tip
        of = held.argmax(0) if len(held) else torch.zeros(len(masses), dtype=torch.long)
        self.register_buffer("tip_of", of, persistent=False)  # (atom,) which, where in one

    def __len__(self) -> int:
        return len(self.axes)

    def spins(self, r: Tensor, v: Tensor, inertia: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Angular momentum and angular velocity of each rotor about its bond, relative to the body.

        L_b = a (S − k·ω) with the angular momentum S about the bond a in the laboratory frame and
        k = I_b a. The angular velocity ω of the body solves (I − Σ_b a kᵀ) ω = L − Σ_b a S.

        Parameters
        ----------
        r, v
            About the centre of mass, ``(batch, atom, 3)`` in Å and Å/fs.
        inertia, total
            I in u Å² and L in u Å²/fs of the molecule.

        Returns
        -------
        Tensor, Tensor
            L_b, ``(batch, rotor, 3)`` in u Å²/fs, and a·L_b/(a·k), ``(batch, rotor)`` in 1/fs.
        """
        if not len(self):
            return r.new_zeros(len(r), 0, 3), r.new_zeros(len(r), 0)
        mass = self.mass
        hinge, far = self.axes.T
        r0, v0 = r[:, hinge], v[:, hinge]
        arm, whole = mass @ r, mass.sum(-1)[:, None]
        # Σ m (r − r0) × (v − v0), multiplied out so that nothing is (rotor, atom, 3) a sample
        spin = (
            mass @ torch.linalg.cross(r, v)
            - torch.linalg.cross(arm, v0)
            - torch.linalg.cross(r0, mass @ v)
            + whole * torch.linalg.cross(r0, v0)
        )
        axis = nn.functional.normalize(r0 - r[:, far], dim=-1)
        spin = (spin * axis).sum(-1, keepdim=True)
        # Σ m (r − r0)(r − r0)ᵀ, multiplied out too
        second = (mass @ _outer(r, r).flatten(-2)).unflatten(-1, (3, 3))
        second = second - _outer(arm, r0) - _outer(r0, arm) + whole[..., None] * _outer(r0, r0)
        size = second.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
        own = size * axis - (second @ axis[..., None])[..., 0]  # k
        # singular where all inertia about an axis is that of rotors: ω is then zero along it
        body = torch.linalg.pinv(inertia - axis.mT @ own, rtol=1e-3)
        omega = body @ (total - (spin * axis).sum(-2))[..., None]
        against = spin - own @ omega
        moment = (own * axis).sum(-1, keepdim=True).clamp(min=_LEAST)
        return against * axis, (against / moment)[..., 0]

    def _arms(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bond axis, foot point on it and arm from there, of each atom, ``(…, atom, 3)``."""
        hinge, far = self.axes[self.tip_of].T
        start = x[..., hinge, :]
        axis = nn.functional.normalize(start - x[..., far, :], dim=-1)
        away = x - start
        along = (away * axis).sum(-1, keepdim=True) * axis
        return axis, start + along, away - along

    def turn(self, x: Tensor, angles: Tensor) -> Tensor:
        """Rotate the terminal rotors of ``(…, atom, 3)`` by angles ``(…, rotor)``."""
        if not len(self):
            return x
        axis, foot, arm = self._arms(x)
        angle = angles[..., self.tip_of, None]
        turned = foot + arm * angle.cos() + torch.linalg.cross(axis, arm) * angle.sin()
        return torch.where(self.turns[:, None], turned, x)

    def spinning(self, x: Tensor, rates: Tensor) -> Tensor:
        """Velocities ``(…, atom, 3)`` of terminal rotors with angular velocities ``(…, rotor)``."""
        if not len(self):
            return torch.zeros_like(x)
        axis, _, arm = self._arms(x)
        around = torch.linalg.cross(axis, arm) * rates[..., self.tip_of, None]
        return torch.where(self.turns[:, None], around, 0.0)

    def alignment(self, start: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        """Mass-weighted overlaps of the arms of terminal rotors, ``(…, rotor)`` in u Å² each.

        First A = Σ m a·a', then B = Σ m (n × a)·a', with arms a at the start, a' later, and the
        bond n. With the arms of the start rotated by θ, the overlap is A cos θ + B sin θ.
        """
        axis, _, arm = self._arms(start)
        now = self._arms(later)[2]
        alike = torch.stack([(now * arm).sum(-1), (now * torch.linalg.cross(axis, arm)).sum(-1)])
        first, second = alike @ (self.mass * self.tip[:, None]).mT
        return first, second


def _outer(x: Tensor, y: Tensor) -> Tensor:
    return x[..., :, None] * y[..., None, :]

"""Groups that turn about a single bond: their spin, and where it takes them."""

import torch
from torch import Tensor, nn

from gfnode.graph import rotors as find_rotors
from gfnode.trajectory import Doubles, Integers

_LEAST = 1e-12


class Rotors(nn.Module):
    """The rotors of a molecule, see :func:`gfnode.graph.rotors`.

    *Tips* are those that hold no other rotor, such as methyl groups: no atom belongs to two.

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
        """Angular momentum of each rotor about its bond, against the body, and its rate.

        With L_b = a (S − k·ω) of the spin S in space and k = I_b a, the body turns by ω of
        (I − Σ_b a kᵀ) ω = L − Σ_b a S.

        Parameters
        ----------
        r, v
            About the centre of mass, ``(batch, atom, 3)`` in Å and Å/fs.
        inertia, total
            I in u Å² and L in u Å²/fs of the molecule.

        Returns
        -------
        Tensor, Tensor
            ``(batch, rotor, 3)`` in u Å²/fs, and a·L_b/a·k, ``(batch, rotor)`` in 1/fs.
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
        # where nothing but rotors lies along an axis, nothing is known of the turn about it
        body = torch.linalg.pinv(inertia - axis.mT @ own, rtol=1e-3)
        omega = body @ (total - (spin * axis).sum(-2))[..., None]
        against = spin - own @ omega
        moment = (own * axis).sum(-1, keepdim=True).clamp(min=_LEAST)
        return against * axis, (against / moment)[..., 0]

    def _arms(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Axis, what lies along it from the hinge, and the arm to each atom, ``(…, atom, 3)``."""
        hinge, far = self.axes[self.tip_of].T
        start = x[..., hinge, :]
        axis = nn.functional.normalize(start - x[..., far, :], dim=-1)
        away = x - start
        along = (away * axis).sum(-1, keepdim=True) * axis
        return axis, start + along, away - along

    def turn(self, x: Tensor, angles: Tensor) -> Tensor:
        """Turn the tips of ``(…, atom, 3)`` about their bonds by angles ``(…, rotor)``."""
        if not len(self):
            return x
        axis, foot, arm = self._arms(x)
        angle = angles[..., self.tip_of, None]
        turned = foot + arm * angle.cos() + torch.linalg.cross(axis, arm) * angle.sin()
        return torch.where(self.turns[:, None], turned, x)

    def spinning(self, x: Tensor, rates: Tensor) -> Tensor:
        """Velocities of the atoms where tips turn by rates ``(…, rotor)``, ``(…, atom, 3)``."""
        if not len(self):
            return torch.zeros_like(x)
        axis, _, arm = self._arms(x)
        around = torch.linalg.cross(axis, arm) * rates[..., self.tip_of, None]
        return torch.where(self.turns[:, None], around, 0.0)

    def alignment(self, start: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        """How like their arms are, unturned and turned by a quarter, ``(…, rotor)`` each.

        A turn by θ in between makes them cos θ of the first and sin θ of the second alike.
        """
        axis, _, arm = self._arms(start)
        now = self._arms(later)[2]
        alike = torch.stack([(now * arm).sum(-1), (now * torch.linalg.cross(axis, arm)).sum(-1)])
        first, second = alike @ (self.mass * self.tip[:, None]).mT
        return first, second


def _outer(x: Tensor, y: Tensor) -> Tensor:
    return x[..., :, None] * y[..., None, :]

"""Interaction of modes: the dynamics of one mode may depend on all of them."""

from typing import Literal

import torch
from torch import Tensor, nn


class InteractingDynamics(nn.Module):
    """Independent dynamics of each mode, after which the modes gate each other at every time.

    With Z_s the amplitudes ``(mode · row, feature)`` of all modes of eigenspace s::

        Z_s ← Z_s + (Z_s A ⊙ g_s) B
        q_s = [Σ (Z_s P) ⊙ (Z_s Q) / (1 + a_s), log(1 + a_s), λ_s/λ_max],   a_s = Σ Z_s² / width
        g_s = tanh MLP(q_s, Σ_r softmax_r(k(q_s)·k'(q_r)/√d) u(q_r))     (attention)
        g_s = tanh MLP(q_1, q_2, …)_s                                  (concatenation)

    q_s are invariant under rotations of the modes inside the eigenspace, changes of their sign, and
    rotations of the rows, so Z is equivariant. B is initialised to zero: there is no interaction
    when training begins.

    Parameters
    ----------
    dynamics
        Dynamics of each mode.
    eigenvalues, spaces
        λ and eigenspace of each mode, ``(mode,)``.
    width
        Length of the feature axis.
    kind
        ``attention`` or ``concatenation``.
    """

    hidden = 16
    """Number of gates and of invariants."""

    spaces: Tensor
    member: Tensor
    frequency: Tensor

    def __init__(
        self,
        dynamics: nn.Module,
        eigenvalues: Tensor,
        spaces: Tensor,
        width: int,
        *,
        kind: Literal["attention", "concatenation"],
    ) -> None:
        super().__init__()
        self.dynamics, self.kind, hidden = dynamics, kind, self.hidden
        n_spaces, known = int(spaces.max()) + 1, hidden + 2
        member = torch.nn.functional.one_hot(spaces).T.to(eigenvalues)
        self.register_buffer("spaces", spaces.clone())
        self.register_buffer("member", member, persistent=False)  # (space, mode)
        mean = member @ eigenvalues / member.sum(1)
        scaled = (mean / eigenvalues.max().clamp(min=1e-12))[:, None]
        self.register_buffer("frequency", scaled, persistent=False)
        self.read = nn.Linear(width, 3 * hidden, bias=False)  # P, Q and A
        self.write = nn.Linear(hidden, width, bias=False)
        nn.init.zeros_(self.write.weight)
        if kind == "attention":
            self.attend = nn.Linear(known, 3 * hidden)
            self.gates = _gates(known + hidden, hidden, hidden)
        else:
            self.gates = _gates(n_spaces * known, hidden, n_spaces * hidden)

    def forward(self, amplitudes: Tensor, times: Tensor) -> Tensor:
        """Carry ``(batch, mode, row, feature)`` to times, ``(batch, time, mode, row, feature)``."""
        z = self.dynamics(amplitudes, times)
        left, right, carried = self.read(z).chunk(3, -1)
        products = self.member @ (left * right).sum(-2)  # (batch, time, space, hidden)
        size = self.member @ z.square().sum(-2).mean(-1, keepdim=True)
        frequency = self.frequency.expand_as(size)
        q = torch.cat([products / (1 + size), size.log1p(), frequency], -1)
        gates = (self._attention(q) if self.kind == "attention" else self._concatenation(q)).tanh()
        gated = carried * gates[:, :, self.spaces, None]
        result: Tensor = z + self.write(gated)
        return result

    def _attention(self, q: Tensor) -> Tensor:
        asked, offered, told = self.attend(q).chunk(3, -1)
        heard = nn.functional.scaled_dot_product_attention(asked, offered, told)
        gates: Tensor = self.gates(torch.cat([q, heard], -1))
        return gates

    def _concatenation(self, q: Tensor) -> Tensor:
        gates: Tensor = self.gates(q.flatten(-2))
        return gates.unflatten(-1, (-1, self.hidden))


def _gates(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))

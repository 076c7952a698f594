"""Input features of atoms and edges: invariants of the start."""

import torch
from torch import Tensor, nn

from gfnode.molecule.system import System


class AtomInputs(nn.Module):
    """Embed atoms, and list the scalars of edges.

    Atoms: |v|, Z/Z_max, and the frame's invariants, mapped linearly to features. Edges: Z_i, Z_j,
    hop, 1 for a rigid bond else 0, and the squared distance at the start.

    Parameters
    ----------
    system
        The molecular system.
    extra
        Number of invariants that the frame adds.
    width
        Features an atom.
    """

    n_edge_scalars = 5
    charges: Tensor
    static: Tensor
    edges: Tensor

    def __init__(self, system: System, extra: int, width: int) -> None:
        super().__init__()
        numbers = torch.as_tensor(system.numbers, dtype=torch.float32)
        edges = torch.as_tensor(system.edges.index)
        hop = torch.as_tensor(system.edges.hop, dtype=torch.float32)
        marked = {pair for i, j in system.rigid.tolist() for pair in ((i, j), (j, i))}
        rigid = torch.tensor([float(pair in marked) for pair in map(tuple, edges.T.tolist())])
        static = torch.stack([numbers[edges[0]], numbers[edges[1]], hop, rigid], -1)
        self.register_buffer("charges", numbers / numbers.max(), persistent=False)
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("static", static, persistent=False)
        self.embed = nn.Linear(2 + extra, width)

    def forward(
        self, positions: Tensor, velocities: Tensor, extra: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Features ``(atom, batch, feature)`` and edge scalars ``(edge, batch, 5)`` of a start.

        Parameters
        ----------
        positions, velocities
            ``(batch, atom, 3)`` in units of length of the model, and units a time step.
        extra
            Invariants of the frame, ``(batch, atom, extra)``.
        """
        speed = torch.linalg.vector_norm(velocities, dim=-1)
        scalars = torch.stack([speed, self.charges.expand_as(speed)], -1)
        if extra is not None:
            scalars = torch.cat([scalars, extra], -1)
        i, j = self.edges
        x = positions.transpose(0, 1)
        distance = (x[i] - x[j]).square().sum(-1, keepdim=True)  # (edge, batch, 1)
        static = self.static[:, None].expand(-1, len(positions), -1)
        return self.embed(scalars.transpose(0, 1)), torch.cat([static, distance], -1)

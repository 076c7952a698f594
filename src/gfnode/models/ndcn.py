"""NDCN: node states that diffuse over the graph by a neural ODE."""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from scipy import sparse
from torch import Tensor, nn

from gfnode.dynamics import Steps, solve
from gfnode.graph import laplacian
from gfnode.models.base import ALONE, Model, Symmetry
from gfnode.models.layers import AtomMatrix
from gfnode.molecule.system import System
from gfnode.settings import LengthUnit, Settings, Width

if TYPE_CHECKING:
    from gfnode.windows import Batch


class NDCNSettings(Settings):
    """What an NDCN is composed of."""

    width: Width = 64
    """Features per atom."""
    predicts: Literal["displacement", "position"] = "displacement"
    """`displacement` from the start, zero when training starts, or `position` relative to the
    centre of the start."""
    turned: bool = True
    """Rotate and reflect starts and their targets at random in training."""
    rtol: float = Field(1e-3, gt=0)
    """Relative tolerance of the ODE solver."""
    atol: float = Field(1e-4, gt=0)
    """Absolute tolerance of the ODE solver."""
    length_unit: LengthUnit = 1.0
    """Unit of length in the networks, in Å; 10 (nm) in the published experiments on alanine
    dipeptide."""


class NetworkDynamics(nn.Module):
    """Neural dynamics on a graph (Zang & Wang, KDD 2020), for any quantity of its nodes.

    With Φ = I − D^(−1/2) A D^(−1/2) and states H ``(node, width)``::

        H(0) = W₂ tanh(W₁ X + b₁) + b₂
        dH/dt = relu(Φ H W + b)
        Y(t) = H(t) W₃ + b₃

    Parameters
    ----------
    matrix
        Φ, ``(node, node)``.
    inputs, width, outputs
        Features of X, H and Y.
    rtol, atol
        Tolerances of the adaptive solver.

    Attributes
    ----------
    last_steps
        Solver steps of the latest call, ``(batch,)``.
    """

    def __init__(
        self,
        matrix: sparse.csr_array,
        inputs: int,
        width: int,
        outputs: int,
        *,
        rtol: float = 1e-3,
        atol: float = 1e-4,
    ) -> None:
        super().__init__()
        self.shape, self.rtol, self.atol = (matrix.shape[0], width), rtol, atol
        self.matrix = AtomMatrix(matrix)
        self.encode = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width))
        self.mix = nn.Linear(width, width)
        self.decode = nn.Linear(width, outputs)
        self.last_steps: Steps | None = None

    def derivative(self, h: Tensor) -> Tensor:
        """Compute dH/dt of ``(batch, node, width)``."""
        diffused = self.matrix(h.transpose(0, 1))
        return torch.relu(self.mix(diffused)).transpose(0, 1)

    def forward(self, nodes: Tensor, times: Tensor) -> Tensor:
        """Carry ``(batch, node, inputs)`` to times t ≥ 0, ``(batch, time)``.

        Returns
        -------
        Tensor
            ``(batch, time, node, outputs)``.
        """

        def field(t: Tensor, y: Tensor) -> Tensor:
            return self.derivative(y.unflatten(1, self.shape)).flatten(1)

        start = self.encode(nodes).flatten(1)
        moved, self.last_steps = solve(field, start, times, rtol=self.rtol, atol=self.atol)
        return self.decode(moved.unflatten(2, self.shape))


class NDCN(Model):
    """Neural dynamics on complex networks (Zang & Wang, KDD 2020, arXiv 1908.06491).

    An atom's state is its position about the centre of the start, its velocity (length a step) and
    Z/Z_max. The networks act on Cartesian components, so the model is not rotation equivariant.
    Training therefore augments every batch by random rotations and reflections, without which the
    model learns the orientations that occur in the training data.

    Parameters
    ----------
    system
        The molecular system.
    settings
        What it is composed of.
    """

    promises = ALONE | {Symmetry.TRANSLATION, Symmetry.PERMUTATION}
    charges: Tensor

    def __init__(self, system: System, settings: NDCNSettings) -> None:
        super().__init__(system)
        self.settings = s = settings
        numbers = torch.as_tensor(system.numbers, dtype=torch.float32)
        self.register_buffer("charges", (numbers / numbers.max())[:, None], persistent=False)
        matrix = laplacian(system.edges.index, system.n_atoms, "normalised")
        self.dynamics = NetworkDynamics(matrix, 7, s.width, 3, rtol=s.rtol, atol=s.atol)
        if s.predicts == "displacement":
            nn.init.zeros_(self.dynamics.decode.weight)
            nn.init.zeros_(self.dynamics.decode.bias)

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """See :meth:`gfnode.models.base.Model.forward`."""
        unit = self.settings.length_unit
        centre = positions.mean(1, keepdim=True)
        charges = self.charges.expand(len(positions), -1, -1)
        v = velocities * (self.system.time_step / unit)
        nodes = torch.cat([(positions - centre) / unit, v, charges], -1)
        moved = self.dynamics(nodes, lags / self.system.horizon) * unit
        origin = positions if self.settings.predicts == "displacement" else centre
        return origin[:, None] + moved

    def loss(self, batch: "Batch", generator: torch.Generator) -> Tensor:
        """See :meth:`gfnode.models.base.Model.loss`."""
        if self.settings.turned:
            x = batch.positions
            shape = (len(x), 3, 3)
            noise = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
            turn, rest = torch.linalg.qr(noise)
            turn = turn * rest.diagonal(dim1=1, dim2=2).sign()[:, None]  # uniform over O(3)
            batch = replace(
                batch,
                positions=x @ turn,
                velocities=batch.velocities @ turn,
                targets=batch.targets @ turn[:, None],
            )
        return super().loss(batch, generator)

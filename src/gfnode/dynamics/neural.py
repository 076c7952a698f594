"""Neural dynamics: a network of the mode's state, its eigenvalue and time."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from gfnode.dynamics.solver import Steps, solve

TimeInput = Literal["none", "scalar", "sinusoidal"]
OCTAVES = 4


class NeuralDynamics(nn.Module):
    """Modes that obey dH̃_k/dt = f_θ(H̃_k, λ_k, t), solved adaptively (eq. 6 and 7 of the paper).

    The modes of one eigenspace are coupled. With Z their amplitudes ``(mode · row, feature)``,

        dZ/dt = Z W₀ + (Z W₁ ⊙ g) W₂,
        g = tanh MLP(q / (1 + s), log(1 + s), λ / λ_max, t),
        q = Σ (Z P) ⊙ (Z Q) over modes and rows,   s = Σ Z² / width.

    q and s are invariant under rotations of the modes inside the eigenspace, changes of their sign,
    and rotations of the rows, so Z is equivariant. The gates g lie in (−1, 1): Z grows at most
    exponentially, and the solution exists for all times.

    Parameters
    ----------
    eigenvalues
        λ of each mode, ``(mode,)``; λ_max is the largest of these.
    spaces
        Which eigenspace each mode belongs to, ``(mode,)``, counted from 0.
    width
        Length of the feature axis.
    hidden
        Number of gates, of invariants, and width of the network.
    rtol, atol
        Tolerances of the solver, see :func:`gfnode.dynamics.solve`.
    max_steps
        Most solver steps per unit of time.
    time_input
        Dependence of f_θ on time: ``scalar`` t, ``sinusoidal`` sin and cos of 2^k π t for
        k = 0 … 3, or ``none`` (an autonomous ODE).

    Attributes
    ----------
    last_steps
        Solver steps of the latest call, ``(batch, space)``; stiffer modes take more.

    Raises
    ------
    SolverError
        From ``forward``, when the solver does not converge.
    """

    members: Tensor
    present: Tensor
    places: Tensor
    frequency: Tensor

    def __init__(
        self,
        eigenvalues: Tensor,
        spaces: Tensor,
        width: int,
        hidden: int = 64,
        *,
        rtol: float = 1e-3,
        atol: float = 1e-4,
        max_steps: int = 500,
        time_input: TimeInput = "scalar",
    ) -> None:
        super().__init__()
        self.time_input = time_input
        self.rtol, self.atol, self.max_steps = rtol, atol, max_steps
        # Eigenspaces are padded to the largest multiplicity. Zeros stay zero, for dZ/dt is odd.
        groups = [torch.nonzero(spaces == k).flatten() for k in range(int(spaces.max()) + 1)]
        members = nn.utils.rnn.pad_sequence(groups, batch_first=True, padding_value=-1)
        self.register_buffer("members", members.clamp(min=0))
        self.register_buffer("present", members >= 0)
        filled = torch.nonzero(members.flatten() >= 0).flatten()
        self.register_buffer("places", filled[members.flatten()[filled].argsort()])
        eigenvalues = eigenvalues.to(torch.get_default_dtype())  # those of a basis are doubles
        values = eigenvalues[members[:, 0]]
        self.register_buffer("frequency", values / eigenvalues.max().clamp(min=1e-12))

        self.linear = nn.Linear(width, width, bias=False)
        self.read = nn.Linear(width, 3 * hidden, bias=False)
        self.write = nn.Linear(hidden, width, bias=False)
        told = {"none": 0, "scalar": 1, "sinusoidal": 2 * OCTAVES}[time_input]
        self.gates = nn.Sequential(
            nn.Linear(hidden + 2 + told, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.Tanh()
        )
        # Close to no motion at the start of training.
        nn.init.zeros_(self.linear.weight)
        with torch.no_grad():
            self.write.weight.mul_(0.1)
        self.last_steps: Steps | None = None

    def forward(self, amplitudes: Tensor, times: Tensor) -> Tensor:
        """Carry ``(batch, mode, row, feature)`` to times t ≥ 0, ``(batch, time)``.

        Returns
        -------
        Tensor
            ``(batch, time, mode, row, feature)``.
        """
        batch, _, rows, width = amplitudes.shape
        n_spaces, multiplicity = self.members.shape
        padded = amplitudes[:, self.members] * self.present[:, :, None, None]
        frequency = self.frequency.repeat(batch)

        def field(t: Tensor, y: Tensor) -> Tensor:
            z = y.reshape(-1, multiplicity * rows, width)
            return self.derivative(z, t, frequency).flatten(1)

        sizes = (self.present.sum(1) * rows * width).repeat(batch).to(amplitudes.dtype)
        result, steps = solve(
            field,
            padded.flatten(0, 1).flatten(1),
            times.repeat_interleave(n_spaces, dim=0),
            rtol=self.rtol,
            atol=self.atol,
            sizes=sizes,
            max_steps=self.max_steps,
        )
        shape = (batch, n_spaces)
        self.last_steps = Steps(steps.taken.reshape(shape), steps.accepted.reshape(shape))
        result = result.reshape(batch, n_spaces, -1, multiplicity, rows, width)
        return result.transpose(1, 2).flatten(2, 3)[:, :, self.places]

    def derivative(self, z: Tensor, t: Tensor, frequency: Tensor) -> Tensor:
        """Compute dZ/dt; Z ``(instance, mode · row, feature)``, t and λ/λ_max ``(instance,)``."""
        left, right, carried = self.read(z).chunk(3, dim=-1)
        products = (left * right).sum(1)
        size = z.square().sum(1).mean(-1, keepdim=True)
        context = [size.log1p(), frequency[:, None], *self._time(t[:, None].to(z.dtype))]
        gates = self.gates(torch.cat([products / (1 + size), *context], dim=-1))
        derivative: Tensor = self.linear(z) + self.write(carried * gates[:, None])
        return derivative

    def _time(self, t: Tensor) -> list[Tensor]:
        if self.time_input == "none":
            return []
        if self.time_input == "scalar":
            return [t]
        angles = t * math.pi * 2.0 ** torch.arange(OCTAVES, device=t.device)
        return [angles.sin(), angles.cos()]

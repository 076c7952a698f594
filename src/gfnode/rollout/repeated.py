"""A model that predicts beyond its stride by repeated application of another one."""

from typing import ClassVar

import torch
from torch import Tensor

from gfnode.geometry import center
from gfnode.models import Model, Symmetry
from gfnode.rollout.apply import Difference


class Repeated(Model):
    """Repeated point prediction of a model, as a model, for evaluation for example.

    A lag τ is reached in n = ⌈τ/stride⌉ − 1 applications of one stride and a last one of the
    remainder. Up to the stride it is the model itself.

    Parameters
    ----------
    model
        The model to apply. The result for one that couples lags depends on the additional lags
        that are predicted here.
    stride
        Time of one application, fs.
    gap
        Gap of velocities, see :class:`~gfnode.rollout.apply.Difference`.
    """

    promises: ClassVar[frozenset[Symmetry]] = frozenset()

    def __init__(self, model: Model, stride: float, gap: float | None = None) -> None:
        super().__init__(model.system)
        self.model, self.stride = model, stride
        self.velocities = Difference(gap, stride)

    @property
    def kept(self) -> frozenset[Symmetry]:
        """The symmetries of the wrapped model."""
        return self.model.kept

    def rows(self, times: int) -> int:
        """See :meth:`Model.rows`."""
        return self.model.rows(times + 1 + len(self.velocities.offsets))

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Predict; see :meth:`Model.forward`."""
        x, v, origin = positions, velocities, positions.new_zeros(len(positions), 1, 3).double()
        result = positions.unsqueeze(1).repeat(1, lags.shape[1], 1, 1)
        extra = lags.new_tensor([self.stride, *(self.stride + o for o in self.velocities.offsets)])
        extra = extra.expand(len(lags), -1)
        steps = (lags / self.stride * (1 - 1e-6)).floor().long()  # applications before the last
        draw = torch.Generator(x.device)
        for n in range(int(steps.max()) + 1 if lags.numel() else 0):
            middle = center(x)
            x, origin = x - middle, origin + middle
            mine = (steps == n) & (lags > 0)
            rest = torch.where(mine, lags - n * self.stride, self.stride)
            found = self.restore_fixed_atoms(x, self.model(x, v, torch.cat([rest, extra], 1)))
            placed = (found[:, : lags.shape[1]] + origin[:, None]).to(result.dtype)
            result = torch.where(mine[..., None, None], placed, result)
            x, around = found[:, lags.shape[1]], found[:, lags.shape[1] + 1 :]
            v = self.velocities(x, around, draw)
        return result

"""Adaptive Dormand-Prince 5(4) for many problems at once, each with its own steps and times.

The method, its dense output and the loop are torchode's (Lienen & Günnemann 2022). The error of a
step is measured here by Euclidean norms instead of componentwise: the norm, and so the steps and
the result, are invariant under rotation of the molecule and of the basis of an eigenspace.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gfnode.errors import InputError

Field = Callable[[Tensor, Tensor], Tensor]
"""The right-hand side: f(t, y) for t ``(instance,)`` and y ``(instance, feature)``."""


class SolverError(ArithmeticError):
    """The solver did not reach the end: the problem is too stiff, or the solution not finite."""


@dataclass(frozen=True)
class Steps:
    """Number of steps of each instance, and of accepted ones, ``(instance,)``."""

    taken: Tensor
    accepted: Tensor


def solve(
    field: Field,
    start: Tensor,
    times: Tensor,
    *,
    rtol: float = 1e-3,
    atol: float = 1e-4,
    sizes: Tensor | None = None,
    step: float | None = None,
    max_steps: int = 500,
) -> tuple[Tensor, Steps]:
    """Integrate dy/dt = f(t, y) from t = 0 with Dormand-Prince 5(4).

    A step is accepted when rms(error) < atol + rtol · max(rms(y₀), rms(y₁)) over the features of
    the instance. Each interval [0, 1], [1, 2], … is integrated to its end, whatever the times, and
    evaluated by dense output (order four): a result never depends on the other times.

    Parameters
    ----------
    field
        f(t, y), differentiable.
    start
        y at t = 0, ``(instance, feature)``.
    times
        t ≥ 0, ``(instance, time)``, in any order; t = 0 gives the start exactly.
    rtol, atol
        Relative and absolute tolerance of one step.
    sizes
        Number of features of each instance without padding, ``(instance,)``; all by default.
    step
        A fixed step > 0 in place of the adaptive one.
    max_steps
        Most steps that an instance may take per unit of time.

    Returns
    -------
    tuple[Tensor, Steps]
        y, ``(instance, time, feature)``, and the steps of each instance. Gradients go through the
        steps taken; their lengths count as constants.

    Raises
    ------
    SolverError
        When ``max_steps`` are not enough, or the state is no longer finite.
    InputError
        For arrays of other shapes, a time that is negative or no number, or a step that is not
        positive.
    """
    import torchode  # not at the top: it loads sympy, which takes half a second

    if not (start.ndim == times.ndim == 2 and len(start) == len(times)):
        raise InputError(
            f"start {tuple(start.shape)} and times {tuple(times.shape)}: expected "
            "(instance, feature) and (instance, time) of as many instances"
        )
    if step is not None and not step > 0:
        raise InputError(f"the fixed step is {step}, expected more than 0")
    times, order = times.sort(dim=1)
    if times.numel() == 0:
        return start.new_empty(*times.shape, start.shape[1]), _no_steps(start)
    if not (times >= 0).all():
        raise InputError(f"time {float(times.min()):.3g}: expected none before the start")
    if sizes is None:
        sizes = start.new_full((len(start),), start.shape[1])
    control = _NormControl(rtol, atol, sizes) if step is None else torchode.FixedStepController()
    term = torchode.ODETerm(field, with_stats=False)
    loop = torchode.AutoDiffAdjoint(
        torchode.Dopri5(),
        control,
        max_steps=max_steps if step is None else None,
        backprop_through_step_size_control=False,
    )
    fixed = None if step is None else times.new_full((len(times),), step)
    steps = _no_steps(start)
    state, result = start, start.new_zeros(())
    for stretch in range(max(1, int(times.max().ceil()))):
        begin, end = (times.new_full((len(times),), stretch + side) for side in (0, 1))
        wanted = torch.cat([times.clamp(stretch, stretch + 1), end[:, None]], dim=1)
        problem = torchode.InitialValueProblem(state, begin, end, wanted)
        solution = loop.solve(problem, term, fixed)
        _check(solution.status, max_steps)
        here = (times > stretch)[..., None]
        result = torch.where(here, solution.ys[:, :-1], result) if stretch else solution.ys[:, :-1]
        state = solution.ys[:, -1]
        steps.taken.add_(solution.stats["n_steps"])
        steps.accepted.add_(solution.stats["n_accepted"])
    return result.gather(1, order.argsort(1)[..., None].expand_as(result)), steps


class _NormControl(nn.Module):
    """torchode's integral controller, applied to the rms of each instance."""

    def __init__(self, rtol: float, atol: float, sizes: Tensor) -> None:
        from torchode import IntegralController

        super().__init__()
        self.rtol, self.atol, self.sizes = rtol, atol, sizes
        self.inner = IntegralController(atol, rtol).to(sizes.device)

    def rms(self, y: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(y, dim=1) / self.sizes.sqrt()
        return norm

    def init(
        self, term: Any, problem: Any, method_order: int, dt0: Any, *, stats: Any, args: Any
    ) -> tuple[Tensor, Any, Tensor]:
        """Choose the first step after Hairer, Nørsett & Wanner (1993), section II.4."""
        t0, y0 = problem.t_start, problem.y0
        f0 = term.vf(t0, y0, stats, args)
        with torch.no_grad():
            scale = self.atol + self.rtol * self.rms(y0)
            size, slope = self.rms(y0) / scale, self.rms(f0) / scale
            tiny = (size < 1e-5) | (slope < 1e-5)
            guess = torch.where(tiny, 1e-6, 0.01 * size / slope).clamp(max=1.0)
            f1 = term.vf(t0 + guess.to(t0.dtype), y0 + guess[:, None] * f0, stats, args)
            bend = torch.maximum(slope, self.rms(f1 - f0) / scale / guess)
            power = (0.01 / bend) ** (1 / (method_order + 1))
            power = torch.where(bend <= 1e-15, torch.clamp(guess * 1e-3, min=1e-6), power)
            first = torch.minimum(100 * guess, power).to(t0.dtype)
        _, state, _ = self.inner.init(term, problem, method_order, first, stats=stats, args=args)
        return first, state, f0

    @torch.no_grad()
    def adapt_step_size(  # noqa: PLR0917 - torchode's signature
        self, t0: Tensor, dt: Tensor, y0: Tensor, step_result: Any, state: Any, stats: Any
    ) -> tuple[Tensor, Tensor, Any, Tensor]:
        norms = (self.rms(v)[:, None] for v in (y0, step_result.y, step_result.error_estimate))
        before, after, error = norms
        seen = step_result._replace(y=after, error_estimate=error)
        accept, following, state, status = self.inner.adapt_step_size(
            t0, dt, before, seen, state, stats
        )
        return accept, following, state, status

    def merge_states(self, running: Tensor, current: Any, previous: Any) -> Any:
        return self.inner.merge_states(running, current, previous)


def _no_steps(start: Tensor) -> Steps:
    zero = torch.zeros(len(start), dtype=torch.long, device=start.device)
    return Steps(zero, zero.clone())


def _check(status: Tensor, max_steps: int) -> None:
    from torchode import Status

    if not (failed := status != Status.SUCCESS.value).any():
        return
    count, codes = int(failed.sum()), set(status[failed].tolist())
    if codes == {Status.REACHED_MAX_STEPS.value}:
        reason = f"{max_steps} steps were not enough: the equation is too stiff"
    else:
        reason = "the state is no longer finite"
    raise SolverError(
        f"the ODE solver failed in {count} of {len(status)} instances: {reason}; lower the "
        "learning rate, loosen rtol and atol, or use linear dynamics"
    )

"""The training loop: epochs, validation, the best weights, and a resumable state.

All random numbers of an epoch (order of windows, fresh lags) depend only on the seed and the index
of the epoch, and the learning rate on that of the step. So a resumed run ends at the same weights,
bit for bit on a CPU.
"""

import copy
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gfnode.ambient import seeded
from gfnode.errors import InputError
from gfnode.machine import memory_kept
from gfnode.models.base import Model, check_loss
from gfnode.training.callbacks import Callback, Callbacks
from gfnode.training.replay import GraphReplay
from gfnode.training.settings import TrainingSettings
from gfnode.training.state import EpochRecord, Progress, TrainingState
from gfnode.training.stepping import Loss, compile_loss, matmul_precision, setup_device
from gfnode.windows import Batch, Windows, to_device

CHUNK = 25
"""Steps whose windows are gathered at once, and after which losses are checked: the only points of
synchronisation with the device."""

EXPLODED = 100.0
"""Å² per coordinate; a larger loss is replaced by EXPLODED · log(loss) in the gradient, which is
continuous there. Modes that grow exponentially can raise the loss to 10³⁰ in a few steps; squares
of such gradients overflow in the optimizer, after which nothing would be learned."""


ADVICE = "Try a lower training.rate or a smaller training.clip, or check the data for outliers"


class Diverged(InputError):
    """The loss, or every validation error, is not a number."""


def choose_batch(windows: Windows, model: Model, settings: TrainingSettings) -> int:
    """Windows a batch: that of the settings, else one chosen by number of windows and memory.

    Raises
    ------
    InputError
        When the windows do not fill one batch.
    """
    if settings.batch is None:
        # at least four steps an epoch; activations of an EGNN stay below some 3 GiB
        fits = 500_000 // model.rows(windows.targets.shape[1])
        return max(1, min(64, len(windows) // 4, fits))
    if len(windows) < settings.batch:
        raise InputError(
            f"{len(windows)} training windows do not fill a batch of {settings.batch}: lower "
            "training.batch, raise windows.most where it limits them, shorten windows.horizon or "
            "give more frames"
        )
    return settings.batch


def validation_interval(
    parts: Mapping[str, Windows], model: Model, settings: TrainingSettings
) -> int:
    """Epochs between validations; training takes three times as long as a forward pass."""
    passes = model.estimate_effort(parts["validation"].targets.shape[1]) * len(parts["validation"])
    return settings.validate_every or max(1, math.ceil(passes / (3 * len(parts["train"]))))


def _groups(model: Model, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Parameter groups of networks, and of physical quantities; ``scale`` multiplies the rate."""
    physical = {id(parameter) for parameter in model.physical_parameters()}
    networks = [p for p in model.parameters() if id(p) not in physical]
    meant = [p for p in model.parameters() if id(p) in physical]
    scale = 1.0 if settings.physical_rate is None else settings.physical_rate / settings.rate
    groups = [{"params": networks, "scale": 1.0}]
    return groups + ([{"params": meant, "scale": scale, "weight_decay": 0.0}] if meant else [])


class Trainer:
    """Trains one model on one device.

    Parameters
    ----------
    model
        On the CPU.
    parts
        Windows of ``train`` and ``validation``, over the model's state atoms.
    settings, seed
        See :class:`TrainingSettings`.
    fresh_lags
        Draw the training lags anew for every epoch.
    accelerator
        As in Lightning Fabric: ``auto``, ``cpu``, ``cuda``, …
    blamed
        Makes the context in which steps and predictions run: what the model raises passes it.

    Raises
    ------
    InputError
        When a part has fewer windows than a batch.
    """

    def __init__(
        self,
        model: Model,
        parts: dict[str, Windows],
        settings: TrainingSettings,
        seed: int,
        *,
        fresh_lags: bool = False,
        accelerator: str = "auto",
        blamed: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.settings, self.seed, self.fresh_lags = settings, seed, fresh_lags
        self.blamed = blamed
        self.batch = choose_batch(parts["train"], model, settings)
        self.fabric = setup_device(accelerator)
        parts = to_device(parts, self.fabric.device)  # once: a batch is an index operation there
        self.train, self.validation = parts["train"], parts["validation"]
        self.batches = len(self.train) // self.batch
        self.validate_every = validation_interval(parts, model, settings)
        kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        on_gpu = self.fabric.device.type == "cuda"
        optimizer = kinds[settings.optimizer](
            _groups(model, settings),
            lr=settings.rate,
            weight_decay=settings.weight_decay,
            fused=True,  # one pass over all weights: ten times faster than one weight at a time
            capturable=on_gpu,
        )
        if on_gpu:  # CUDA graphs read the rates from fixed memory
            for group in optimizer.param_groups:
                group["lr"] = torch.tensor(group["lr"], device=self.fabric.device)
        self.module, self.optimizer = self.fabric.setup(model, optimizer)
        self.module.mark_forward_method("loss")
        self.loss: Loss = self.module.loss
        self.step: Callable[..., Tensor] = self._step
        self.errors: Callable[[], Tensor] = lambda: self._errors(self._gathered())
        self.generator = torch.Generator(self.fabric.device)
        averaged = None if settings.ema is None else copy.deepcopy(model).requires_grad_(False)
        self.average = get_ema_multi_avg_fn(settings.ema or 0.0)
        self.state = TrainingState(model, optimizer, averaged, Progress())

    def rate(self, epoch: int, step: int) -> float:
        """Learning rate at a step, counted over all epochs."""
        s = self.settings
        if s.schedule == "published":
            return s.rate * 0.5 ** (epoch // 2500)
        start = min(1.0, (step + 1) / max(1, s.warmup))
        if s.schedule == "constant":
            return s.rate * start
        return s.rate * start * 0.5 * (1 + math.cos(math.pi * step / (s.epochs * self.batches)))

    def run(self, *callbacks: Callback) -> Progress:
        """Train to the end, from the current state.

        A model that comes fitted is validated first, as training may not improve it.

        Parameters
        ----------
        *callbacks
            Told of the progress: every `CHUNK` steps and after every epoch.

        Raises
        ------
        Diverged
            When the loss is not finite (earlier checkpoints are kept), or no validation error was.
        """
        with memory_kept():
            for _ in self.running(*callbacks):
                pass
        return self.state.progress

    def running(self, *callbacks: Callback) -> Iterator[None]:
        """Train as :meth:`run`, as a generator that yields before each synchronisation.

        Several runs interleaved in this way keep a GPU busy; the result of each is that of a run
        by itself.
        """
        callback = Callbacks(*callbacks)
        try:
            yield from self._running(callback)
        finally:
            callback.close()

    def _running(self, callback: Callback) -> Iterator[None]:
        progress, s = self.state.progress, self.settings
        if progress.epoch == 0 and self.state.model.comes_fitted:
            self._as_fitted(callback)
        if progress.stopped is None:
            if s.compile:
                self._compile(callback)
            if s.replay and self.fabric.device.type == "cuda":
                self._record(callback)
        while progress.epoch < s.epochs and progress.stopped is None:
            record = yield from self._epoch(progress.epoch, callback)
            callback.epoch(self.state, record, self._advance(record))
        if not math.isfinite(progress.best_error):
            raise Diverged(
                f"the validation error was not finite in any of {progress.epoch} epochs, so no "
                f"weights are kept. {ADVICE}"
            )

    def _advance(self, record: EpochRecord) -> bool:
        """Add an epoch to the progress; whether its validation error is the lowest so far."""
        progress, s = self.state.progress, self.settings
        progress.epoch += 1
        progress.history.append(record)
        error = record.validation_error if s.select == "mean" else record.validation_error_last_lag
        better = False
        if error is not None:
            better = error < progress.best_error
            progress.validations_since_best = 0 if better else progress.validations_since_best + 1
            if better:
                progress.best_error, progress.best_epoch = error, progress.epoch
        if progress.epoch == s.epochs:
            progress.stopped = "all epochs done"
        elif s.patience is not None and progress.validations_since_best >= s.patience:
            progress.stopped = f"the validation error did not improve in {s.patience} validations"
        return better

    def _as_fitted(self, callback: Callback) -> None:
        """Validate before training; a finite error becomes the best so far."""
        error = self._validate()[self.settings.select == "last-lag"]
        if not math.isfinite(error):
            callback.note("fitted, before training: the validation error is not finite")
            return
        self.state.progress.best_error = error
        callback.start(self.state, error)

    def _compile(self, callback: Callback) -> None:
        """Compile the training step."""
        batch = self.train.batch(torch.arange(self.batch, device=self.fabric.device))
        self.module.train()
        with matmul_precision(self.settings.products):  # the precision is compiled in
            loss = compile_loss(self.state.model, batch, self.generator, callback.note)
        self.loss = loss or self.loss

    def _record(self, callback: Callback) -> None:
        """Run steps and validation as CUDA graphs."""
        batches = list(self._gathered())  # once: superposition synchronises
        self.step = GraphReplay(self._step, "steps", callback.note, self.generator)
        self.errors = GraphReplay(lambda: self._errors(batches), "validation", callback.note)

    def _epoch(self, epoch: int, callback: Callback) -> Generator[None, None, EpochRecord]:
        s, began = self.settings, perf_counter()
        windows, model = self.train, self.state.model
        if self.fresh_lags:
            windows = windows.redraw(model.system.horizon, [self.seed, epoch])
        seed = self.seed * 1_000_003 + epoch
        self.generator.manual_seed(seed)  # random numbers of the loss
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(windows), generator=generator).to(windows.device)
        total, rate = 0.0, s.rate
        self.module.train()
        for first in range(0, self.batches, CHUNK):
            end = min(first + CHUNK, self.batches)
            gathered = windows.batch(order[first * self.batch : end * self.batch])
            losses: list[Tensor] = []
            # seed of the global generator, for layers as dropout: set for every chunk, so that
            # neither interleaved runs nor an interruption change the numbers
            chance = int(torch.randint(2**62, (), generator=generator))
            with seeded(chance, accelerator=self.fabric.device.type), self.blamed():
                for number, batch in enumerate(gathered.split(self.batch), first):
                    rate = self.rate(epoch, epoch * self.batches + number)
                    self._set_rate(rate)
                    losses.append(self.step(*vars(batch).values()))
            yield
            total += self._collect(losses, epoch, first)
            callback.batch(epoch, end, total / end)
        if self.state.averaged is not None:  # buffers, as running statistics, are not averaged
            for kept, now in zip(self.state.averaged.buffers(), model.buffers(), strict=True):
                kept.copy_(now)
        elapsed = perf_counter() - began
        mean = last = None
        if (epoch + 1) % self.validate_every == 0 or epoch + 1 == s.epochs:
            mean, last = self._validate()
        return EpochRecord(
            epoch + 1,
            total / self.batches,
            mean,
            last,
            rate,
            self.batches * self.batch / elapsed,
        )

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * group["scale"])
            else:
                group["lr"] = rate * group["scale"]

    def _step(self, *batch: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        with matmul_precision(self.settings.products):
            loss = check_loss(self.loss(Batch(*batch), self.generator))
            self.fabric.backward(loss / (loss.detach() / EXPLODED).clamp(min=1.0))
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.state.model.parameters(), self.settings.clip)
        self.optimizer.step()
        if self.state.averaged is not None:
            now = list(self.state.model.parameters())
            self.average(list(self.state.averaged.parameters()), now, 0)
        return loss.detach()

    def _collect(self, losses: list[Tensor], epoch: int, first: int) -> float:
        values = torch.stack(losses)
        finite = values.isfinite()
        if not bool(finite.all()):
            batch = first + int((~finite).float().argmax()) + 1
            kept = "; the last good checkpoint is kept"
            if not math.isfinite(self.state.progress.best_error):
                kept = ", and no weights have been validated yet"
            raise Diverged(
                f"the training loss is not finite at epoch {epoch + 1}, batch {batch} of "
                f"{self.batches}{kept}. {ADVICE}"
            )
        return float(values.sum())

    def _gathered(self) -> Iterator[Batch]:
        """Validation windows in batches of the model's prediction batch size."""
        at_once = self.state.validated.at_once(self.validation.targets.shape[1])
        return self.validation.batches(at_once)

    @torch.no_grad()
    def _errors(self, batches: Iterable[Batch]) -> Tensor:
        """Mean squared errors in Å² over all lags, and at the last one, ``(2,)``."""
        model = self.state.validated.eval()
        total = torch.zeros(2, device=self.fabric.device)
        for batch in batches:
            predicted = model.estimate(batch.positions, batch.velocities, batch.lags)
            predicted = model.restore_fixed_atoms(batch.positions, predicted)
            errors = (predicted - batch.targets)[..., model.scored, :].square().mean((-1, -2))
            at_last = errors.gather(1, batch.lags.argmax(1, keepdim=True))
            total += torch.stack([errors.mean(1).sum(), at_last.sum()])
        self.state.model.train()
        return total / len(self.validation)

    def _validate(self) -> tuple[float, float]:
        with self.blamed():
            mean, last = self.errors().tolist()
        return mean, last

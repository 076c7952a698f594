"""The training loop: epochs, validation, the best weights, and a state from which to go on.

Everything random in an epoch (order of windows, fresh lags) comes from the seed and the number of
the epoch, and the learning rate from the number of the step. So an interrupted run that is taken
up again ends at the same weights, bit for bit on a CPU.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gfnode.errors import InputError
from gfnode.models.base import Model
from gfnode.settings import Settings
from gfnode.training.replay import Replayed, Step
from gfnode.training.stepping import Loss, Precision, compiled, launch, pays, products
from gfnode.windows import Batch, Windows, to_device

CHUNK = 25
"""Steps whose windows are gathered at once, and after which the losses are looked at: the only
waits for the device."""


class TrainingSettings(Settings):
    """How a model is trained.

    Parameters
    ----------
    epochs
        Epochs at most.
    batch
        Windows a batch; the last incomplete batch of an epoch is dropped. None chooses: 64, fewer
        where there are few windows or the molecule is large.
    rate, schedule, warmup
        Learning rate; ``cosine``: to zero over all epochs after ``warmup`` steps; ``published``:
        halved every 2500 epochs; ``constant``.
    physical_rate
        Learning rate of the parameters with a physical meaning (frequencies, dampings, memories,
        shares), on the same schedule; None: the same as of the networks.
    optimizer, weight_decay
        ``adamw`` or ``adam``; quantities with a physical meaning do not decay.
    clip
        Largest norm of the gradient; None leaves it.
    ema
        Decay of the moving average of the weights that is validated and kept; None keeps the
        weights themselves.
    validate_every
        Epochs between validations; None chooses so few that they cost less than the training
        between them.
    select
        The validation error that the best weights have the least of: ``mean`` over lags, or
        ``last-lag``.
    patience
        Stop after so many validations without a better one; None never does.
    compile
        Compile the steps; None: on a processor, where those planned pay for it. See
        :mod:`gfnode.training.stepping`.
    replay
        On an NVIDIA GPU, record a step once and replay it, which launches it as a whole.
    products
        ``bfloat16``: matrix products of training steps in bfloat16 where the device has units for
        it, else as they are; sums, weights, validation and predictions stay ``float32``.
    """

    epochs: int = Field(60, ge=1)
    batch: int | None = Field(None, ge=1)
    rate: float = Field(5e-4, gt=0)
    physical_rate: float | None = Field(1e-2, gt=0)
    schedule: Literal["cosine", "published", "constant"] = "cosine"
    warmup: int = Field(50, ge=0)
    optimizer: Literal["adam", "adamw"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0)
    clip: float | None = Field(1.0, gt=0)
    ema: float | None = Field(0.99, gt=0, lt=1)
    validate_every: int | None = Field(None, ge=1)
    select: Literal["mean", "last-lag"] = "mean"
    patience: int | None = Field(15, ge=1)
    compile: bool | None = None
    replay: bool = True
    products: Precision = "float32"


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch came to; errors per coordinate in Å², of the scored atoms.

    The training error is the model's loss, which in some models has no unit.
    """

    epoch: int
    train_error: float
    validation_error: float | None
    validation_error_last_lag: float | None
    learning_rate: float
    windows_per_s: float


@dataclass
class Progress:
    """Where training stands, beside weights and optimizer."""

    epoch: int = 0  # epochs done
    best_error: float = math.inf
    best_epoch: int = 0  # 0: as fitted, before any training
    validations_since_best: int = 0
    stopped: str | None = None  # why, once it has
    seconds: float = 0.0  # of work until then, what is fitted before training included
    history: list[EpochRecord] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self) | {"best_error": repr(self.best_error)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Progress":
        """Inverse of :meth:`to_dict`."""
        history = [EpochRecord(**record) for record in data["history"]]
        return cls(**data | {"best_error": float(data["best_error"]), "history": history})


@dataclass(frozen=True)
class TrainingState:
    """All that a checkpoint must hold for training to go on."""

    model: Model
    optimizer: torch.optim.Optimizer
    averaged: Model | None
    progress: Progress

    @property
    def validated(self) -> Model:
        """The model whose weights are validated and kept."""
        return self.averaged or self.model


OnBatch = Callable[[int, int, float], None]
OnStart = Callable[[TrainingState, float], None]
OnNote = Callable[[str], None]
OnEpoch = Callable[[TrainingState, EpochRecord, bool], None]


class Diverged(InputError):
    """The loss is no longer a number."""


def choose_batch(windows: Windows, model: Model, settings: TrainingSettings) -> int:
    """Windows a batch: the number asked for, or one that suits windows and memory.

    Raises
    ------
    InputError
        When the windows do not fill one batch.
    """
    if settings.batch is None:
        # at least four steps an epoch; what an EGNN keeps for its gradient stays below some 3 GiB
        fits = 500_000 // model.rows(windows.targets.shape[1])
        return max(1, min(64, len(windows) // 4, fits))
    if len(windows) < settings.batch:
        raise InputError(
            f"{len(windows)} training windows are fewer than a batch of {settings.batch}; lower "
            "training.batch, shorten windows.horizon or give more frames"
        )
    return settings.batch


def validation_interval(parts: Mapping[str, Windows], settings: TrainingSettings) -> int:
    """Epochs between validations; a window costs three times as much in training."""
    chosen = math.ceil(len(parts["validation"]) / (3 * len(parts["train"])))
    return settings.validate_every or max(1, chosen)


def _groups(model: Model, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Parameters of networks, and those with a physical meaning; ``scale`` is of the rate."""
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
        As Lightning Fabric has it: ``auto``, ``cpu``, ``cuda``, …

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
    ) -> None:
        self.settings, self.seed, self.fresh_lags = settings, seed, fresh_lags
        self.batch = choose_batch(parts["train"], model, settings)
        self.fabric = launch(accelerator)
        parts = to_device(parts, self.fabric.device)  # once: a batch is an index operation there
        self.train, self.validation = parts["train"], parts["validation"]
        self.batches = len(self.train) // self.batch
        self.validate_every = validation_interval(parts, settings)
        kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        on_gpu = self.fabric.device.type == "cuda"
        optimizer = kinds[settings.optimizer](
            _groups(model, settings),
            lr=settings.rate,
            weight_decay=settings.weight_decay,
            fused=True,  # one pass over all weights: ten times faster than one weight at a time
            capturable=on_gpu,
        )
        if on_gpu:  # recorded steps find the rates where they were when recorded
            for group in optimizer.param_groups:
                group["lr"] = torch.tensor(group["lr"], device=self.fabric.device)
        self.module, self.optimizer = self.fabric.setup(model, optimizer)
        self.module.mark_forward_method("loss")
        self.loss: Loss = self.module.loss
        self.step: Step = self._step
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

    def run(
        self,
        on_batch: OnBatch,
        on_epoch: OnEpoch,
        on_start: OnStart | None = None,
        on_note: OnNote = lambda text: None,
    ) -> Progress:
        """Train to the end, from wherever the state stands.

        A model that comes fitted is validated before: training may not make it better.

        Parameters
        ----------
        on_batch
            Called with epoch, batches done and the mean training error so far, now and then.
        on_epoch
            Called after every epoch with the state, its record, and whether it is the best yet.
        on_start
            Called with the state and the validation error of a model that comes fitted.
        on_note
            Told in words what takes time beside training.

        Raises
        ------
        Diverged
            When the loss is not finite; what was saved before stays.
        """
        progress, s = self.state.progress, self.settings
        if progress.epoch == 0 and self.state.model.comes_fitted:
            progress.best_error = self._validate()[s.select == "last-lag"]
            if on_start is not None:
                on_start(self.state, progress.best_error)
        if progress.stopped is None:
            self._compile(on_note)
            if s.replay and self.fabric.device.type == "cuda":
                self.step = Replayed(self._step, self.generator, on_note)
        while progress.epoch < s.epochs and progress.stopped is None:
            record = self._epoch(progress.epoch, on_batch)
            progress.epoch += 1
            progress.history.append(record)
            error = (
                record.validation_error if s.select == "mean" else record.validation_error_last_lag
            )
            better = error is not None and error < progress.best_error
            if better:
                progress.best_error, progress.best_epoch = float(error or 0.0), progress.epoch
                progress.validations_since_best = 0
            elif error is not None:
                progress.validations_since_best += 1
            if progress.epoch == s.epochs:
                progress.stopped = "all epochs done"
            elif s.patience is not None and progress.validations_since_best >= s.patience:
                progress.stopped = f"no better validation error in {s.patience} validations"
            on_epoch(self.state, record, better)
        return progress

    def _compile(self, on_note: OnNote) -> None:
        """Compile the steps, where that is asked for or pays."""
        asked = self.settings.compile
        suits = self.state.model.compiles and self.fabric.device.type == "cpu"
        if not (suits if asked is None else asked):
            return
        batch = self.train.batch(torch.arange(self.batch, device=self.fabric.device))
        steps = self.settings.epochs * self.batches  # of the whole run, whenever it is taken up
        if asked or pays(self.loss, batch, self.generator, steps):
            self.module.train()
            with products(self.settings.products):  # code is compiled for them
                loss = compiled(self.state.model, batch, self.generator, on_note)
            self.loss = loss or self.loss

    def _epoch(self, epoch: int, on_batch: OnBatch) -> EpochRecord:
        from time import perf_counter

        s, began = self.settings, perf_counter()
        windows = self.train
        if self.fresh_lags:
            windows = windows.redraw(self.state.model.system.horizon, [self.seed, epoch])
        seed = self.seed * 1_000_003 + epoch
        self.generator.manual_seed(seed)  # of what is random in the loss
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(windows), generator=generator).to(windows.device)
        total, rate = 0.0, s.rate
        self.module.train()
        for first in range(0, self.batches, CHUNK):
            end = min(first + CHUNK, self.batches)
            gathered = windows.batch(order[first * self.batch : end * self.batch])
            losses: list[Tensor] = []
            for number, batch in enumerate(gathered.split(self.batch), first):
                rate = self.rate(epoch, epoch * self.batches + number)
                self._set_rate(rate)
                losses.append(self.step(batch))
            total += self._collect(losses, epoch, first)
            on_batch(epoch, end, total / end)
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

    def _step(self, batch: Batch) -> Tensor:
        self.optimizer.zero_grad()
        with products(self.settings.products):
            loss = self.loss(batch, self.generator)
            self.fabric.backward(loss)
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
            raise Diverged(
                f"the training loss is not a number at epoch {epoch + 1}, batch {batch} of "
                f"{self.batches}; the last good checkpoint is kept. Try a lower training.rate, a "
                "smaller training.clip, or look at the data with outliers in mind"
            )
        return float(values.sum())

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        model = self.state.validated.eval()
        total = torch.zeros(2, device=self.fabric.device)
        number = torch.arange(len(self.validation), device=self.fabric.device)
        for index in number.split(model.at_once(self.validation.targets.shape[1])):
            batch = self.validation.batch(index)
            predicted = model.estimate(batch.positions, batch.velocities, batch.lags)
            errors = (predicted - batch.targets)[..., model.scored, :].square().mean((-1, -2))
            at_last = errors.gather(1, batch.lags.argmax(1, keepdim=True))
            total += torch.stack([errors.mean(1).sum(), at_last.sum()])
        self.state.model.train()
        mean, last = (total / len(self.validation)).tolist()
        return mean, last

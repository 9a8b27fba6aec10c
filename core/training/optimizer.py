"""One optimizer for a whole model: Muon on the matrices of the layers, AdamW on each embedding table.

Guarantees:
- its state is a flat dict of tensors named `<parameter>.<slot>`, one entry a parameter whatever the grouping and the
  number of ranks, so a checkpoint depends on neither. Slots: `momentum`, `second_moment` (Muon), `first_moment`,
  `second_moment`, `updates` (AdamW; how many updates it has taken, for bias correction).
- every matrix, and every row of a table, is updated by one rank of the world, which alone holds its state (ZeRO,
  arXiv 1910.02054, stage 2). The gradients of a group travel in one reduce-scatter, its updated parameters in one
  all-gather: together as many bytes as summing the gradients everywhere would take. A group's buffers are all that a
  step needs besides.
- ranks that call the same methods in the same order never wait for each other in vain, a refused state included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from core.model.transformer import Transformer
from core.recipes.optimization import AdamW, Muon, Optimization
from core.stages.context import StageError
from core.training.adamw import adamw_step
from core.training.distributed import World
from core.training.muon import muon_step, second_moment_shape
from core.training.schedule import Rates
from core.training.sharding import Shards


class ParameterGroup(ABC):
    """Parameters updated together, cut into equal pieces: this rank's pieces of their gradient and of their state."""

    def __init__(self, parameters: dict[str, Tensor], count: int, world: World) -> None:
        self.names, self.parameters = list(parameters), list(parameters.values())
        self.shards = Shards(count, world)
        self.state: dict[str, Tensor] = {}  # slot -> [pieces of this rank, ...]
        self._gradient: Tensor | None = None  # [pieces of this rank, ...], once reduced

    @abstractmethod
    def pieces(self, tensor: Tensor) -> Tensor:
        """A parameter, or a slot of its state, as a stack of pieces: a view."""

    @abstractmethod
    def whole(self, pieces: Tensor) -> Tensor:
        """The opposite."""

    def reduce_gradient(self) -> Tensor:
        """Replace the gradients by the sum over all ranks of this rank's pieces of them; returns its squared L2 norm.

        Rows are added up in float32, their sums in float64.
        """
        padded = self.shards.stack([self.pieces(gradient) for gradient in self._gradients()])
        self._drop_gradients()  # now, not later: this group's are in memory twice
        self._gradient = self.shards.reduce(padded)
        rows: Tensor = torch.linalg.vector_norm(self._gradient, dim=-1, dtype=torch.float32)
        return rows.double().square().sum()

    def take_gradient(self, scale: float) -> Tensor:
        """Hand over this rank's pieces of the gradient, times `scale`, to be overwritten."""
        if self._gradient is None:
            raise RuntimeError("an optimizer step was asked for before gradients were reduced")
        gradient, self._gradient = self._gradient, None
        return gradient if scale == 1.0 else gradient.mul_(scale)

    def discard_gradient(self) -> None:
        """Drop the gradients, reduced or not."""
        self._drop_gradients()
        self._gradient = None

    def gather_state(self) -> dict[str, Tensor]:
        """The whole state by name on rank 0, nothing on the others; in a world of one the tensors are views."""
        found: dict[str, Tensor] = {}
        for slot, own in self.state.items():
            stack = self.shards.gather(own)
            if stack is not None:
                chunks = stack.chunk(len(self.names))
                found |= {f"{name}.{slot}": self.whole(chunk) for name, chunk in zip(self.names, chunks, strict=True)}
        return found

    def scatter_state(self, saved: Mapping[str, Tensor] | None) -> None:
        """Take over this rank's pieces of the state that rank 0 passes by name; the others pass None."""
        for slot, own in self.state.items():
            chunks = [] if saved is None else [self.pieces(saved[f"{name}.{slot}"]) for name in self.names]
            self.shards.scatter(self.shards.stack(chunks) if chunks else None, own)

    def state_shapes(self) -> dict[str, torch.Size]:
        """Shape of every entry of the whole state, by name."""
        count = self.shards.count // len(self.names)
        return {
            f"{name}.{slot}": self.whole(own.new_empty(count, *own.shape[1:], device="meta")).shape
            for slot, own in self.state.items()
            for name in self.names
        }

    def _gradients(self) -> list[Tensor]:
        """Of the parameters; zeros where there is none, because this rank of several had no rows."""
        if self.shards.world.size == 1 and any(parameter.grad is None for parameter in self.parameters):
            raise RuntimeError("gradients were to be reduced before a backward pass made them")
        return [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in self.parameters
        ]

    def _drop_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


class MatrixGroup(ParameterGroup):
    """All matrices of one shape; a piece is a matrix, and this rank's are stepped by Muon as one stack."""

    def __init__(self, parameters: dict[str, Tensor], muon: Muon, world: World) -> None:
        super().__init__(parameters, len(parameters), world)
        self.muon = muon
        rows, columns = self.parameters[0].shape
        count, like = len(self.shards.owned), self.parameters[0]
        self.state["momentum"] = torch.zeros(count, rows, columns, device=like.device)
        if muon.second_moment_beta is not None:
            self.state["second_moment"] = torch.zeros(count, *second_moment_shape((rows, columns)), device=like.device)

    def pieces(self, tensor: Tensor) -> Tensor:
        return tensor.unsqueeze(0)  # [1, rows, columns]

    def whole(self, pieces: Tensor) -> Tensor:
        return pieces.squeeze(0)

    def step(self, rates: Rates, gradient_scale: float, dtype: torch.dtype) -> None:
        """Update this rank's matrices from their gradient, then all from their owners'."""
        updated = self.take_gradient(gradient_scale)  # a rank without a matrix has this empty stack to send
        if owned := self.shards.owned:
            updated = muon_step(
                torch.stack(self.parameters[owned.start : owned.stop]),
                updated,
                self.state["momentum"],
                self.state.get("second_moment"),
                muon=self.muon,
                rates=rates,
                dtype=dtype,
            )
        torch._foreach_copy_(self.parameters, list(self.shards.all_gather(updated).unbind()))


class TableGroup(ParameterGroup):
    """One embedding table; a piece is a row, and this rank's are stepped by AdamW."""

    def __init__(self, name: str, parameter: Tensor, adamw: AdamW, world: World) -> None:
        super().__init__({name: parameter}, len(parameter), world)
        self.adamw = adamw
        own = self._own_rows()
        self.state = {slot: torch.zeros_like(own) for slot in ("first_moment", "second_moment")}
        self.updates = torch.zeros((), dtype=torch.int64)  # the same on every rank

    def pieces(self, tensor: Tensor) -> Tensor:
        return tensor

    def whole(self, pieces: Tensor) -> Tensor:
        return pieces

    def step(self, rates: Rates, gradient_scale: float) -> None:
        """Update this rank's rows from their gradient, then all from their owners'."""
        self.updates += 1
        own = self._own_rows()
        adamw_step(
            own,
            self.take_gradient(gradient_scale),
            self.state["first_moment"],
            self.state["second_moment"],
            adamw=self.adamw,
            multiplier=rates.multiplier,
            updates=int(self.updates),
        )
        if self.shards.world.size > 1:
            self.parameters[0].copy_(self.shards.all_gather(own))

    def gather_state(self) -> dict[str, Tensor]:
        found = super().gather_state()
        return found | {f"{self.names[0]}.updates": self.updates} if found else {}

    def scatter_state(self, saved: Mapping[str, Tensor] | None) -> None:
        super().scatter_state(saved)
        updates = 0 if saved is None else int(saved[f"{self.names[0]}.updates"])
        self.updates.fill_(self.shards.world.broadcast(updates))

    def state_shapes(self) -> dict[str, torch.Size]:
        return super().state_shapes() | {f"{self.names[0]}.updates": self.updates.shape}

    def _own_rows(self) -> Tensor:
        return self.parameters[0].detach()[self.shards.owned.start : self.shards.owned.stop]


class Optimizer:
    """Steps a model's parameters from their gradients; its state starts at zero."""

    def __init__(self, model: Transformer, optimization: Optimization, world: World) -> None:
        self.world = world
        parameters = dict(model.named_parameters())
        tables = {"transformer.wte.weight": optimization.embedding, "lm_head.weight": optimization.unembedding}
        self.parameters = list(parameters.values())
        self.activation_dtype = model.transformer.wte.weight.dtype
        self.tables = [TableGroup(name, parameters[name], adamw, self.world) for name, adamw in tables.items()]
        shapes: dict[torch.Size, dict[str, Tensor]] = {}
        for name, parameter in parameters.items():
            if name not in tables:
                shapes.setdefault(parameter.shape, {})[name] = parameter
        self.matrices = [MatrixGroup(group, optimization.matrices, self.world) for group in shapes.values()]

    @property
    def groups(self) -> list[ParameterGroup]:
        """All of them, in the order in which ranks communicate."""
        return [*self.tables, *self.matrices]

    @torch.no_grad()
    def reduce_gradients(self) -> float:
        """Sum the gradients over all ranks, each keeping what it updates; returns the L2 norm of the whole sum.

        A parameter without a gradient counts as zero on a rank of several. Collective; waits for the device once.
        """
        squares = torch.stack([group.reduce_gradient() for group in self.groups]).sum()
        self.world.all_reduce(squares)
        return float(squares.sqrt())

    @torch.no_grad()
    def step(self, rates: Rates, gradient_scale: float = 1.0) -> None:
        """Take one step from the reduced gradient times `gradient_scale`, then drop it; all ranks end up alike.

        Orthogonalisation computes in the dtype of the activations. Collective.
        """
        for table in self.tables:
            table.step(rates, gradient_scale)
        for group in self.matrices:
            group.step(rates, gradient_scale, self.activation_dtype)

    def discard_gradients(self) -> None:
        """Drop the gradients, reduced or not: after a spike, or when there was no memory for all of them."""
        for group in self.groups:
            group.discard_gradient()

    def state(self) -> dict[str, Tensor]:
        """The whole state as `<parameter>.<slot>` -> tensor on rank 0, nothing on the others. Collective.

        In a world of one the tensors are the state itself, not copies.
        """
        return {name: tensor for group in self.groups for name, tensor in group.gather_state().items()}

    def load(self, saved: Mapping[str, Tensor] | None) -> None:
        """Take over the whole state that rank 0 passes, bit by bit; the others pass None. Collective.

        Raises `StageError`, on all ranks alike, when it is another model's or optimizer's.
        """
        misfit = self.world.broadcast_text("" if saved is None else self._misfit(saved))
        if misfit:
            raise StageError(f"the optimizer state does not fit this model: {misfit}")
        for group in self.groups:
            group.scatter_state(saved)

    def _misfit(self, saved: Mapping[str, Tensor]) -> str:
        """The first thing that is wrong with a saved state; empty when it fits."""
        shapes = {name: shape for group in self.groups for name, shape in group.state_shapes().items()}
        if odd := sorted(set(shapes) ^ set(saved)):
            return f"{odd[0]} is in only one of them"
        for name, shape in shapes.items():
            if saved[name].shape != shape:
                return f"{name} has shape {tuple(saved[name].shape)}, expected {tuple(shape)}"
        return ""

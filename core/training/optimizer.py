"""One optimizer for a whole model: Muon on the matrices of the layers, AdamW on each embedding table.

Its state is a flat dict of tensors named `<parameter>.<slot>`, one entry a parameter whatever the grouping, so a
checkpoint does not depend on how matrices were stacked. Slots: `momentum`, `second_moment` (Muon),
`first_moment`, `second_moment`, `updates` (AdamW; how many updates it has taken, for bias correction).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from core.model.transformer import Transformer
from core.recipes.optimization import AdamW, Optimization
from core.stages.context import StageError
from core.training.adamw import adamw_step
from core.training.muon import muon_step, second_moment_shape
from core.training.schedule import Rates


class MatrixGroup:
    """All matrices of one shape, and their Muon state as stacks [K, rows, columns]."""

    def __init__(self, names: list[str], parameters: list[Tensor], optimization: Optimization) -> None:
        self.names, self.parameters, self.muon = names, parameters, optimization.matrices
        rows, columns = parameters[0].shape
        device = parameters[0].device
        self.state = {"momentum": torch.zeros(len(names), rows, columns, device=device)}
        if self.muon.second_moment_beta is not None:
            shape = second_moment_shape((rows, columns))
            self.state["second_moment"] = torch.zeros(len(names), *shape, device=device)

    def step(self, rates: Rates, dtype: torch.dtype) -> None:
        """Update every matrix of the group from its gradient."""
        updated = muon_step(
            torch.stack(self.parameters),
            torch.stack([_gradient(parameter) for parameter in self.parameters]),
            self.state["momentum"],
            self.state.get("second_moment"),
            muon=self.muon,
            rates=rates,
            dtype=dtype,
        )
        torch._foreach_copy_(self.parameters, list(updated.unbind()))

    def slots(self) -> dict[str, Tensor]:
        """Views of the state, by name; writing to one changes the state."""
        return {
            f"{name}.{slot}": stack[index]
            for slot, stack in self.state.items()
            for index, name in enumerate(self.names)
        }


class TableGroup:
    """One embedding table and its AdamW state."""

    def __init__(self, name: str, parameter: Tensor, adamw: AdamW) -> None:
        self.name, self.parameter, self.adamw = name, parameter, adamw
        self.first_moment = torch.zeros_like(parameter)
        self.second_moment = torch.zeros_like(parameter)
        self.updates = torch.zeros((), dtype=torch.int64)

    def step(self, rates: Rates) -> None:
        """Update the table from its gradient."""
        self.updates += 1
        adamw_step(
            self.parameter,
            _gradient(self.parameter),
            self.first_moment,
            self.second_moment,
            adamw=self.adamw,
            multiplier=rates.multiplier,
            updates=int(self.updates),
        )

    def slots(self) -> dict[str, Tensor]:
        """The state, by name; writing to one changes the state."""
        return {f"{self.name}.{slot}": getattr(self, slot) for slot in ("first_moment", "second_moment", "updates")}


class Optimizer:
    """Steps a model's parameters from their gradients; its state starts at zero."""

    def __init__(self, model: Transformer, optimization: Optimization) -> None:
        parameters = dict(model.named_parameters())
        tables = {"transformer.wte.weight": optimization.embedding, "lm_head.weight": optimization.unembedding}
        self.parameters = list(parameters.values())
        self.activation_dtype = model.transformer.wte.weight.dtype
        self.tables = [TableGroup(name, parameters[name], adamw) for name, adamw in tables.items()]
        shapes: dict[torch.Size, list[str]] = {}
        for name, parameter in parameters.items():
            if name not in tables:
                shapes.setdefault(parameter.shape, []).append(name)
        self.matrices = [
            MatrixGroup(names, [parameters[name] for name in names], optimization) for names in shapes.values()
        ]

    @torch.no_grad()
    def step(self, rates: Rates) -> None:
        """Take one step, then drop the gradients. Orthogonalisation computes in the dtype of the activations."""
        for table in self.tables:
            table.step(rates)
        for group in self.matrices:
            group.step(rates, self.activation_dtype)
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """The whole state as `<parameter>.<slot>` -> tensor; the tensors are the state itself, not copies."""
        groups: list[MatrixGroup | TableGroup] = [*self.tables, *self.matrices]
        return {name: tensor for group in groups for name, tensor in group.slots().items()}

    def load(self, saved: Mapping[str, Tensor]) -> None:
        """Take over a saved state bit by bit; raises `StageError` when it is another model's or optimizer's."""
        state = self.state()
        if odd := sorted(set(state) ^ set(saved)):
            raise StageError(f"the optimizer state does not fit this model: {odd[0]} is in only one of them")
        for name, tensor in state.items():
            if saved[name].shape != tensor.shape:
                raise StageError(
                    f"the optimizer state does not fit this model: {name} has shape {tuple(saved[name].shape)}, "
                    f"expected {tuple(tensor.shape)}"
                )
            tensor.copy_(saved[name])


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        raise RuntimeError("an optimizer step was asked for before the backward pass")
    return parameter.grad

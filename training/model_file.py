"""A trained model as one file: weights as safetensors, and a description of what they belong to.

The description (JSON among the file's metadata) name a network, a task and a weight space that this
package knows; the model is built from them and the weights are put in. No code is in such a file,
and none of it is run.
"""

from __future__ import annotations

import json
import typing
from dataclasses import dataclass, is_dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from dws import ProbeFeatures, WeightSpace
from dws.align import align
from training.data import Preparation, canonical
from training.jobs import TrainingJob
from training.models import NETWORKS
from training.tasks import TASKS, Output, Task, TaskData
from zoo_gen import ConfigError, ForwardPass, ModelError
from zoo_gen.plugins import Kinds
from zoo_gen.recipe.forward_pass import UNKNOWN
from zoo_gen.recipe.recipe import hashed
from zoo_gen.zoo.description import read_space, write_space

FORMAT = 1
KEY = "dwszoo"
REFERENCE = "aligned_to"  # a tensor that is none of the network's own


@dataclass(frozen=True)
class TrainedModel:
    """A model that predicts something of networks.

    Attributes:
        name: for people.
        net: from prepared weights ``[m, size]`` to its output, in evaluation mode.
        space: of the networks it reads.
        task: what it learned.
        output: what it gives.
        zoo: name and hash of the zoo that it learned from.
        forward_pass: the units of that zoo's networks; nothing else of what they compute.
        prepare: what is done to weights before it reads them.
        reference: ``[size]``, what they are aligned to; None where they are not.
    """

    name: str
    net: nn.Module
    space: WeightSpace
    task: Task
    output: Output
    zoo: str
    forward_pass: ForwardPass = UNKNOWN
    prepare: Preparation = "none"
    reference: Tensor | None = None

    @torch.no_grad()
    def predict(self, theta: Tensor) -> Tensor:
        """Predictions for networks ``[m, size]``, with weights as they are in a zoo.

        Returns:
            ``[m, output.size]``.
        """
        if self.reference is not None:
            theta = align(self.space, theta, reference=self.reference)
        elif self.prepare != "none":
            theta = canonical(self.space, self.forward_pass, self.prepare)(theta)
        return cast(Tensor, self.net(theta))

    @property
    def takes_units_for_granted(self) -> str:
        """Why networks with other units would be taken for what they are not; empty if not so."""
        if self.prepare.startswith("canonical"):
            return f"prepare: {self.prepare}"
        return "probes" if any(isinstance(m, ProbeFeatures) for m in self.net.modules()) else ""

    def require(self, space: WeightSpace, what: str, forward_pass: ForwardPass = UNKNOWN) -> None:
        """Raise `ModelError` unless such networks are those that the model reads.

        Args:
            space: of the networks.
            what: they are, for the message.
            forward_pass: what they compute.
        """
        if space != self.space:
            raise ModelError(
                f"{what}: its networks are {space} ({space.size:,} weights), but {self.name} reads "
                f"{self.space} ({self.space.size:,} weights); it cannot predict others"
            )
        known = None not in (forward_pass.activation, self.forward_pass.activation)
        if not known or not (why := self.takes_units_for_granted):
            return
        if (theirs := str(forward_pass)) != (own := str(self.forward_pass)):
            raise ModelError(
                f"{what}: its networks have {theirs} units, but {self.name} takes all for {own} "
                f"units ({why}); it cannot predict others"
            )


def encode(job: TrainingJob, data: TaskData, weights: dict[str, Tensor]) -> bytes:
    """The file of a model.

    Args:
        job: that it was trained in.
        data: that it was trained on, prepared.
        weights: its state.
    """
    from safetensors.torch import save

    described = {
        "format": FORMAT,
        "model": job.model,
        "config": job.config,
        "seed": job.seed,
        "network": hashed(job.network),
        "task": {"kind": job.task.kind, **hashed(job.task)},
        "space": write_space(data.space),
        "classes": data.classes,
        "output": data.task.output(data).as_dict(),
        "w0": data.forward_pass.sine_w0,
        "activation": data.forward_pass.activation,
        **({} if data.forward_pass.scaled_bias else {"scaled_bias": False}),
        "prepare": job.training.prepare,
        "zoo": f"{job.zoo_name}-{job.settings['zoo']}",
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    if data.reference is not None:
        tensors[REFERENCE] = data.reference.contiguous()
    return save(tensors, {"job": job.hash8, KEY: json.dumps(described)})


def state_of(content: bytes) -> dict[str, Tensor]:
    """The weights of a model's network, without what stands beside them."""
    from safetensors.torch import load

    tensors = load(content)
    tensors.pop(REFERENCE, None)
    return tensors


def decode(content: bytes, where: str) -> TrainedModel:
    """The model of a file.

    Args:
        content: of the file.
        where: its place, for messages.

    Raises:
        ModelError: it is no such file, damaged, or of networks or tasks that are not known here.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise ModelError(
            f"{where} is no model file: it cannot be read as safetensors ({error})"
        ) from error
    if KEY not in metadata:
        raise ModelError(
            f"{where} does not say what its weights are of: it was not written by `dwszoo train`, "
            "or by an older one; train the model again, or give a run or a "
            "registered model"
        )
    reference = tensors.pop(REFERENCE, None)
    try:
        return _model(json.loads(metadata[KEY]), tensors, reference)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"{where} describes a model that cannot be built here ({reason[0]}); it may be of "
            "another version of dwszoo, or damaged"
        ) from error


def _model(
    about: dict[str, Any], state: dict[str, Tensor], reference: Tensor | None
) -> TrainedModel:
    network, task = _made(NETWORKS, about["network"]), _made(TASKS, about["task"])
    name = f"{about['config']}-{about['model']}"
    if network.yardstick:
        raise ModelError(
            f"{name} ({network.kind}) is what other models are compared with: it has learned "
            "nothing that it could predict; give another model of the report"
        )
    space = read_space(about["space"])
    forward_pass = UNKNOWN.updated(
        activation=about["activation"], w0=about["w0"], scaled_bias=about.get("scaled_bias")
    )
    data = TaskData.blank(space, task, int(about["classes"]), forward_pass)
    net = task.build(network, data)
    net.load_state_dict(state)
    output = Output(**{**about["output"], "names": tuple(about["output"]["names"])})
    kept = (about["zoo"], forward_pass, about["prepare"], reference)
    return TrainedModel(name, net.eval(), space, task, output, *kept)


def _made(kinds: Kinds, about: dict[str, Any]) -> Any:
    """A typed description from plain data."""
    if about["kind"] not in kinds:
        problem = kinds.problem(about["kind"])
        raise ConfigError(problem or f"kind {about['kind']!r} is none of {', '.join(kinds)}")
    cls = kinds[about["kind"]]
    hints, values = typing.get_type_hints(cls), {}
    for key, value in about.items():
        if isinstance(value, dict) and is_dataclass(hints[key]):
            value = hints[key](**value)
        values[key] = tuple(value) if isinstance(value, list) else value
    return cls(**values)

"""What can be made of weights before the equivariant layers see them.

Each of these gives features of its ``target``, which is another space than its ``space`` where it
adds tensors or changes axes; of tensors that it adds, `ProbeFeatures` gives those alone. Those that
add channels name in ``out_channels`` how many come out.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import pi

import torch
from torch import Tensor, nn

from dws.evaluate import forward, hidden_activation, responses
from dws.linear import check_counts
from dws.space import Features, WeightSpace


class FourierFeatures(nn.Module):
    """Each weight, and sine and cosine of its random multiples: ``[x, sin(2 pi x b), cos(...)]``.

    The frequencies b are drawn once from N(0, std^2) and kept with the model; they are not learned.

    Args:
        space: of the features.
        in_channels: c of the input.
        count: of frequencies.
        std: of the frequencies, in periods per unit of the input.

    Source: Tancik et al. 2020; for weights Zhou et al. 2023.
    """

    frequencies: Tensor

    def __init__(self, space: WeightSpace, in_channels: int, count: int, std: float = 1.0) -> None:
        super().__init__()
        check_counts(in_channels=in_channels, count=count)
        self.space = self.target = space
        self.in_channels, self.out_channels = in_channels, in_channels + 2 * count
        self.register_buffer("frequencies", std * torch.randn(in_channels, count))

    def forward(self, features: Mapping[str, Tensor]) -> Features:
        """``[m, *shape, c]`` per tensor -> ``[m, *shape, c + 2 count]``."""
        self.space.check(features, self.in_channels)
        out = {}
        for name, x in features.items():
            angle = 2 * pi * x @ self.frequencies
            out[name] = torch.cat([x, angle.sin(), angle.cos()], -1)
        return out


class PositionalEncoding(nn.Module):
    """Make fixed axes permutable, and distinguish their positions by learned channels.

    The other known way to treat inputs and outputs: the layers share their weights over the
    positions of these axes too, which is far cheaper where an axis is long; what the fixed basis
    knows by having weights of its own, the model learns from the channels added here, one vector
    for each position of each tensor's axis.

    Args:
        space: of the features that come.
        in_channels: their c.
        axes: fixed axes, for example those of inputs and outputs, ``("n0", "n3")``.
        channels: added for each of the axes; zero in tensors that do not have the axis.

    Raises:
        ValueError: axes that are not fixed ones of the space, or counts below 1.

    Source: Zhou et al. 2023 (NFN), "neuron permutation" layers with input and output encoding.
    """

    def __init__(
        self, space: WeightSpace, in_channels: int, axes: tuple[str, ...], channels: int = 4
    ) -> None:
        super().__init__()
        check_counts(in_channels=in_channels, channels=channels)
        self.space, self.target = space, space.permutable(*axes)
        self.axes, self.channels = axes, channels
        self.in_channels, self.out_channels = in_channels, in_channels + len(axes) * channels
        self.codes = nn.ParameterDict(
            {
                f"{name}:{axis}": nn.Parameter(torch.randn(space.sizes[axis], channels))
                for name in space.names
                for axis in axes
                if axis in space.axes[name]
            }
        )

    def forward(self, features: Mapping[str, Tensor]) -> Features:
        """``[m, *shape, c]`` per tensor -> ``[m, *shape, c + axes channels]``."""
        self.space.check(features, self.in_channels)
        return {name: self._encode(name, x) for name, x in features.items()}

    def _encode(self, name: str, x: Tensor) -> Tensor:
        own, parts = self.space.axes[name], [x]
        for axis in self.axes:
            if axis in own:
                shape = [self.space.sizes[a] if a == axis else 1 for a in own]
                code = self.codes[f"{name}:{axis}"].view(*shape, self.channels)
                parts.append(code.expand(*x.shape[:-1], self.channels))
            else:
                parts.append(x.new_zeros(1).expand(*x.shape[:-1], self.channels))
        return torch.cat(parts, -1)


class Projection(nn.Module):
    """A long fixed axis through a learned matrix: 784 inputs become ``size`` combinations of them.

    This restricts the basis. A layer has a dense block for each pair of entries on the fixed axes,
    so 784 inputs would cost 784^2 weights per pair of channels; here all maps from and to that axis
    go through ``size`` learned directions, one set shared by the tensors that have the axis and by
    all layers. What the weights do in other directions is not seen (and, in the output of
    :meth:`expand`, not changed). It stays equivariant.

    Args:
        space: of the features that come.
        axis: a fixed one.
        size: of the axis that goes, at most that of the one that comes.

    Raises:
        ValueError: an axis that is hidden or not there, a size that is not 1 to the axis's.

    Source: Navon et al. 2023 project large inputs in their code likewise.
    """

    def __init__(self, space: WeightSpace, axis: str, size: int) -> None:
        super().__init__()
        self.space, self.target, self.axis = space, space.resized(axis, size), axis
        if size > (old := space.sizes[axis]):
            raise ValueError(f"axis {axis} has {old} entries; cannot project it to {size}")
        # orthonormal rows: white features stay white
        self.matrix = nn.Parameter(torch.linalg.qr(torch.randn(old, size)).Q.T.contiguous())

    def forward(self, features: Mapping[str, Tensor]) -> Features:
        """``[m, *shape, c]`` per tensor -> the same with ``size`` entries on the axis."""
        self.space.check(features)
        return self._through(features, self.matrix)

    def expand(self, features: Mapping[str, Tensor]) -> Features:
        """Back to the full axis, by the transposed matrix."""
        self.target.check(features)
        return self._through(features, self.matrix.T)

    def _through(self, features: Mapping[str, Tensor], matrix: Tensor) -> Features:
        out = dict(features)
        for name, axes in self.space.axes.items():
            if self.axis in axes:
                dim = 1 + axes.index(self.axis)
                x = features[name].movedim(dim, -1) @ matrix.T
                out[name] = x.movedim(-1, dim)
        return out


class ProbeFeatures(nn.Module):
    """Evaluate each network at learned points: its responses become features.

    Of an MLP they are those of every neuron: further tensors ``p1 .. pM`` with axes
    ``(n_k, probe)``, neurons after their activation, outputs as they are; only as meaningful as the
    activation given here is the networks' own. A permutation of neurons permutes their responses,
    so that equivariance holds; a period more in a neuron's phase changes none. Of a space derived
    from a module they are its outputs: one tensor ``p1`` with fixed axes, the last of them the
    probes. The points are drawn with the mean and deviation of the example input.

    Args:
        space: of the networks.
        probes: number of points.
        activation: of the networks, as in :func:`dws.forward`; a module has its own.
        w0: frequency of ``"sine"``.
        scaled_bias: whether w0 multiplies its bias too.

    Raises:
        ValueError: a space that is neither an MLP's nor has its module, a module that does not take
            and give one tensor of numbers, an unknown activation, no probe.

    Source: Kofinas et al. 2024 (neural graphs).
    """

    def __init__(
        self,
        space: WeightSpace,
        probes: int,
        activation: str = "sine",
        w0: float = 30.0,
        scaled_bias: bool = True,
    ) -> None:
        super().__init__()
        check_counts(probes=probes)
        hidden_activation(activation, w0)
        self.space, self.activation, self.w0, self.scaled_bias = space, activation, w0, scaled_bias
        sizes = {**space.sizes, "probe": probes}
        answers: dict[str, tuple[str, ...]]
        if space.is_mlp:
            self.points = nn.Parameter(2 * torch.rand(probes, space.widths[0]) - 1)
            answers = {f"p{k}": (f"n{k}", "probe") for k in range(1, len(space.widths))}
        else:
            example = _example(space)
            scale = example.std(correction=0) if example.numel() > 1 else example.new_ones(())
            drawn = torch.randn(probes, *example.shape[1:])
            self.points = nn.Parameter(example.mean() + scale * drawn)
            out = forward(space, torch.zeros(1, space.size), example[None])
            if not isinstance(out, Tensor) or not out.is_floating_point():
                raise ValueError(f"{space} does not give one tensor of numbers; cannot be probed")
            own = tuple(f"p1_{k}" for k in range(out.ndim - 2))
            sizes |= dict(zip(own, out.shape[2:], strict=True))
            answers = {"p1": (*own, "probe")}
        self.answers = tuple(answers)
        axes = {**space.axes, **answers}
        self.target = WeightSpace(axes, sizes, space.hidden, space.parents)

    def forward(self, theta: Tensor) -> Features:
        """Raw weights ``[m, size]`` -> the responses, ``[m, n_k, probes, 1]`` per layer."""
        # a sine of w0 z magnifies rounding: half precision would answer noise
        wide = torch.promote_types(theta.dtype, torch.float32)
        with torch.autocast(theta.device.type, enabled=False):
            points = self.points.to(wide).unsqueeze(0)
            if self.space.is_mlp:
                how = (self.activation, self.w0, self.scaled_bias)
                layers = responses(self.space, theta.to(wide), points, *how)
                found = [h.transpose(1, 2) for h in layers]
            else:
                found = [forward(self.space, theta.to(wide), points).movedim(1, -1)]
            return {
                name: h.unsqueeze(-1).to(theta.dtype)
                for name, h in zip(self.answers, found, strict=True)
            }


def _example(space: WeightSpace) -> Tensor:
    """The one input that a module was derived with."""
    inputs = space.origin.inputs if space.origin and space.origin.module is not None else ()
    one = inputs[0] if len(inputs) == 1 else None
    if not isinstance(one, Tensor) or not one.is_floating_point() or not one.ndim:
        raise ValueError(
            f"{space} cannot be probed: expected an MLP, or a space derived from a module that "
            "takes one tensor of numbers, with that as example"
        )
    return one

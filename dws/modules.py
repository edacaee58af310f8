"""Read the axes of weights off a torch module."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from torch import nn
from torch.nn.modules import conv, pooling
from torch.nn.parameter import UninitializedParameter

Axes = dict[str, tuple[str, ...]]

# layers without parameters that are not the same function of each neuron or channel
MIXING = (
    nn.GLU,
    nn.Unflatten,
    nn.Fold,
    nn.Unfold,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.ChannelShuffle,
    nn.LocalResponseNorm,
    nn.CrossMapLRN2d,
)
POOLING = (
    pooling._MaxPoolNd,
    pooling._AvgPoolNd,
    pooling._LPPoolNd,
    pooling._AdaptiveAvgPoolNd,
    pooling._AdaptiveMaxPoolNd,
)


def read_axes(module: nn.Module) -> tuple[Axes, dict[str, int], tuple[str, ...]]:
    """The axes, sizes and hidden axes of :meth:`dws.WeightSpace.from_module`."""
    reader = _Reader()
    for name, layer in _leaves(module):
        reader.read(name, layer)
    if not reader.axes:
        raise ValueError(f"{type(module).__name__} has no nn.Linear layer and no convolution")
    size = sum(prod(reader.sizes[a] for a in axes) for axes in reader.axes.values())
    own = sum(p.numel() for p in module.parameters())
    if own != size:
        raise ValueError(
            f"its layers have {size} weights, but the module has {own} parameters; layers "
            "must not share or derive them: give each a weight and a bias of its own"
        )
    return reader.axes, reader.sizes, tuple(f"n{k}" for k in range(1, reader.layers))


class _Reader:
    """The axes so far: layer after layer."""

    def __init__(self) -> None:
        self.axes: Axes = {}
        self.sizes: dict[str, int] = {}
        self.layers = 0
        self.image = False  # whether the last layer with weights was a convolution
        # whether its image has been flattened since; None: by a layer of the user's, perhaps
        self.flat: bool | None = True
        self.mixing: str | None = None  # what hidden neurons may not pass, once met

    def read(self, name: str, layer: nn.Module) -> None:
        """Take one more layer."""
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            if self.mixing:
                raise ValueError(self.mixing)
            _check_own(name, layer)
            if isinstance(layer, nn.Linear):
                self._linear(name, layer)
            else:
                self._convolution(name, layer)
        elif any(True for _ in layer.parameters()):
            raise ValueError(
                f"layer {name!r} is a {type(layer).__name__} with parameters; from_module reads "
                "nn.Linear, nn.Conv1d to 3d, and layers without parameters: pass the nn.Sequential "
                "inside it, or name tensors and axes yourself with WeightSpace(...)"
            )
        elif self.layers and any(b.numel() > 1 for b in layer.buffers()):
            self.mixing = (
                f"layer {name!r} is a {type(layer).__name__} that keeps numbers of each neuron, "
                "which would not be permuted with the weights"
            )
        elif self.layers and self._mixes(layer):
            self.mixing = (
                f"layer {name!r} is a {type(layer).__name__}: it mixes neurons, so that they "
                "cannot be permuted"
            )
        elif isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) != (1, -1):
            raise ValueError(f"layer {name!r} flattens other dimensions than 1 to -1")
        elif isinstance(layer, nn.Flatten):
            self.flat = True
        elif not type(layer).__module__.startswith("torch.nn"):
            self.flat = self.flat or None

    def _mixes(self, layer: nn.Module) -> bool:
        if isinstance(layer, POOLING):
            return not self.image or self.flat is True
        if isinstance(layer, nn.GroupNorm):
            return layer.num_groups not in (1, layer.num_channels)
        return isinstance(layer, MIXING)

    def _linear(self, name: str, layer: nn.Linear) -> None:
        if self.image and self.flat is False:
            raise ValueError(
                f"layer {name!r} is linear and follows a convolution: put nn.Flatten() between"
            )
        before = self.sizes.get(f"n{self.layers}", layer.in_features)
        places, rest = divmod(layer.in_features, before)
        if rest or (places > 1 and not self.image):
            what = "convolution" if self.image else "linear layer"
            raise ValueError(
                f"a {what} with {before} outputs is followed by one with "
                f"{layer.in_features} inputs; the layers must chain"
            )
        extra = {"places": places} if places > 1 else {}
        self._add(before, layer.out_features, layer.bias is not None, extra)
        self.image, self.flat = False, True

    def _convolution(self, name: str, layer: conv._ConvNd) -> None:
        if layer.groups != 1:
            raise ValueError(
                f"layer {name!r} has {layer.groups} groups: its channels can be permuted within "
                "groups only; from_module reads convolutions of one group"
            )
        before = self.sizes.get(f"n{self.layers}", layer.in_channels)
        if self.layers and (not self.image or self.flat is True):
            raise ValueError(
                f"layer {name!r} is a convolution after a linear layer or nn.Flatten: it would "
                "slide over neurons, so that they cannot be permuted"
            )
        if before != layer.in_channels:
            raise ValueError(
                f"a layer with {before} outputs is followed by the convolution {name!r} with "
                f"{layer.in_channels} input channels; the layers must chain"
            )
        taps = {"taps": prod(layer.kernel_size)}
        self._add(before, layer.out_channels, layer.bias is not None, taps)
        self.image, self.flat = True, False

    def _add(self, before: int, after: int, bias: bool, extra: dict[str, int]) -> None:
        self.layers += 1
        k = self.layers
        self.sizes.setdefault("n0", before)
        self.sizes[f"n{k}"] = after
        self.sizes |= {f"{kind}{k}": size for kind, size in extra.items()}
        self.axes[f"W{k}"] = (f"n{k}", f"n{k - 1}", *(f"{kind}{k}" for kind in extra))
        if bias:
            self.axes[f"b{k}"] = (f"n{k}",)


def _check_own(name: str, layer: nn.Module) -> None:
    own = [n for n, _ in layer.named_parameters()]
    if any(isinstance(p, UninitializedParameter) for p in layer.parameters()):
        raise ValueError(f"layer {name!r} is lazy and has no sizes yet: run the module once")
    if own not in (["weight"], ["weight", "bias"]):
        raise ValueError(
            f"layer {name!r} has the parameters {own}; expected a weight and perhaps a bias: "
            "remove its parametrisation first"
        )


def _leaves(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of nested ``Sequential`` modules, with their dotted names, in order."""
    own_forward = type(module).forward is not nn.Sequential.forward  # adds its input, say
    if not isinstance(module, nn.Sequential) or own_forward:
        yield prefix or type(module).__name__, module
        return
    # named_children would pass over a layer that comes a second time
    for name, child in zip(module._modules, module, strict=True):
        yield from _leaves(child, f"{prefix}.{name}" if prefix else name)

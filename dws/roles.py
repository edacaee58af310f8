"""What a tensor of a space is, and what it does with each of its axes.

The *kind* says how a tensor enters the computation; the *role* of an axis within a tensor says
whether the tensor writes the neurons of that axis, reads them, or is indexed by it. A weight
``W[out, in]`` writes ``out`` and reads ``in``; the taps of a kernel, the gates of a recurrent
cell and the rows of an embedding are indices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

KINDS = ("weight", "bias", "scale", "shift", "mean", "variance", "slope", "embedding")
"""weight of a linear map or convolution; bias added to it; scale and shift of a norm; running mean
and variance of a batch norm; slope of a PReLU; embedding: rows that are looked up, and what is
added to or put beside activations."""

ROLES = ("writes", "reads", "index")


def chain_kinds(axes: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Kinds of the tensors of a chain of layers (`WeightSpace.mlp`, or of an ``nn.Sequential``).

    They are ``W1, b1, W2, ...`` with axes ``(n_k, n_{k-1}, ...)`` and ``(n_k,)``; of any other
    space the kinds are unknown, and the result is empty.
    """
    kinds: dict[str, str] = {}
    for name, own in axes.items():
        match = re.fullmatch(r"([Wb])([1-9]\d*)", name)
        if match is None:
            return {}
        k = int(match[2])
        expected = (f"n{k}", f"n{k - 1}") if match[1] == "W" else (f"n{k}",)
        extra = own[2:] if match[1] == "W" else ()
        if own != (*expected, *extra) or any(re.fullmatch(r"n\d+", a) for a in extra):
            return {}
        kinds[name] = "weight" if match[1] == "W" else "bias"
    return kinds


def default_roles(kind: str, axes: tuple[str, ...], hidden: tuple[str, ...]) -> tuple[str, ...]:
    """Roles of the axes of a tensor of a kind, in torch's order.

    A weight writes its first axis and reads the second and all further hidden ones; an embedding
    is indexed by its fixed axes and writes the hidden ones; all others write their first axis and
    the hidden ones.
    """
    if kind == "weight":
        rest = ["reads" if k == 1 or a in hidden else "index" for k, a in enumerate(axes)]
        return ("writes", *rest[1:])
    if kind == "embedding":
        return tuple("writes" if a in hidden else "index" for a in axes)
    return tuple("writes" if k == 0 or a in hidden else "index" for k, a in enumerate(axes))

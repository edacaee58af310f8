"""The one pass over the largest tensors: product, broadcast sums, ReLU and pooling together.

A layer's time goes to the features that keep two hidden axes, ``[m, n_k, n_{k-1}, c]``. Op by op,
autograd reads or writes them some thirty times per layer. Here they are cut into pieces of a few
networks that stay in the cache, and each piece passes through all its operations at once. Memory
then sees one read (x) and one write (y) per layer forward, and backward three reads (the gradient,
x, and y for the mask of the ReLU) and one write. :func:`plain_affine` says what is computed;
:class:`Affine` computes it, and is tested against that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

CACHE_BYTES = 1 << 21  # of a piece's input and output, per thread: about the L2 cache of a core
OWN = "_made_by_affine"  # marks gradients that have one reader, the layer below


def affine(
    x: Tensor, weight: Tensor, relu: bool, pool: str | None, *parts: Tensor
) -> tuple[Tensor, ...]:
    """:func:`plain_affine`, by the fastest way that the circumstances allow."""
    # a compiler and autocast rewrite single operations: they get those
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type):
        return plain_affine(x, weight, relu, pool, *parts)
    out: tuple[Tensor, ...] = Affine.apply(x, weight, relu, pool, *parts)  # type: ignore[no-untyped-call]
    return out


def plain_affine(
    x: Tensor, weight: Tensor, relu: bool, pool: str | None, *parts: Tensor
) -> tuple[Tensor, ...]:
    """``y = relu(x weight^T + parts)`` and the summary of y along each of its hidden axes.

    Args:
        x: ``[m, *hidden, c_in]``.
        weight: ``[c_out, c_in]``.
        relu: whether to apply it; else y is linear.
        pool: ``"mean"`` or ``"sum"``, or None for no summaries.
        parts: one or more ``[m, ...]`` of as many dimensions as y, which broadcast to it.

    Returns:
        y ``[m, *hidden, c_out]``, then for each hidden axis y pooled over it.
    """
    y = torch.nn.functional.linear(x, weight)
    for part in parts:
        y = y + part
    if relu:
        y = torch.relu(y)
    if pool is None:
        return (y,)
    axes = range(1, x.ndim - 1)
    return (y, *(y.mean(d) if pool == "mean" else y.sum(d) for d in axes))


class Affine(torch.autograd.Function):
    """:func:`plain_affine`, piece by piece.

    Under ``vmap``, in forward mode and for second derivatives it is computed op by op.
    """

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, relu: bool, pool: str | None, *parts: Tensor
    ) -> tuple[Tensor, ...]:
        """The formula of :func:`plain_affine`."""
        x = x.contiguous()
        y = x.new_empty(*x.shape[:-1], weight.shape[0])
        axes = range(1, x.ndim - 1) if pool else ()
        summaries = [y.new_empty(y.shape[:d] + y.shape[d + 1 :]) for d in axes]
        for rows in _pieces(x, y):
            piece = y[rows]
            _sum([part[rows] for part in parts], piece)
            piece.view(-1, y.shape[-1]).addmm_(x[rows].view(-1, x.shape[-1]), weight.t())
            if relu:
                piece.relu_()
            for d, summary in zip(axes, summaries, strict=True):
                _reduce(piece, d, pool, summary[rows])
        return (y, *summaries)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what the gradient needs: inputs, and y for the mask of the ReLU."""
        x, weight, ctx.relu, ctx.pool, *parts = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, output[0], *parts)
        ctx.save_for_forward(x, weight, output[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *grads: Tensor | None) -> tuple[Any, ...]:
        """Gradients of x, weight and parts."""
        x, weight, y, *parts = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody will differentiate these gradients
            return _plain_backward(ctx, _above(ctx, y, grad, *grads))
        x, above = x.contiguous(), _above(ctx, y, grad, *grads)
        if not above:
            return (None,) * (4 + len(parts))
        need_x, need_weight, _, _, *need_parts = ctx.needs_input_grad
        grad_x = _gradient_buffer(x, grad) if need_x else None
        grad_weight = torch.zeros_like(weight) if need_weight else None
        part_grads = [
            torch.empty_like(part, memory_format=torch.contiguous_format) if needed else None
            for part, needed in zip(parts, need_parts, strict=True)
        ]
        buffer: Tensor | None = None
        for rows in _pieces(x, y):
            shape = y[rows].shape
            buffer = y.new_empty(shape) if buffer is None else buffer[: shape[0]]
            _sum([g[rows] for g in above], buffer)
            if ctx.relu:
                torch.ops.aten.threshold_backward.grad_input(buffer, y[rows], 0, grad_input=buffer)
            for part_grad in part_grads:
                if part_grad is not None:
                    wide = [d for d in range(1, y.ndim - 1) if part_grad.shape[d] < y.shape[d]]
                    _sum_over(buffer, wide, part_grad[rows])
            flat = buffer.view(-1, y.shape[-1])
            if grad_weight is not None:
                grad_weight.addmm_(flat.t(), x[rows].view(-1, x.shape[-1]))
            if grad_x is not None:
                torch.mm(flat, weight, out=grad_x[rows].view(-1, x.shape[-1]))
        return (grad_x, grad_weight, None, None, *part_grads)

    @staticmethod
    def jvp(
        ctx: Any, dx: Tensor | None, dweight: Tensor | None, *rest: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Changes of the outputs along changes of the inputs."""
        x, weight, y = ctx.saved_tensors
        linear = torch.nn.functional.linear
        terms = [part for part in rest[2:] if part is not None]  # relu and pool come before
        terms += [linear(dx, weight)] if dx is not None else []
        terms += [linear(x, dweight)] if dweight is not None else []
        change = sum(terms[1:], start=terms[0]).expand_as(y)
        if ctx.relu:
            change = change.masked_fill(y <= 0, 0)
        axes = range(1, y.ndim - 1) if ctx.pool else ()
        return (change, *(change.mean(d) if ctx.pool == "mean" else change.sum(d) for d in axes))

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
        """The plain formula for each."""
        outputs = torch.vmap(plain_affine, in_dims, randomness=info.randomness)(*args)
        return outputs, (0,) * len(outputs)


def _gradient_buffer(x: Tensor, grad: Tensor | None) -> Tensor:
    """Where the gradient of x goes: over that of y, if this class made it and nobody else has it.

    A backward pass then touches one large buffer instead of one per layer, each of whose pages the
    system would have to find and clear.
    """
    if grad is not None and grad.shape == x.shape and getattr(grad, OWN, False):
        return grad
    made = torch.empty_like(x)
    setattr(made, OWN, True)
    return made


def _pieces(x: Tensor, y: Tensor) -> Iterator[slice]:
    """Cuts of the networks: all at once where no cache of a core is to be met."""
    m = x.shape[0]
    size = m
    if x.device.type == "cpu":
        each = (x[:1].numel() + y[:1].numel()) * x.element_size()
        size = max(1, torch.get_num_threads() * CACHE_BYTES // max(1, each))
    for start in range(0, m, max(1, size)):
        yield slice(start, min(start + size, m))


def _sum(terms: list[Tensor], out: Tensor) -> None:
    """The sum of terms that broadcast to ``out``."""
    if len(terms) == 1:
        out.copy_(terms[0].expand_as(out))
        return
    # the first two may both be smaller than out
    torch.add(terms[0].expand_as(out), terms[1].expand_as(out), out=out)
    for term in terms[2:]:
        out.add_(term)


def _reduce(x: Tensor, dim: int, pool: str | None, out: Tensor) -> None:
    if pool == "mean":
        torch.mean(x, dim, out=out)
    else:
        torch.sum(x, dim, out=out)


def _sum_over(x: Tensor, dims: list[int], out: Tensor) -> None:
    if dims:
        torch.sum(x, dims, keepdim=True, out=out)
    else:
        out.copy_(x)


def _above(ctx: Any, y: Tensor, grad: Tensor | None, *grads: Tensor | None) -> list[Tensor]:
    """Gradients of y: its own, then what reaches it through each summary; they broadcast to y."""
    above = [] if grad is None else [grad]
    for d, g in enumerate(grads, start=1):
        if g is not None:
            above.append((g / y.shape[d] if ctx.pool == "mean" else g).unsqueeze(d))
    return above


def _plain_backward(ctx: Any, above: list[Tensor]) -> tuple[Any, ...]:
    """The gradients of :meth:`Affine.backward` in operations that can be differentiated again."""
    x, weight, y, *parts = ctx.saved_tensors
    if not above:
        return (None,) * (4 + len(parts))
    need_x, need_weight, _, _, *need_parts = ctx.needs_input_grad
    total = sum(above[1:], start=above[0]).expand_as(y)
    if ctx.relu:
        total = total.masked_fill(y <= 0, 0)
    return (
        total @ weight if need_x else None,
        total.flatten(0, -2).t() @ x.flatten(0, -2) if need_weight else None,
        None,
        None,
        *(
            total.sum_to_size(part.shape) if needed else None
            for part, needed in zip(parts, need_parts, strict=True)
        ),
    )

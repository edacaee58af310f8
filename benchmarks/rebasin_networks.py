"""The networks that `rebasin.py` trains, their data, and the training."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad, scaled_dot_product_attention

Data = tuple[Tensor, Tensor]
"""Inputs and labels."""


class Block(nn.Module):
    """A residual block of two 3x3 convolutions with batch norm."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.skip = nn.Sequential()
        if stride > 1:
            self.skip = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``[n, channels, h, w] -> [n, out, h / stride, w / stride]``."""
        h = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(h)) + self.skip(x))


class ResNet20(nn.Module):
    """He et al. 2015 for CIFAR-10: three stages of three blocks, with projections between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        stages = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)]
        self.blocks = nn.Sequential(
            *(
                Block(out if k else channels, out, 1 if k else stride)
                for channels, out, stride in stages
                for k in range(3)
            )
        )
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 3, 32, 32] -> [n, 10]``."""
        h = self.blocks(torch.relu(self.bn(self.conv(x))))
        return self.head(h.mean((2, 3)))


class Attention(nn.Module):
    """Multi-head self-attention with a linear layer each for queries, keys, values and outputs."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, steps, width]`` to the same."""
        q, k, v = (
            f(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v)
        )
        return self.o(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and two linear layers, each after a layer norm and added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, steps, width]`` to the same."""
        x = x + self.attention(self.norm1(x))
        return x + self.down(torch.relu(self.up(self.norm2(x))))


class RowTransformer(nn.Module):
    """Reads a picture row by row: a step per row, mean over steps, ten classes."""

    def __init__(self, width: int, heads: int = 4, layers: int = 2, rows: int = 28) -> None:
        super().__init__()
        self.rows = nn.Linear(rows, width)
        self.position = nn.Parameter(0.02 * torch.randn(rows, width))
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, rows, 28] -> [n, 10]``."""
        return self.head(self.norm(self.layers(self.rows(x) + self.position)).mean(1))


def cifar10(folder: Path, part: str, first: int | None = None) -> Data:
    """``train`` or ``test`` of a folder of Parquet files of encoded pictures."""
    import pyarrow.parquet as pq
    from PIL import Image

    table = pq.read_table(folder / f"{part}.parquet").slice(0, first)
    pictures = [
        np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in table["img"].to_pylist()
    ]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.491, 0.482, 0.447]), torch.tensor([0.247, 0.243, 0.262])
    return (x - mean.view(3, 1, 1)) / std.view(3, 1, 1), torch.tensor(table["label"].to_pylist())


def mnist(folder: Path, part: str, first: int | None = None) -> Data:
    """``train`` or ``test`` of a folder of the four original files."""
    name = {"train": "train", "test": "t10k"}[part]
    with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as file:
        x = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz") as file:
        y = np.frombuffer(file.read(), np.uint8, offset=8)
    x, y = x[:first].copy(), y[:first].copy()
    return torch.from_numpy(x).float() / 255, torch.from_numpy(y).long()


def batches(data: Data, size: int, generator: torch.Generator) -> Iterator[Data]:
    """One epoch in random order; pictures with channels are flipped and shifted."""
    x, y = data
    for rows in torch.randperm(len(x), generator=generator).split(size):
        batch = x[rows]
        if batch.ndim == 4:
            flipped = torch.rand(len(rows), generator=generator) < 0.5
            batch = torch.where(flipped.view(-1, 1, 1, 1), batch.flip(3), batch)
            dy, dx = torch.randint(0, 9, (2,), generator=generator).tolist()
            batch = pad(batch, (4, 4, 4, 4))[:, :, dy : dy + 32, dx : dx + 32]
            batch = batch.contiguous(memory_format=torch.channels_last)
        yield batch, y[rows]


def train(net: nn.Module, data: Data, epochs: int, lr: float, seed: int) -> None:
    """AdamW with one cycle of the learning rate; convolutions in bfloat16."""
    generator, size = torch.Generator().manual_seed(seed), 128
    steps = epochs * math.ceil(len(data[0]) / size)
    optimizer = torch.optim.AdamW(net.parameters(), lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    net.train()
    for epoch in range(epochs):
        total = 0.0
        for x, y in batches(data, size, generator):
            with torch.autocast("cpu", torch.bfloat16, enabled=x.ndim == 4):
                out = net(x)
            loss = cross_entropy(out.float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(x)
        print(f"epoch {epoch + 1} of {epochs}: loss {total / len(data[0]):.3f}", flush=True)
    net.eval()

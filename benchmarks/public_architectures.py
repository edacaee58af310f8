"""Public architectures of the field, rebuilt small from their papers, for `symmetries.py`.

None was chosen for what the derivation can do. Each keeps the operations of the original; widths
and depths are small.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MixerBlock(nn.Module):
    """MLP-Mixer (Tolstikhin et al. 2021): MLPs over tokens and over channels."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.token1, self.token2 = nn.Linear(tokens, 12), nn.Linear(12, tokens)
        self.channel1, self.channel2 = nn.Linear(width, 10), nn.Linear(10, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x).transpose(1, 2)
        x = x + self.token2(F.gelu(self.token1(y))).transpose(1, 2)
        return x + self.channel2(F.gelu(self.channel1(self.norm2(x))))


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.Sequential(MixerBlock(4, 8), MixerBlock(4, 8))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x).flatten(2).transpose(1, 2))
        return self.head(self.norm(x).mean(1))


class ConvNextBlock(nn.Module):
    """ConvNeXt (Liu et al. 2022): depthwise, layer norm, inverted bottleneck, layer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(1e-2 * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 6, 2, 2), nn.Sequential(ConvNextBlock(6))
        self.between = nn.Conv2d(6, 8, 2, 2)
        self.last, self.head = ConvNextBlock(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.between(self.blocks(self.stem(x))))
        return self.head(x.mean((-2, -1)))


class DenseLayer(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(width), nn.Conv2d(width, 8, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(8), nn.Conv2d(8, growth, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(y)))], 1)


class DenseNet(nn.Module):
    """DenseNet-BC (Huang et al. 2017): bottlenecks, concatenation, a transition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 1, 1, bias=False)
        self.block1 = nn.Sequential(DenseLayer(6, 4), DenseLayer(10, 4))
        self.norm, self.transition = nn.BatchNorm2d(14), nn.Conv2d(14, 7, 1, bias=False)
        self.block2 = nn.Sequential(DenseLayer(7, 4))
        self.last, self.head = nn.BatchNorm2d(11), nn.Linear(11, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.transition(F.relu(self.norm(self.block1(self.stem(x)))))
        x = F.relu(self.last(self.block2(F.avg_pool2d(x, 2))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class SqueezeBlock(nn.Module):
    """SE-ResNet (Hu et al. 2018): a gate of each channel from the mean of all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width)
        self.squeeze, self.excite = nn.Linear(width, 3), nn.Linear(3, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        b, c = y.shape[:2]
        gate = self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1).view(b, c))))
        return F.relu(x + y * gate.sigmoid().view(b, c, 1, 1).expand_as(y))


class SqueezeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 6, 3, 1, 1), SqueezeBlock(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.stem(x)).mean((2, 3)))


class Inverted(nn.Module):
    """MobileNetV2 (Sandler et al. 2018): expand, depthwise, project."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        wide = 3 * before
        self.added = stride == 1 and before == after
        self.layers = nn.Sequential(
            *(nn.Conv2d(before, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            *(nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.added else self.layers(x)


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU6())
        self.blocks = nn.Sequential(Inverted(4, 4, 1), Inverted(4, 6, 2))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean([2, 3]))


class Conv1D(nn.Module):
    """The transposed linear layer of GPT-2's code."""

    def __init__(self, after: int, before: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(before, after))
        self.bias = nn.Parameter(torch.zeros(after))
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        y = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return y.view(*x.shape[:-1], self.after)


class Gpt2Block(nn.Module):
    """GPT-2 (Radford et al. 2019), as in its code: one matrix, a mask in a buffer."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = Conv1D(3 * width, width), Conv1D(width, width)
        self.c_fc, self.mlp_proj = Conv1D(10, width), Conv1D(width, 10)
        mask = torch.tril(torch.ones(length, length)).view(1, 1, length, length)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        parts = self.c_attn(self.ln_1(x)).split(width, dim=2)
        q, k, v = (t.view(b, n, self.heads, -1).transpose(1, 2) for t in parts)
        scores = (q @ k.transpose(-1, -2)) * (1.0 / k.size(-1) ** 0.5)
        scores = scores.masked_fill(self.mask[:, :, :n, :n] == 0, float("-inf"))
        y = (scores.softmax(-1) @ v).transpose(1, 2).contiguous().view(b, n, width)
        x = x + self.c_proj(y)
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(11, 8), nn.Embedding(6, 8)
        self.h = nn.ModuleList([Gpt2Block(8, 2, 6), Gpt2Block(8, 2, 6)])
        self.ln_f, self.lm_head = nn.LayerNorm(8), nn.Linear(8, 11, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(0, tokens.size(1), dtype=torch.long)
        x = self.wte(tokens) + self.wpe(positions)
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class RmsNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * y.type_as(x)


class LlamaBlock(nn.Module):
    """Llama (Touvron et al. 2023): RMS norm, rotary positions, grouped queries, SwiGLU."""

    def __init__(self, width: int = 16, heads: int = 4, groups: int = 2) -> None:
        super().__init__()
        self.heads, self.groups, self.each = heads, groups, width // heads
        self.norm1, self.norm2 = RmsNorm(width), RmsNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, groups * self.each, bias=False)
        self.v = nn.Linear(width, groups * self.each, bias=False)
        self.o = nn.Linear(width, width, bias=False)
        self.gate, self.up = (nn.Linear(width, 10, bias=False) for _ in range(2))
        self.down = nn.Linear(10, width, bias=False)
        frequencies = 1.0 / 10000 ** (torch.arange(0, self.each, 2).float() / self.each)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def rotated(self, x: Tensor) -> Tensor:
        angles = torch.outer(torch.arange(x.shape[2]).to(self.frequencies), self.frequencies)
        angles = torch.cat([angles, angles], -1)
        half = x.shape[-1] // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], -1)
        return x * angles.cos() + turned * angles.sin()

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        y = self.norm1(x)
        q = self.q(y).view(b, n, self.heads, self.each).transpose(1, 2)
        k, v = (f(y).view(b, n, self.groups, self.each).transpose(1, 2) for f in (self.k, self.v))
        q, k = self.rotated(q), self.rotated(k)
        times = self.heads // self.groups
        k, v = (
            t[:, :, None].expand(b, self.groups, times, n, self.each).reshape(b, self.heads, n, -1)
            for t in (k, v)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, n, -1))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 16)
        self.blocks = nn.Sequential(LlamaBlock(), LlamaBlock())
        self.norm, self.head = RmsNorm(16), nn.Linear(16, 11, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embed(tokens))))


class WaveNet(nn.Module):
    """WaveNet (van den Oord et al. 2016): dilated, gated, residual and skip connections."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 6, 1)
        self.filters = nn.ModuleList(nn.Conv1d(6, 8, 2, dilation=2**k) for k in range(3))
        self.residual = nn.ModuleList(nn.Conv1d(4, 6, 1) for _ in range(3))
        self.skip = nn.ModuleList(nn.Conv1d(4, 5, 1) for _ in range(3))
        self.end1, self.end2 = nn.Conv1d(5, 7, 1), nn.Conv1d(7, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        skips = 0
        for k, (filters, residual, skip) in enumerate(
            zip(self.filters, self.residual, self.skip, strict=True)
        ):
            a, b = filters(F.pad(x, (2**k, 0))).chunk(2, 1)
            y = torch.tanh(a) * torch.sigmoid(b)
            x, skips = x + residual(y), skips + skip(y)
        return self.end2(F.relu(self.end1(F.relu(skips))))


class PointNet(nn.Module):
    """PointNet (Qi et al. 2017): a learned transform of features, a maximum over points."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv1d(3, 6, 1), nn.BatchNorm1d(6)
        self.transform1, self.transform2 = nn.Conv1d(6, 8, 1), nn.Linear(8, 36)
        self.conv2, self.norm2 = nn.Conv1d(6, 10, 1), nn.BatchNorm1d(10)
        self.fc, self.head = nn.Linear(10, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        matrix = self.transform2(F.relu(self.transform1(x)).max(2)[0]).view(-1, 6, 6)
        matrix = matrix + torch.eye(6)
        x = torch.bmm(x.transpose(2, 1), matrix).transpose(2, 1)
        x = torch.max(self.norm2(self.conv2(x)), 2)[0]
        return self.head(F.dropout(F.relu(self.fc(x)), 0.3, self.training))


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015), with group norm as in diffusion models."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.GroupNorm(2, 4), nn.SiLU())
        self.down = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.SiLU())
        self.middle = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.GroupNorm(2, 8), nn.SiLU())
        self.up = nn.Conv2d(8, 4, 3, 1, 1)
        self.join = nn.Sequential(nn.Conv2d(8, 4, 3, 1, 1), nn.GroupNorm(2, 4), nn.SiLU())
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        x = self.down(first)
        x = x + self.middle(x)
        x = self.up(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.last(self.join(torch.cat([first, x], 1)))

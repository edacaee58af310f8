"""Small modules of every kind that people train, each with example inputs."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


class ResidualMlp(nn.Module):
    def __init__(self, width=6, blocks=2):
        super().__init__()
        self.first, self.last = nn.Linear(3, width), nn.Linear(width, 2)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"up": nn.Linear(width, 5), "down": nn.Linear(5, width)})
            for _ in range(blocks)
        )

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block["down"](torch.tanh(block["up"](x)))
        return self.last(x)


class BasicBlock(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.short = nn.Sequential()
        if stride != 1 or before != after:
            self.short = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.short(x)
        return F.relu(out)


class ResNet(nn.Module):
    """ResNet-18 with ``width=64, blocks=(2, 2, 2, 2)``."""

    def __init__(self, width=4, blocks=(1, 1), classes=3):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        before, layers = width, []
        for k, count in enumerate(blocks):
            after = width * 2**k
            for j in range(count):
                layers.append(BasicBlock(before, after, 2 if k and not j else 1))
                before = after
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(before, classes)

    def forward(self, x):
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Recurrent(nn.Module):
    def __init__(self, cell, **options):
        super().__init__()
        self.cell = cell(3, 4, batch_first=True, **options)
        wide = 4 * (2 if self.cell.bidirectional else 1)
        self.head = nn.Linear(options.get("proj_size", 0) or wide, 2)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


class LastState(nn.Module):
    """The last layer's last state, as most code takes it."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 4, 2), nn.Linear(4, 2)

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return self.head(h[-1])


class ElmanByHand(nn.Module):
    def __init__(self):
        super().__init__()
        self.read, self.state, self.head = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x):
        h = torch.zeros(x.shape[0], 5, dtype=x.dtype)
        for t in range(x.shape[1]):
            h = torch.tanh(self.read(x[:, t]) + self.state(h))
        return self.head(h)


class LstmByHand(nn.Module):
    def __init__(self):
        super().__init__()
        self.read, self.state = nn.Linear(3, 16), nn.Linear(4, 16, bias=False)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        h = c = x.new_zeros(x.shape[0], 4)
        for t in range(x.shape[1]):
            i, f, g, o = (self.read(x[:, t]) + self.state(h)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.head(h)


class Attention(nn.Module):
    """By hand: one matrix for queries, keys and values."""

    def __init__(self, width=8, heads=2, causal=False):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        b, n, width = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(x.transpose(1, 2).reshape(b, n, width))


class AttentionBlock(nn.Module):
    """Separate matrices, softmax by hand."""

    def __init__(self, inside=5, width=6, heads=2):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(inside, width) for _ in range(3))
        self.out = nn.Linear(width, 2)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = (
            f(x).view(b, n, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v)
        )
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, width, heads, causal=False):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, causal)
        self.fc, self.proj = nn.Linear(width, 10), nn.Linear(10, width)

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.proj(F.gelu(self.fc(self.ln2(x))))


class Vit(nn.Module):
    def __init__(self, width=8, heads=2, depth=2):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.cls = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 5, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Gpt(nn.Module):
    """Tied embedding, learned positions, causal attention."""

    def __init__(self, width=8, heads=2, depth=2, vocabulary=11, length=6):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, causal=True) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens):
        at = torch.arange(tokens.shape[1])
        x = self.tokens(tokens) + self.positions(at)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 10, batch_first=True, norm_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.layer(self.embed(x)).mean(1))


class Gated(nn.Module):
    """SwiGLU in one matrix, RMS norm and a PReLU."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.slope = nn.Linear(3, 6), nn.RMSNorm(6), nn.PReLU(6)
        self.up, self.down = nn.Linear(6, 10, bias=False), nn.Linear(5, 2)

    def forward(self, x):
        a, b = self.up(self.slope(self.norm(self.first(x)))).chunk(2, -1)
        return self.down(F.silu(a) * b)


class Grouped(nn.Module):
    """Depth-wise and grouped convolutions and a group norm."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.norm = nn.GroupNorm(4, 12)
        self.last = nn.Conv2d(12, 2, 1)

    def forward(self, x):
        x = F.relu(self.depthwise(self.first(x)))
        return self.last(F.relu(self.norm(self.grouped(x)))).mean((2, 3))


class Generator(nn.Module):
    """Linear, reshape, transposed convolutions."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 5 * 4)
        self.up = nn.ConvTranspose2d(5, 4, 4, 2, 1)
        self.last = nn.ConvTranspose2d(4, 1, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.first(x)).view(-1, 5, 2, 2)
        return self.last(F.relu(self.up(x)))


class UNet(nn.Module):
    def __init__(self, width=4, depth=2):
        super().__init__()
        widths = [width * 2**k for k in range(depth + 1)]
        self.first = nn.Conv2d(1, width, 3, padding=1)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairs[::-1])
        self.join = nn.ModuleList(nn.Conv2d(2 * a, a, 3, padding=1) for a, _ in pairs[::-1])
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        x, kept = F.relu(self.first(x)), []
        for down in self.down:
            kept.append(x)
            x = F.relu(down(F.max_pool2d(x, 2)))
        for up, join in zip(self.up, self.join, strict=True):
            x = F.relu(join(torch.cat([kept.pop(), up(x)], 1)))
        return self.last(x)


class DenseNet(nn.Module):
    def __init__(self, growth=3, layers=3):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        sizes = [4 + growth * k for k in range(layers)]
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in sizes)
        self.convs = nn.ModuleList(nn.Conv2d(n, growth, 3, padding=1) for n in sizes)
        self.head = nn.Linear(4 + growth * layers, 2)

    def forward(self, x):
        found = [self.first(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            found.append(conv(F.relu(norm(torch.cat(found, 1)))))
        return self.head(torch.cat(found, 1).mean((2, 3)))


# --- what breaks tools that derive coupling -------------------------------------------------------


class Broadcast(nn.Module):
    """One channel times many: a spatial gate."""

    def __init__(self):
        super().__init__()
        self.many, self.one = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 1, 1)
        self.head = nn.Linear(32, 2)

    def forward(self, x):
        x = F.relu(self.many(x))
        return self.head((x * self.one(x).sigmoid()).mean((2, 3)))


class TwiceItself(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(8, 2)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        return self.last(torch.cat([x, x], 1))


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(1, 3, 1),
            nn.Conv2d(1, 4, 3, padding=1),
            nn.Conv2d(7, 5, 1),
        )
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        x = F.relu(self.c(F.relu(torch.cat([self.a(x), self.b(x)], 1))))
        return self.head(x.mean((2, 3)))


class InAList(nn.Module):
    def __init__(self):
        super().__init__()
        shapes = [(4, 3), (4,), (2, 4)]
        self.p = nn.ParameterList(nn.Parameter(torch.randn(s)) for s in shapes)

    def forward(self, x):
        return torch.relu(x @ self.p[0].T + self.p[1]) @ self.p[2].t()


class PooledHeads(nn.Module):
    """Queries and keys of each head pooled by one depth-wise convolution, as in MViT."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.heads = heads
        self.embed = nn.Linear(3, width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, 2)
        self.pool = nn.Conv1d(width // heads, width // heads, 3, padding=1, groups=width // heads)

    def pooled(self, x):
        b, h, n, d = x.shape
        x = self.pool(x.reshape(b * h, n, d).transpose(1, 2))
        return x.transpose(1, 2).reshape(b, h, n, d)

    def forward(self, x):
        b, n, _ = x.shape
        qkv = self.qkv(self.embed(x)).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = self.pooled(qkv[0]), self.pooled(qkv[1]), qkv[2]
        x = F.scaled_dot_product_attention(q, k, v)
        return self.out(x.transpose(1, 2).reshape(b, n, -1))


class CalledTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.twice, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(torch.relu(self.twice(torch.relu(self.twice(self.first(x))))))


class CalledOnTwo(nn.Module):
    """One layer that reads two others: both have its order."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.shared = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 5)
        self.last = nn.Linear(5, 2)

    def forward(self, x):
        return self.last(self.shared(torch.relu(self.a(x))) * self.shared(torch.tanh(self.b(x))))


class PartialResidual(nn.Module):
    """Only the first channels are added, as in CNN Wild Park."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        x = F.relu(self.a(x))
        y = F.relu(self.b(x))
        n = min(x.shape[1], y.shape[1])
        y = torch.cat([y[:, :n] + x[:, :n], y[:, n:]], 1)
        return self.head(y.mean((2, 3)))


class AddedInPlace(PartialResidual):
    def forward(self, x):
        x = F.relu(self.a(x))
        y = self.b(x)
        y[:, :4] += x
        return self.head(F.relu(y).mean((2, 3)))


class FlattenedRows(nn.Module):
    """Only one of two spatial axes is flattened with the channels."""

    def __init__(self):
        super().__init__()
        self.conv, self.mix = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(12, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        x = F.relu(self.conv(x)).flatten(1, 2).transpose(1, 2)
        return self.head(torch.relu(self.mix(x)).mean(1))


class Unknown(nn.Module):
    """An operation without a rule between two layers, beside a layer that it does not touch."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.fft.fft(self.a(x)).real)))


class Learned(nn.Module):
    """Data-dependent control flow that `torch.export` cannot read."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.b(h if h.sum().item() > -1 else -h)

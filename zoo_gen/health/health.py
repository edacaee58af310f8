"""Statistics and faults of a zoo: one pass over its shards, each of which may be missing or bad.

Memory holds two shards, 16 bytes a network (hashes of its weights and of its seed) and samples of
fixed size, whatever the zoo's size.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo_gen.errors import ZooError
from zoo_gen.health.shard_check import BadShard, Measured, each_shard, rows_per_shard, strays
from zoo_gen.health.streaming import Ends, Moments, Thinned, Words
from zoo_gen.zoo.layout import shard_name
from zoo_gen.zoo.shards import Columns
from zoo_gen.zoo.zoo import Rows, ZooReader

SAMPLED_ROWS = 1 << 18  # of the columns: quartiles of larger zoos are of every k-th network
SAMPLED_WEIGHTS = 1 << 20
LEAST_SAMPLED = 16
TINY = 1e-6  # a neuron with no weight above it, in or out, does nothing
FLAT = 1e-3  # a drawing whose values spread less shows nothing
PROBES = 16  # points at which drawings are tried
IDENTITY = {"member", "signal", "view", "seed"}  # name a network, measure nothing
MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class Print:
    """Fingerprint of one tensor over the networks that are ok, in row order.

    Attributes:
        moments: of its finite weights.
        digest: SHA-256 over the bytes of all its weights.
    """

    moments: Moments = field(default_factory=Moments)
    digest: Any = field(default_factory=hashlib.sha256)

    @property
    def short(self) -> str:
        """Eight hexadecimal digits of the digest."""
        return str(self.digest.hexdigest()[:8])


@dataclass
class Health:
    """What one pass over a zoo found. Statistics are of networks with status ``ok``.

    Attributes:
        zoo: that was examined.
        bad: shards that cannot be used.
        strays: files among the shards that are none of this zoo's.
        sizes: name of each shard that was read -> bytes.
        counts: (split, status) -> networks.
        missing: column -> rows of any status without a value.
        numbers, words: column -> its statistics.
        tensors: tensor -> its fingerprint.
        sample: every k-th network's columns; ``sample.step`` is k.
        weights: every k-th network's ``theta`` and ``member``.
        ends: least and greatest of each weight.
        best, worst: member with the least and greatest loss, None where losses are not known.
        not_finite, all_equal: networks whose weights hold NaN or infinity; are one number.
        neurons, dead: hidden neurons; those without any weight above 1e-6 going in, or out.
        flat: networks that draw nearly the same value at 16 points, None where none can be drawn.
        starts, hashes, seeds: per shard read, its first member and 64-bit keys of its rows.
    """

    zoo: ZooReader
    bad: list[BadShard] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, Moments] = field(default_factory=dict)
    words: dict[str, Words] = field(default_factory=dict)
    tensors: dict[str, Print] = field(default_factory=dict)
    sample: Thinned = field(default_factory=lambda: Thinned(SAMPLED_ROWS))
    weights: Thinned = field(default_factory=lambda: Thinned(LEAST_SAMPLED))
    ends: Ends = field(default_factory=lambda: Ends.of(0))
    best: tuple[int, float] | None = None
    worst: tuple[int, float] | None = None
    not_finite: int = 0
    all_equal: int = 0
    neurons: int = 0
    dead: int = 0
    flat: int | None = None
    starts: list[int] = field(default_factory=list)
    hashes: list[npt.NDArray[np.uint64]] = field(default_factory=list)
    seeds: list[npt.NDArray[np.uint64]] = field(default_factory=list)

    @property
    def there(self) -> int:
        """Networks that could be read."""
        return sum(self.counts.values())

    @property
    def ok(self) -> int:
        """Networks of status ok that could be read."""
        return sum(n for (_, status), n in self.counts.items() if status == "ok")

    def twice(self, keys: list[npt.NDArray[np.uint64]]) -> tuple[int, tuple[int, int] | None]:
        """Rows whose key (0: none) an earlier one has, and one such pair of members."""
        if not keys:
            return 0, None
        all_keys = np.concatenate(keys)
        ordered = np.sort(all_keys[all_keys != 0])
        again = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(again):
            return 0, None
        first, second = (self._member(int(i)) for i in np.flatnonzero(all_keys == again[0])[:2])
        return len(again), (first, second)

    def _member(self, row: int) -> int:
        """Of a row among those that could be read."""
        for start, part in zip(self.starts, self.hashes, strict=True):
            if row < len(part):
                return start + row
            row -= len(part)
        raise AssertionError(f"row {row} is of no shard")


def examine(zoo: ZooReader, progress: Callable[[int], None] = lambda done: None) -> Health:
    """Read every byte of a zoo once; missing and bad shards are reported, not raised.

    Args:
        zoo: complete or not.
        progress: called with the number of networks passed.
    """
    measured = Measured(zoo.store.root)
    zoo = ZooReader(measured, zoo.folder)
    rows = max(LEAST_SAMPLED, SAMPLED_WEIGHTS // zoo.space.size)
    health = Health(zoo, weights=Thinned(rows), ends=Ends.of(zoo.space.size))
    health.tensors = {name: Print() for name in zoo.space.names}
    probe = probes(zoo)
    for shard, found in enumerate(each_shard(zoo)):
        if isinstance(found, BadShard):
            health.bad.append(found)
        elif stranger := _other_columns(health, found):
            reason = f"its columns are not those of the shards before: {stranger}"
            health.bad.append(BadShard(shard_name(shard), "corrupt", reason))
        else:
            _take(health, shard * rows_per_shard(zoo), found, probe)
            name = shard_name(shard)
            health.sizes[name] = measured.sizes[zoo.path(f"shards/{name}")]
        progress(min((shard + 1) * rows_per_shard(zoo), len(zoo)))
    health.strays = strays(zoo)
    return health


def probes(zoo: ZooReader) -> Tensor | None:
    """A few points ``[points, d_in]`` at which networks can be drawn; None if they cannot."""
    inputs = zoo.space.shapes[zoo.space.names[0]][-1]
    points = torch.rand(PROBES, inputs, generator=torch.Generator().manual_seed(0)) * 2 - 1
    try:
        zoo.render(torch.zeros(1, zoo.space.size), points.numpy())
    except ZooError:
        return None
    return points


def _other_columns(health: Health, rows: Rows) -> str:
    """In what a shard's columns differ from those before, nothing if in nothing."""
    kinds = {name: isinstance(x, Tensor) for name, x in rows.columns.items()}
    before = {name: True for name in (*health.numbers, *IDENTITY)}
    before |= {name: False for name in health.words}
    if not health.hashes or kinds == before:
        return ""
    return ", ".join(sorted(n for n, _ in kinds.items() ^ before.items()))


def _take(health: Health, start: int, rows: Rows, probe: Tensor | None) -> None:
    """Take in one shard."""
    theta = rows.theta
    columns: Columns = {
        name: x.numpy() if isinstance(x, Tensor) else x for name, x in rows.columns.items()
    }
    good = columns["status"] == "ok"
    for split, status in zip(columns["split"], columns["status"], strict=True):
        health.counts[str(split), str(status)] += 1
    _take_columns(health, columns, good)
    _take_hashes(health, start, theta.numpy(), columns, good)
    health.weights.add({"member": columns["member"][good], "theta": theta.numpy()[good]})
    ok = theta[torch.from_numpy(good)]
    finite = torch.isfinite(ok).all(1)
    health.not_finite += int((~finite).sum())
    health.all_equal += int((ok == ok[:, :1]).all(1).sum())
    health.ends.add(ok[finite].numpy())
    dead: dict[str, Tensor] = {}
    for name, x in health.zoo.space.split(ok).items():
        values = np.ascontiguousarray(x[..., 0].numpy())
        health.tensors[name].moments.add(values)
        health.tensors[name].digest.update(values.data)
        for axis, idle in _idle(x[..., 0].abs(), health.zoo.space.axes[name]).items():
            if axis in health.zoo.space.hidden:
                dead[axis] = dead[axis] | idle if axis in dead else idle
    health.neurons += sum(x.numel() for x in dead.values())
    health.dead += sum(int(x.sum()) for x in dead.values())
    if probe is not None:
        drawn = health.zoo.render(ok[finite], probe.numpy()) if finite.any() else ok[:0, None]
        spread = drawn.amax(1) - drawn.amin(1)
        health.flat = (health.flat or 0) + int((spread.amax(-1) < FLAT).sum())


def _take_columns(health: Health, columns: Columns, good: npt.NDArray[np.bool_]) -> None:
    for name, values in columns.items():
        text = values.dtype.kind == "U"
        health.missing[name] += int((values == "" if text else np.isnan(values)).sum())
        if text:
            health.words.setdefault(name, Words()).add(values[good])
        elif name not in IDENTITY:
            health.numbers.setdefault(name, Moments()).add(values[good].astype(np.float64))
    kept = {name: x[good] for name, x in columns.items()}
    health.sample.add({name: x for name, x in kept.items() if name not in ("status", "seed")})
    losses, members = kept["loss"], kept["member"]
    if (known := np.isfinite(losses)).any():
        losses = np.where(known, losses, np.nan)
        least, most = np.nanargmin(losses), np.nanargmax(losses)
        best = (int(members[least]), float(losses[least]))
        worst = (int(members[most]), float(losses[most]))
        health.best = min(health.best or best, best, key=lambda pair: pair[1])
        health.worst = max(health.worst or worst, worst, key=lambda pair: pair[1])


def _take_hashes(
    health: Health,
    start: int,
    theta: npt.NDArray[np.float32],
    columns: Columns,
    good: npt.NDArray[np.bool_],
) -> None:
    """Remember 64 bits of each network that is ok, and of its seed and view; 0 for the others."""
    digests = [hashlib.blake2b(row.data, digest_size=8).digest() for row in theta]
    hashes = np.frombuffer(b"".join(digests), np.uint64)
    seeds = columns["seed"]
    if seeds.dtype.kind == "i":  # else some are not known
        # snapshots of one training share its seed: they differ in their view
        views = columns["view"].astype(np.uint64) + np.uint64(1)
        keys = (seeds.astype(np.uint64) + MIX * views) * MIX
    else:
        keys = np.zeros(len(theta), np.uint64)
    health.starts.append(start)
    health.hashes.append(np.where(good, hashes, np.uint64(0)))
    health.seeds.append(np.where(good, keys, np.uint64(0)))


def _idle(size: Tensor, axes: tuple[str, ...]) -> dict[str, Tensor]:
    """Axis -> ``[m, n]``: where a matrix holds nothing above `TINY` for that neuron.

    Args:
        size: absolute values ``[m, *shape]``.
        axes: of the tensor; of a bias (one axis) nothing follows.
    """
    if len(axes) < 2:
        return {}
    dims = range(1, len(axes) + 1)
    return {
        axis: size.amax([d for d in dims if d != k]) < TINY for k, axis in enumerate(axes, start=1)
    }

"""Generation as Ray tasks: the one door to Ray's core.

A task fits one shard and publishes it itself, so that only a few bytes come back and a lost worker
costs at most its shard. A bounded number is in flight, so that the driver's memory does not grow
with the zoo.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray

from zoo_gen.errors import DwszooError, EngineError
from zoo_gen.log import LOG, was_logged
from zoo_gen.make.fit.choice import wants_gpu
from zoo_gen.make.generate import ShardDone, fit_shard
from zoo_gen.make.job import Progress, ShardJob

POLL_SECONDS = 0.3
RETRIES = 3
IN_FLIGHT = 64
IN_FLIGHT_PER_CPU = 2
PROBE_SECONDS = 5
WORKER_PROCESSES = 16
GPU_SHARE = 0.25  # one task writes and reads while another computes


@contextmanager
def cluster(address: str | None = None, workers: int | None = None) -> Iterator[int]:
    """A Ray session, started here or joined.

    Args:
        address: of a running cluster (``"auto"``, ``ray://host:port``), or None for a Ray of this
            process's own, on loopback, that ends with the block.
        workers: CPUs of a local Ray; None for all of this machine.

    Yields:
        Number of CPUs.

    Raises:
        EngineError: Ray cannot be started or reached.
    """
    if ray.is_initialized():  # a session of a notebook or a test: used, not ended
        yield int(ray.cluster_resources().get("CPU", 1))
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"num_cpus": workers or os.cpu_count() or 1, "include_dashboard": False}
        # Ray Train's helpers are many processes; Ray would warn of more than four times this
        options |= {"_system_config": {"worker_maximum_startup_concurrency": WORKER_PROCESSES}}
    try:
        if address is not None:
            _check_listening(address)
        ray.init(address=address or "local", **options)
    except Exception as error:  # whatever Ray raises, down to a bare Exception on a busy machine
        where = f"the Ray cluster at {address}" if address else "a local Ray"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EngineError(
            f"{where} could not be reached or started: {reason}; "
            "try --engine local, which needs no Ray"
        ) from error
    try:
        yield int(ray.cluster_resources().get("CPU", 1))
    finally:
        ray.shutdown()


def _check_listening(address: str) -> None:
    """Raise `OSError` if nobody listens at ``[ray://]host:port``: Ray would wait for minutes."""
    host, colon, port = address.rsplit("//", 1)[-1].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=PROBE_SECONDS).close()


class RayEngine:
    """Shards as tasks of one CPU each, on the Ray session of :func:`cluster`.

    Args:
        workers: tasks in flight at most; None for `IN_FLIGHT`, or two per CPU where that is more.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers

    def fit(self, job: ShardJob, missing: list[int], progress: Progress) -> Iterable[ShardDone]:
        """Fit and publish these shards, yielding them as they are done.

        Raises:
            EngineError: a shard's worker died more often than it is retried.
        """
        meter = Meter.remote()  # type: ignore[attr-defined]
        shared = ray.put(job)
        waiting = iter(missing)
        running: dict[Any, int] = {}
        done, logged = 0, set[Any]()
        try:
            while True:
                # asked anew: tasks that wait make an autoscaling cluster grow, from no CPU at all
                cpus = int(ray.cluster_resources().get("CPU", 0))
                fit_one = _fit_shard.options(num_gpus=_gpu_share(job))
                bound = self.workers or max(IN_FLIGHT, IN_FLIGHT_PER_CPU * cpus)
                while len(running) < bound and (shard := next(waiting, None)) is not None:
                    running[fit_one.remote(shared, shard, meter)] = shard
                if not running:
                    return
                finished, _ = ray.wait(list(running), timeout=POLL_SECONDS)
                for ref in finished:
                    result = _result(ref, running.pop(ref))
                    done += result.rows
                    meter.forget.remote(("fitted", result.shard))
                    yield result
                known = _known(meter)
                repeat(known, logged)
                progress(done + sum(known.get(("fitted", shard), 0) for shard in running.values()))
        except Exception:
            # waiting tasks are cancelled; running ones may publish their shard. (After Ctrl-C the
            # session ends, and with it its tasks: to cancel them as well crashed Ray's core.)
            for ref in running:
                ray.cancel(ref)
            raise
        finally:
            ray.kill(meter)


@ray.remote(num_cpus=1, max_retries=RETRIES)
def _fit_shard(job: ShardJob, shard: int, meter: Any) -> ShardDone:
    with forwarded(meter):
        return fit_shard(job, shard, lambda n: meter.report.remote(("fitted", shard), n))


def _gpu_share(job: ShardJob) -> float:
    """What of a GPU a task asks for: a part, where there is one and the zoo is worth it."""
    zoo, points = job.recipe.zoo, len(job.signals.coordinates)
    operations = zoo.fit.gpu_operations(job.recipe.members, points)
    there = ray.cluster_resources().get("GPU")
    return GPU_SHARE if there and wants_gpu(job.fitting, operations) else 0.0


@ray.remote(num_cpus=0, max_restarts=-1)
class Meter:
    """Progress and warnings of workers while they work: the last value under each key."""

    def __init__(self) -> None:
        self.values: dict[Any, Any] = {}

    def report(self, key: Any, value: Any) -> None:
        self.values[key] = value

    def forget(self, key: Any) -> None:
        self.values.pop(key, None)

    def read(self) -> dict[Any, Any]:
        return self.values


@contextmanager
def forwarded(meter: Any) -> Iterator[None]:
    """Forward a worker's warnings to the driver, by the meter."""
    handler = _Forward()
    handler.meter = meter
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)


class _Forward(logging.Handler):
    meter: Any

    def emit(self, record: logging.LogRecord) -> None:
        # under its own text: what every worker logs is logged once
        self.meter.report.remote(("said", record.getMessage()), record.getMessage())


def repeat(known: dict[Any, Any], logged: set[Any]) -> None:
    """Log in the driver what workers have logged, each line once."""
    new = [
        key for key in known if isinstance(key, tuple) and key[0] == "said" and key not in logged
    ]
    for key in new:
        if not was_logged(known[key]):  # by the driver, of what it does itself
            LOG.warning(known[key])
    logged.update(new)


def _known(meter: Any) -> dict[Any, Any]:
    """What the meter holds; progress is never worth a failure."""
    try:
        known: dict[Any, Any] = ray.get(meter.read.remote(), timeout=5)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        return {}
    return known


def _result(ref: Any, shard: int) -> ShardDone:
    """A task's result, or its error without Ray's wrapping."""
    try:
        result: ShardDone = ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DwszooError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"shard {shard} was lost {RETRIES + 1} times ({type(error).__name__}): its workers "
            "die, often for want of memory; use fewer --workers or smaller zoo.rows_per_shard"
        ) from error
    return result

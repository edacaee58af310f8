"""Metrics on their way to MLflow: gathered, and written by a thread of their own."""

from __future__ import annotations

import math
import os
import threading
import time
from typing import Any

from training.tracking.store import client_of, store_errors
from zoo_gen import TrackingError
from zoo_gen.log import LOG

WRITE_SECONDS = 2.0  # between two writes: what a page of MLflow lags behind
RETRY_SECONDS = 5.0  # after a write that failed
SAMPLE_SECONDS = 10.0  # between two looks at the machine, as MLflow does it
METRICS_PER_CALL = 1000  # MLflow's own limit


class MetricWriter:
    """Takes the metrics of one run at any moment and writes them soon, without holding anyone up.

    A store that is away costs nothing but time: what could not be written is kept, in order, and
    written later. Each metric gets its time when it is put, so that one that is written twice,
    because the answer to the first attempt was lost, is one row all the same.

    With them it writes how the machine fares, under the names that MLflow gives
    (``system/cpu_utilization_percentage``, ...), unless ``MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING`` is
    ``false``; the step of these is the number of seconds since the run began.

    Args:
        uri: of the store.
        run: id of the run.
        began: when the run began, in seconds since 1970.
    """

    def __init__(self, uri: str, run: str, began: float) -> None:
        self.uri, self.run, self.began = uri, run, began
        self._waiting: list[Any] = []
        self._writing = threading.Lock()
        self._stopped = threading.Event()
        self._machine = _machine(uri, run)
        self._thread = threading.Thread(target=self._work, name=f"metrics-{run}", daemon=True)
        self._thread.start()

    def put(self, record: dict[str, float], step: int) -> None:
        """Have these written, at this step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._waiting += [Metric(name, float(value), now, step) for name, value in record.items()]

    def flush(self) -> None:
        """Write all that waits, now.

        Raises:
            TrackingError: the store cannot be reached; everything is kept.
        """
        with self._writing, store_errors(self.uri):
            while some := self._waiting[:METRICS_PER_CALL]:
                client_of(self.uri).log_batch(self.run, metrics=some)
                del self._waiting[: len(some)]

    def stop(self) -> None:
        """End the thread, after what it is writing; what waits is left to `flush`."""
        self._stopped.set()
        self._thread.join()
        if self._machine is not None:
            self._look()
            self._machine = None

    def _work(self) -> None:
        look, pause = time.monotonic() + _sample_seconds(), WRITE_SECONDS
        while not self._stopped.wait(pause):
            if self._machine is not None and time.monotonic() >= look:
                self._look()
                look = time.monotonic() + _sample_seconds()
            try:
                self.flush()
                pause = WRITE_SECONDS
            except TrackingError as error:
                LOG.warning("%s; the training goes on and logs it later", error)
                pause = RETRY_SECONDS

    def _look(self) -> None:
        """Put how the machine fares."""
        monitor: Any = self._machine
        monitor.collect_metrics()
        found = monitor.aggregate_metrics()
        for each in monitor.monitors:
            each.clear_metrics()
        finite = {f"system/{name}": v for name, v in found.items() if math.isfinite(v)}
        self.put(finite, max(0, int(time.time() - self.began)))


def _machine(uri: str, run: str) -> Any:
    """MLflow's view of the machine, None where a person wants none."""
    if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "").lower() in ("false", "0"):
        return None
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    made: Any = SystemMetricsMonitor  # it has no types
    monitor = made(run, tracking_uri=uri)  # and is never started: it would write itself
    monitor.collect_metrics()  # rates are counted from here
    for each in monitor.monitors:
        each.clear_metrics()
    return monitor


def _sample_seconds() -> float:
    return float(os.environ.get("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", SAMPLE_SECONDS))

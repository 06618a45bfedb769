"""Counters for supervision. Labels are names of interactions and status codes: nothing of a person, a dossier or a resource.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import os
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, Histogram, generate_latest, multiprocess

# prometheus_client reads this name when it is imported: `serve` sets it before the workers import anything.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


class Metrics:
    """The counters of one worker; `text` answers for all workers of the machine."""

    def __init__(self) -> None:
        forget_dead()
        self.registry = CollectorRegistry()
        # One histogram tells both: its `_count` is the number of answers.
        self.seconds = Histogram(
            "fhir_dmp_request_seconds", "Time to answer a request", ("interaction", "status"), buckets=SECONDS, registry=self.registry
        )
        self.in_flight = Gauge("fhir_dmp_in_flight", "Requests being answered", registry=self.registry, multiprocess_mode="livesum")
        self.batches = Histogram("fhir_dmp_batch_size", "Calls gathered in one batch", ("kind",), buckets=SIZES, registry=self.registry)
        self._answered: dict[tuple[str, int], Histogram] = {}
        self._batches: dict[str, Histogram] = {}

    def answered(self, interaction: str, status: int, seconds: float) -> None:
        """Count one answer. interaction: one of a fixed set of names."""
        known = self._answered.get((interaction, status))
        if known is None:
            known = self._answered[interaction, status] = self.seconds.labels(interaction, str(status))
        known.observe(seconds)

    def batch(self, kind: str, size: int) -> None:
        """Count one batch of the store. kind: the name of a batched call, e.g. "read"."""
        known = self._batches.get(kind)
        if known is None:
            known = self._batches[kind] = self.batches.labels(kind)
        known.observe(size)

    def text(self) -> bytes:
        """Prometheus text of every worker."""
        registry = self.registry
        if folder := os.environ.get(FOLDER):
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry, path=folder)
        return generate_latest(registry)


def forget_dead() -> None:
    """Drop what workers that died were just answering; what they had counted stays."""
    for left in Path(os.environ.get(FOLDER, "/nonexistent")).glob("gauge_live*_*.db"):
        pid = left.stem.rpartition("_")[2]
        if not Path("/proc", pid).exists():
            left.unlink(missing_ok=True)


MEDIA_TYPE = CONTENT_TYPE_LATEST

"""Families of metrics as the text that Prometheus reads. Imports ``prometheus_client``: tens of milliseconds, so only
when metrics are asked for, and in a thread.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from brummer.core.metrics import Family, Kind, Sample

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

_KINDS: Final[dict[str, Kind]] = {"counter": "counter", "gauge": "gauge"}


class _Families(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def describe(self) -> list[Metric]:
        """Nothing: the registry then need not collect to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        return map(_metric, self._families)


def _metric(family: Family) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for sample in family.samples:
            histogram.add_metric(sample.labels, sample.buckets, sample.value)
        return histogram
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = make(family.name, family.help, labels=family.labels)
    for sample in family.samples:
        metric.add_metric(sample.labels, sample.value)
    return metric


def render(families: Iterable[Family]) -> bytes:
    """The text of version 0.0.4 of the format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    return generate_latest(registry)


def process_families(pid: int) -> list[Family]:
    """Memory, CPU time, open files and start of a process of this machine; nothing where /proc does not show it."""
    collector = ProcessCollector(pid=lambda: pid, registry=None)
    return [
        Family(_name(metric), _KINDS[metric.type], metric.documentation, (), [Sample((), metric.samples[0].value)])
        for metric in collector.collect()
    ]


def _name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name

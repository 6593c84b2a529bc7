"""Metrics: their names, their meaning, and the families with their values. Pure.

Names and units follow the Prometheus conventions: base units, ``_total`` for what only grows.
"""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final, Literal

import msgspec

from brummer.core.events import Histogram

Kind = Literal["counter", "gauge", "histogram"]

LARGEST: Final = "+Inf"


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """One series: its labels' values, and its own; of a histogram the sum, and ``(upper edge, so many up to it)``."""

    labels: tuple[str, ...]
    value: float
    buckets: tuple[tuple[str, float], ...] = ()


class Family(msgspec.Struct, frozen=True):
    """One metric with all its series; JSON-compatible."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    samples: list[Sample]


class Metric(msgspec.Struct, frozen=True):
    """What a metric is called and what it means; `family` gives it its values."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    def family(self, values: Mapping[tuple[str, ...], float | Histogram]) -> Family:
        """``values`` by the labels' values."""
        samples = [_sample(labels, value) for labels, value in values.items()]
        return Family(self.name, self.kind, self.help, self.labels, samples)

    def single(self, value: float | Histogram) -> Family:
        """Of a metric without labels."""
        return self.family({(): value})


def _sample(labels: tuple[str, ...], value: float | Histogram) -> Sample:
    if not isinstance(value, Histogram):
        return Sample(labels, value)
    edges = [*map(str, value.bounds_s), LARGEST]
    return Sample(labels, value.sum_s, tuple(zip(edges, accumulate(map(float, value.counts)), strict=True)))


def merged(sources: Iterable[tuple[str, Iterable[Family]]], label: str) -> list[Family]:
    """The families of several processes as one list; each series gets this label, saying whose it is."""
    found: dict[str, Family] = {}
    for source, families in sources:
        for family in families:
            into = found.setdefault(
                family.name, Family(family.name, family.kind, family.help, (label, *family.labels), [])
            )
            into.samples.extend(
                Sample((source, *sample.labels), sample.value, sample.buckets) for sample in family.samples
            )
    return list(found.values())

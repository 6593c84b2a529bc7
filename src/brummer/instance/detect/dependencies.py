"""Which script waits for which: finds cycles, and cuts them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SHOWN = 8
"""Names of a cycle that are shown; cycles that people write are shorter."""

Graph = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Cycle:
    """``name`` depends on ``path[0]``, which depends on ``path[1]``, and so on back to ``name``; long ones are cut."""

    name: str
    path: tuple[str, ...]


def without_cycles(graph: Mapping[str, tuple[str, ...]]) -> tuple[Graph, list[Cycle]]:
    """The graph without the edges that close a cycle, and what was cut. Takes time as the graph has edges."""
    kept: dict[str, list[str]] = {}
    cycles: list[Cycle] = []
    for root in graph:
        way: dict[str, int] = {}
        open_: list[tuple[str, Iterator[str]]] = []
        node: str | None = root
        while True:
            if node is not None and node not in kept:
                kept[node], way[node] = [], len(open_)
                open_.append((node, iter(graph.get(node, ()))))
            if not open_:
                break
            current, following = open_[-1]
            node = next(following, None)
            if node is None:
                open_.pop()
                del way[current]
            elif node in way:
                cycles.append(Cycle(current, tuple(name for name, _ in open_[way[node] : way[node] + SHOWN])))
                node = None
            else:
                kept[current].append(node)
    return {name: tuple(kept[name]) for name in graph}, cycles

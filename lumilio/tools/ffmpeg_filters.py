"""Chains of FFmpeg's filters, and what comes out of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import av
from av.filter import Graph
from av.filter.context import FilterContext
from av.frame import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """A chain of filters. Its ends do not keep the graph alive."""

    graph: Graph
    source: FilterContext
    sink: FilterContext

    def passed(self, frame: Frame | None) -> Iterator[Frame]:
        """Put a frame in, None for the end, and take out what there is then."""
        self.source.push(frame)
        while True:
            try:
                yield self.sink.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def link(nodes: Sequence[FilterContext]) -> None:
    """Make a chain of them."""
    for one, other in pairwise(nodes):
        one.link_to(other, 0, 0)

"""Chains of FFmpeg's filters, and what comes out of them."""

from collections.abc import Callable, Iterator, Sequence
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


class AdaptingFilters:
    """Filters that are built anew whenever the frames that come change their shape."""

    def __init__(self) -> None:
        self._filters: Filters | None = None
        self._shape: tuple[object, ...] = ()

    def adapted(self, shape: tuple[object, ...], build: Callable[[], Filters]) -> Iterator[Frame]:
        """Be ready for frames of this shape; what the filters of the former one still hold comes out."""
        if shape != self._shape:
            yield from self.drained()
            self._filters, self._shape = build(), shape

    def passed(self, frame: Frame) -> Iterator[Frame]:
        """Put a frame in, and take out what there is then."""
        if self._filters is not None:
            yield from self._filters.passed(frame)

    def drained(self) -> Iterator[Frame]:
        """What the filters hold when nothing more comes."""
        if self._filters is not None:
            yield from self._filters.passed(None)
            self._filters = None


def link(nodes: Sequence[FilterContext]) -> None:
    """Make a chain of them."""
    for one, other in pairwise(nodes):
        one.link_to(other, 0, 0)

"""Listings that come in pages: read so many of their items, and print them as one document."""

import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from lumilio.client.asking import ask
from lumilio.client.library import documents
from lumilio.client.members import Document, cursor
from lumilio.client.session import Session

PAGE_LIMIT = 500
"""Most items in one answer of the daemon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some items; ``next_cursor`` asks for those after them, ``document`` is the answer as it came."""

    items: Sequence[Document]
    next_cursor: str | None
    document: Document


async def read_pages(
    session: Session, path: str, filters: Sequence[tuple[str, str]], *, limit: int | None
) -> AsyncGenerator[Page, None]:
    """The first ``limit`` items (None: all), at least one page. Raises ClientError."""
    after: str | None = None
    left = limit
    while True:
        size = PAGE_LIMIT if left is None else min(PAGE_LIMIT, left)
        query = [*filters, ("limit", str(size)), *([("cursor", after)] if after is not None else [])]
        body = await ask(session, "GET", path, query=query)
        page = Page(items=documents(body, "items"), next_cursor=cursor(body), document=body)
        yield page
        after = page.next_cursor
        left = None if left is None else max(0, left - len(page.items))
        if after is None or left == 0 or not page.items:
            return


async def write_pages(pages: AsyncGenerator[Page, None], *members: str) -> None:
    """Print one document, page by page: a whole listing need not fit into memory. ``members`` are those of the first
    page that follow the items."""
    out = sys.stdout
    begin, separator, end = '{"items": [', "\n", ""
    tail: dict[str, object] = {"next_cursor": None}
    async with aclosing(pages):
        async for page in pages:
            out.write(begin)
            begin, tail["next_cursor"] = "", page.next_cursor
            for member in members:
                tail.setdefault(member, page.document.get(member))
            for item in page.items:
                out.write(separator + json.dumps(item))
                separator, end = ",\n", "\n"
    told = ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in tail.items())
    out.write(f"{end}], {told}}}\n")

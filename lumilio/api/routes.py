"""What a line of the route table says."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web
from pydantic import BaseModel

from lumilio.api.context import Access

Files = Literal["one", "many"]
"""How many files a multipart body brings."""

RouteHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route: who may call it, what it takes, and what it answers (a model, a media type, or None for no body).

    ``raw``: the body is a file as it is. ``headers`` are those that it reads, and what each says.
    """

    method: str
    path: str
    handler: RouteHandler
    access: Access
    answers: Mapping[int, type[BaseModel] | str | None]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    multipart: Files | None = None
    raw: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

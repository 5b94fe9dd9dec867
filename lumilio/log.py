"""Structured logs: constant event names (``noun.verb_past``) with keys from a closed list.

JSON for machines, readable lines for a terminal, always on standard error. What a file, a request or a tool supplied is
stripped of control characters, so that nobody can forge a line or steer a terminal.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

KEYS = frozenset(
    {
        "address", "asset_id", "attempt", "bytes", "client", "code", "count", "data_dir", "delay_s", "duration_ms",
        "encoder", "error", "file_name", "host", "job_id", "kind", "logger", "method", "name", "path", "pid", "port",
        "primary_id", "queue", "reason", "repository_id", "request_id", "role", "seconds", "size", "state", "status",
        "step", "tool", "upload_id", "url", "user_id", "version", "worker_id",
    }
)  # fmt: skip
"""Every key that a log event may carry."""

_OWN = frozenset({"event", "level", "timestamp", "exc_info", "stack_info", "exception"})
_ALLOWED = KEYS | _OWN
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 0x0A}
_CONTROL |= dict.fromkeys((0x0A, 0x2028, 0x2029), " ")
_CONTROL |= dict.fromkeys((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), " ")
_CONTROL |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")

Log = structlog.stdlib.BoundLogger


def printable(text: str) -> str:
    """``text`` as one line without control characters, marks that turn the writing direction, and lone surrogates."""
    return text.translate(_CONTROL)


def get_log() -> Log:
    """The logger; bind context with ``bind_context``."""
    log: Log = structlog.stdlib.get_logger("lumilio")
    return log


def bind_context(**context: object) -> None:
    """Add keys to every event of the current task and its children."""
    _refuse_unknown(context)
    structlog.contextvars.bind_contextvars(**context)


def configure_logging(level: str, style: Literal["auto", "json", "text"]) -> None:
    """Send structured events and the libraries' own records to standard error."""
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _check_keys,
        structlog.processors.format_exc_info,
        _neutralise,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=32)
        if text
        else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow=()), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # It logs a traceback for every malformed request line; what fails behind the parser is logged by the middleware.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    # The pool's own complaints about an outage that the queue tells of already, with a traceback each.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    logging.getLogger("lumilio").setLevel(level.upper())


def _refuse_unknown(keys: MutableMapping[str, Any] | dict[str, object]) -> None:
    if not keys.keys() <= _ALLOWED:
        raise KeyError(f"log keys {sorted(keys.keys() - _ALLOWED)} are not in log.KEYS")


def _check_keys(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    public = {key: value for key, value in event.items() if not key.startswith("_")}
    _refuse_unknown(public)
    return event


def _neutralise(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key.startswith("_") or isinstance(value, bool | int | float) or value is None:
            continue
        lines = str(value).split("\n") if key == "exception" else [str(value)]
        event[key] = "\n".join(printable(line) for line in lines)
    return event

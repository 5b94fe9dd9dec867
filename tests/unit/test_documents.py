"""Documentation that cannot rot: what the program has and what the documents say are the same."""

import argparse
import re
from collections.abc import Iterator
from http import HTTPMethod
from pathlib import Path

import prometheus_client
import pytest

from lumilio import errors, metrics
from lumilio.api.app import ROUTES
from lumilio.cli import build_parser
from lumilio.config import Config, default_toml, load_config
from lumilio.errors import LumilioError

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
NONE = "\N{EN DASH}"


def _classes(parent: type[LumilioError] = LumilioError) -> Iterator[type[LumilioError]]:
    yield parent
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _classes(child)


def _rows(first: str) -> list[list[str]]:
    """The cells of the table whose first heading is this."""
    table = re.search(rf"^\| {first} \|.*\n\|[-| ]+\n((?:\|.*\n?)*)", OPERATIONS, re.MULTILINE)
    assert table is not None, f"docs/operations.md has no table of {first}"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()]


def test_the_shipped_configuration_is_the_defaults() -> None:
    assert (ROOT / "etc/lumilio.toml").read_text(encoding="utf-8") == default_toml()
    assert load_config(ROOT / "etc/lumilio.toml") == Config()


def test_every_key_of_the_configuration_is_explained() -> None:
    for name, section in Config().model_dump().items():
        model = type(getattr(Config(), name))
        assert model.__doc__, name
        for key in section:
            assert (model.model_fields[key].description or "").endswith("."), f"{name}.{key}"


def test_every_error_is_in_the_table_with_its_status_and_meaning() -> None:
    documented = [tuple(row) for row in _rows("code")]
    expected = [
        (
            f"`{found.code}`",
            str(found.status),
            "yes" if found.retryable else "no",
            "Something unexpected happened; the log has the details."
            if found is LumilioError
            else " ".join((found.__doc__ or "").split("\n\n")[0].split()),
        )
        for found in _classes()
    ]
    assert documented == expected


def test_every_metric_is_in_the_table_with_its_labels_and_meaning() -> None:
    documented = {row[0].strip("`"): (row[1], row[2]) for row in _rows("metric")}
    defined = {}
    for metric in vars(metrics).values():
        if isinstance(metric, prometheus_client.metrics.MetricWrapperBase):
            (family,) = metric.describe()
            suffix = "_total" if family.type == "counter" else ""
            labels = ", ".join(metric._labelnames) or NONE
            defined[f"{family.name}{suffix}"] = (labels, f"{family.documentation} ({family.type})")
    assert documented == defined


def _commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    children = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not children:
        yield name, parser
    for action in children:
        for child, subparser in action.choices.items():
            yield from _commands(subparser, f"{name} {child}")


COMMANDS = dict(_commands(build_parser(), "lumilio"))


def test_every_command_is_in_the_table() -> None:
    documented = [re.sub(r" \[.*|`", "", row[0]) for row in _rows("command")]
    assert sorted(documented) == sorted(COMMANDS)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"lumilio import"}))
def test_every_option_of_a_command_is_in_its_row(name: str) -> None:
    (usage,) = [row[0] for row in _rows("command") if re.sub(r" \[.*|`", "", row[0]) == name]
    daemon = re.search(r"^`\[DAEMON\]` is .*", OPERATIONS, re.MULTILINE)
    assert daemon is not None
    usage = usage.replace("[DAEMON]", daemon[0])
    for action in COMMANDS[name]._actions:
        for option in action.option_strings:
            assert option in {"-h", "--help"} or option in usage, f"{name} {option}"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_every_option_has_a_help(name: str) -> None:
    for action in COMMANDS[name]._actions:
        assert action.help, f"{name}: {action.dest}"
    assert len(COMMANDS[name].format_help().splitlines()) > 3


def test_every_route_is_described_for_people() -> None:
    for route in ROUTES:
        assert HTTPMethod(route.method)
        summary = (route.handler.__doc__ or "").strip()
        assert summary[:1].isupper(), route.path
        assert summary.endswith("."), route.path

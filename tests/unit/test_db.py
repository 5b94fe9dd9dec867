"""What of the database layer needs no database."""

from pathlib import Path

import pytest

from lumilio import db
from lumilio.db import DatabaseAddress, named_queries, sql_directory
from lumilio.errors import DatabaseError


@pytest.fixture
def queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory of named queries in place of the real one."""
    (tmp_path / "queries").mkdir()
    monkeypatch.setattr(db, "sql_directory", lambda: tmp_path)
    monkeypatch.setattr(db, "named_queries", named_queries.__wrapped__)
    return tmp_path / "queries"


def test_queries_are_named_by_file_and_comment(queries: Path) -> None:
    (queries / "assets.sql").write_text(
        "-- about this file\n\n-- name: one\nSELECT 1;\n\n-- name: two_more\n-- why\nSELECT 2,\n    3;\n",
        encoding="utf-8",
    )
    (queries / "jobs.sql").write_text("-- name: one\nSELECT 4;\n", encoding="utf-8")
    assert db.named_queries() == {
        "assets.one": "SELECT 1;",
        "assets.two_more": "-- why\nSELECT 2,\n    3;",
        "jobs.one": "SELECT 4;",
    }


def test_a_name_that_is_given_twice_is_refused(queries: Path) -> None:
    (queries / "assets.sql").write_text("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n", encoding="utf-8")
    with pytest.raises(DatabaseError, match=r"'assets\.one' is defined twice in assets\.sql"):
        db.named_queries()


def test_every_query_is_used_by_the_program() -> None:
    program = "".join(path.read_text(encoding="utf-8") for path in (sql_directory().parent / "lumilio").rglob("*.py"))
    unused = [name for name in named_queries() if f'"{name}"' not in program and not name.startswith("assets.page_")]
    assert unused == []


def test_a_url_wins_over_a_socket_and_keeps_its_password_apart() -> None:
    assert DatabaseAddress(url="postgresql://h/d", password="p", host="x").connect_args() == {
        "dsn": "postgresql://h/d",
        "password": "p",
    }
    assert DatabaseAddress(host="/run", user="u", database="d").connect_args() == {
        "host": "/run",
        "user": "u",
        "database": "d",
    }

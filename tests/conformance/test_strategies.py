"""Every storage strategy: a path inside the inbox that is fit for every filesystem, always the same one."""

from datetime import datetime
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lumilio.model import ContentHash, StorageStrategy, parse_repo_path
from lumilio.storage.strategies import STRATEGIES

NAMES = st.text(st.characters(exclude_categories=()), max_size=400)
HASHES = st.text("0123456789abcdef", min_size=64, max_size=64).map(ContentHash)
TIMES = st.datetimes()
HASH = ContentHash("c0ffee" + "0" * 58)
NOON = datetime(2024, 5, 31, 12)  # noqa: DTZ001


def test_every_strategy_is_registered() -> None:
    assert set(STRATEGIES) == set(StorageStrategy)


@pytest.mark.parametrize("strategy", StorageStrategy)
@given(name=NAMES, content_hash=HASHES, captured=TIMES)
@example(name="../../../etc/passwd", content_hash=HASH, captured=NOON)
@example(name="a/../b\0.jpg", content_hash=HASH, captured=NOON)
@example(name="é" * 300 + ".jpeg", content_hash=HASH, captured=NOON)
@example(name="x." + "y" * 300, content_hash=HASH, captured=NOON)
@example(name="", content_hash=HASH, captured=datetime.min)  # noqa: DTZ901
def test_a_path_is_valid_inside_the_inbox_and_stable(
    strategy: StorageStrategy, name: str, content_hash: ContentHash, captured: datetime
) -> None:
    choose = STRATEGIES[strategy]
    path = choose(name=name, content_hash=content_hash, captured=captured)
    assert parse_repo_path(path) == path
    parts = PurePosixPath(path).parts
    assert parts[0] == "inbox"
    assert len(parts) > 1
    assert all(0 < len(part.encode()) <= 255 for part in parts)
    assert choose(name=name, content_hash=content_hash, captured=captured) == path
    assert choose(name=parts[-1], content_hash=content_hash, captured=captured) == path


@pytest.mark.parametrize(
    ("strategy", "path"),
    [
        (StorageStrategy.DATE, "inbox/2024/05/Été.JPG"),
        (StorageStrategy.FLAT, "inbox/Été.JPG"),
        (StorageStrategy.CAS, f"inbox/c0/ff/ee/{HASH}.jpg"),
    ],
)
def test_the_layouts_are_those_of_the_design(strategy: StorageStrategy, path: str) -> None:
    assert STRATEGIES[strategy](name="Été.JPG", content_hash=HASH, captured=NOON) == path


def test_content_addressed_names_do_without_an_extension_when_there_is_none() -> None:
    path = STRATEGIES[StorageStrategy.CAS](name="scan", content_hash=HASH, captured=NOON)
    assert path == f"inbox/c0/ff/ee/{HASH}"

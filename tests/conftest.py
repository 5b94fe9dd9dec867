"""Fixtures that every kind of test may use."""

from collections.abc import AsyncIterator, Iterator

import pytest

from lumilio.db import Database, DatabaseAddress, Tx, open_database
from tests.database import TestCluster, running_test_cluster


class _RollBack(Exception):
    """Ends the transaction of a test without a trace."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[TestCluster]:
    """PostgreSQL for this test process."""
    with running_test_cluster() as test_cluster:
        yield test_cluster


@pytest.fixture
async def database_address(cluster: TestCluster) -> AsyncIterator[DatabaseAddress]:
    """A migrated database of this test alone, not yet opened."""
    async with cluster.clone() as address:
        yield address


@pytest.fixture
async def database(database_address: DatabaseAddress) -> AsyncIterator[Database]:
    """A migrated database of this test alone: for what needs COMMIT, NOTIFY or several connections."""
    async with open_database(database_address) as opened:
        yield opened


@pytest.fixture
async def tx(cluster: TestCluster) -> AsyncIterator[Tx]:
    """A transaction on a migrated database that is rolled back: for everything else."""
    async with open_database(cluster.address(), pool_size=1) as shared:
        try:
            async with shared.transaction() as transaction:
                yield transaction
                raise _RollBack
        except _RollBack:
            return

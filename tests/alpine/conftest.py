"""Every test runs on SQLite and on a real PostgreSQL."""

import pytest

from tests.alpine_stage import postgres, running


@pytest.fixture(scope="session")
def server():
    with postgres() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    """Where an empty database is; empty for a new file."""
    return "" if request.param == "sqlite" else request.getfixturevalue("server").fresh()


@pytest.fixture
def alpine(tmp_path, database_url):
    """An Alpine that has just been started."""
    with running(tmp_path, database_url) as found:
        yield found

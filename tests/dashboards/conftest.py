"""Both services on free ports, and the dashboard told where they are."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from services.commands.dashboard import place
from services.common.sections import Settings
from services.common.settings import policy
from tests.dashboards.fake_api import EMAIL, TOKEN, Fake, alpine, argo
from tests.ports import free_port
from tests.served import listening

SUBSCRIBERS = ("signals", "performance", "backtest", "reports", "account")
OPERATOR = ("engine", "sources", "risk")


@dataclass
class Stage:
    """A dashboard without a browser, and what it talks to."""

    fake: Fake

    def open(self, page: str, token: str = TOKEN) -> AppTest:
        """A page, as a reader sees it after the sign-in."""
        app = AppTest.from_file(place(), default_timeout=30)
        if token:
            app.session_state["token"] = token
            app.session_state["email"] = EMAIL
        app.run()
        return app.switch_page(f"app_pages/{page}.py").run()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that listens to this machine only, and remembers nothing of the last test."""
    before = st.get_option("server.address")
    st.config.set_option("server.address", "127.0.0.1")
    st.cache_data.clear()
    monkeypatch.setenv("NO_PROXY", "*")
    yield
    st.config.set_option("server.address", before)
    st.cache_data.clear()


@pytest.fixture
def stage(here: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Both services answer."""
    fake = Fake()
    version = policy(Settings()).version
    with listening(alpine(fake)) as distribution, listening(argo(fake, version)) as engine:
        monkeypatch.setenv("ARGO_DASHBOARD__ALPINE_URL", distribution)
        monkeypatch.setenv("ARGO_DASHBOARD__ARGO_URL", engine)
        yield Stage(fake)


@pytest.fixture
def alone(here: None, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Nobody answers."""
    for name in ("ALPINE", "ARGO"):
        url = f"http://127.0.0.1:{free_port()}"
        monkeypatch.setenv(f"ARGO_DASHBOARD__{name}_URL", url)
    return Stage(Fake())


def told(app: AppTest) -> str:
    """Everything a reader can read, tables and values included."""
    parts = [app.title, app.subheader, app.markdown, app.caption, app.text, app.error, app.info]
    words = [str(one.value) for part in parts for one in part]
    words += [f"{one.label} {one.value}" for one in app.metric]
    words += [one.value.to_string() for one in app.dataframe]
    words += [str(one.value) for one in app.code]
    return "\n".join(words)

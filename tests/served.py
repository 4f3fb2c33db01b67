"""A staged engine behind a real server on a free port."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import requests
import uvicorn
from fastapi import FastAPI

from services.argo.cycle import Engine
from services.argo.ports import SourceHealth
from services.argo.routes import router
from services.common.db import reader
from services.common.sections import Settings
from services.common.settings import sandboxed, validated
from tests.argo_stage import SOURCES, Stage, staged

WALL = datetime(2026, 1, 5, 15, tzinfo=UTC)


@dataclass
class FakeRunner:
    """A source whose health is whatever the test says."""

    said: SourceHealth

    def health(self) -> SourceHealth:
        return self.said

    def turns(self, state: str, **more: Any) -> None:
        self.said = replace(self.said, state=state, **more)


@dataclass
class Served:
    """What a test needs: the stage, the sources, and questions to the API."""

    stage: Stage
    runners: dict[str, FakeRunner]
    app: FastAPI
    url: str = ""
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def engine(self) -> Engine:
        return self.stage.engine

    def ask(self, path: str, **query: Any) -> requests.Response:
        return self.session.get(self.url + path, params=query, timeout=10)

    def get(self, path: str, **query: Any) -> Any:
        reply = self.ask(path, **query)
        assert reply.status_code == 200, (reply.status_code, reply.text)
        return reply.json()


def settings_of_sandbox() -> Settings:
    """A profile that leads to this machine only."""
    plain = validated({}, "development", "test")
    return sandboxed(plain, host="127.0.0.1", port=8600, control_port=8601)


def app_of(stage: Stage, runners: dict[str, FakeRunner], settings: Settings) -> FastAPI:
    """The smallest application that has what the routes ask for."""
    app = FastAPI()
    app.include_router(router)
    app.state.sessions = reader(stage.path)
    app.state.engine = stage.engine
    app.state.runners = tuple(runners.values())
    app.state.settings = settings
    app.state.started_at = WALL
    return app


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """A server on a free port; the kernel holds early questions until it is ready."""
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    place.listen()
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
    thread = Thread(target=server.run, kwargs={"sockets": [place]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        place.close()


@contextmanager
def serving(path: Path, days: int = 0, **options: Any) -> Iterator[Served]:
    """A staged engine that has lived so many days, and its API."""
    with staged(path, **options) as stage:
        for _ in range(days):
            stage.day()
        health = {name: SourceHealth(name, "ok", last_success=WALL, calls=3) for name in SOURCES}
        runners = {name: FakeRunner(said) for name, said in health.items()}
        served = Served(stage, runners, app_of(stage, runners, settings_of_sandbox()))
        served.session.trust_env = False
        with listening(served.app) as served.url:
            yield served
        served.session.close()
        served.app.state.sessions.kw["bind"].dispose()

"""Show it all in a browser."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.commands import interrupts
from services.commands.screen import Json, say, tell

if TYPE_CHECKING:
    from services.common.sections import Settings

PORTS = {"min": 1, "max": 65535}


def dashboard(
    port: Annotated[int | None, typer.Option(**PORTS, help="Else dashboard.port.")] = None,
    alpine_url: Annotated[str | None, typer.Option(help="Where Alpine listens.")] = None,
    argo_url: Annotated[str | None, typer.Option(help="Where Argo listens.")] = None,
    config: Annotated[Path | None, typer.Option(help="Else ./config.json, if any.")] = None,
    json: Json = False,
) -> None:
    """Show signals, performance and the engine in a browser.

    Subscribers' pages read Alpine and ask for a sign-in; the operator's pages read Argo.
    It starts without either, and says which one is missing.

    \b
    Examples:
      argo-alpine dashboard
      argo-alpine dashboard --port 8601 --alpine-url http://127.0.0.1:9001
    """
    from importlib.util import find_spec

    from services.common.settings import load

    script, settings = place(), load(config)
    if find_spec("streamlit") is None or not script.is_file():
        tell(f"Streamlit or {script} is not here: work in a checkout, after `make setup`")
        raise typer.Exit(1)
    places = addresses(settings, alpine_url, argo_url)
    host, number = settings.dashboard.host, port or settings.dashboard.port
    url = f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"
    if json:
        say({"url": url, **{name.lower(): value for name, value in places.items()}})
    tell(f"Dashboard at {url}; Ctrl+C stops it.")
    raise typer.Exit(run(command(script, host, number), environment(places, script)))


def place() -> Path:
    """Where the dashboard begins."""
    return Path(__file__).parents[2] / "dashboards" / "streamlit_app.py"


def addresses(
    settings: "Settings", alpine_url: str | None = None, argo_url: str | None = None
) -> dict[str, str]:
    """What the dashboard is told, by the name of the variable."""
    known = settings.dashboard
    return {
        "ARGO_DASHBOARD__ALPINE_URL": alpine_url or known.alpine_url,
        "ARGO_DASHBOARD__ARGO_URL": argo_url or known.argo_url,
    }


def command(script: Path, host: str, port: int) -> list[str]:
    """Streamlit, telling nobody; the operator's pages are there on this machine only."""
    options = {
        "server.address": host,
        "server.port": port,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "streamlit", "run", str(script), *words]


def environment(places: Mapping[str, str], script: Path) -> dict[str, str]:
    """Two addresses, and none of the keys that others of this family are given."""
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(("ARGO_", "AWS_"))}
    paths = [str(script.parents[1]), kept.get("PYTHONPATH", "")]
    return {**kept, **places, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run(words: list[str], known: Mapping[str, str]) -> int:
    """Run it until it ends; Ctrl+C and a request to end reach it."""
    sys.stdout.flush()
    with subprocess.Popen(words, env=dict(known)) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:
            interrupts.CAME.clear()  # heeded: it is how a dashboard ends
            return child.wait()

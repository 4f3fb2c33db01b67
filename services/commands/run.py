"""Start something that stays: the sandbox, the engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.commands.screen import Json, near, say, tell

if TYPE_CHECKING:
    from services.common.sections import Settings

STATE = Path("data/recorded/sandbox.json")
PORTS = {"min": 1, "max": 65535}


def sandbox(
    port: Annotated[int, typer.Option(**PORTS, help="Of the vendors.")] = 8600,
    control_port: Annotated[int, typer.Option(**PORTS, help="Of time, faults and state.")] = 8601,
    dwell: Annotated[float, typer.Option(min=0.1, help="Seconds a window lasts.")] = 12.0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew, forget the books.")] = False,
    state: Annotated[Path, typer.Option(help="Where its books are kept.")] = STATE,
    json: Json = False,
) -> None:
    """Stand in for the outside world: four vendors and a broker, on this machine only.

    It replays recorded prices, five windows a session, and goes on where the last run stopped.
    Then, in another terminal: argo-alpine argo --sandbox

    \b
    Examples:
      argo-alpine sandbox
      argo-alpine sandbox --fresh --dwell 5
      argo-alpine sandbox --port 8700 --control-port 8701
    """
    from services.sandbox.app import serve

    def announce(line: str) -> None:
        if json:
            vendors, control = (f"http://127.0.0.1:{number}" for number in (port, control_port))
            say({"sandbox": True, "url": vendors, "control_url": control, "state": str(state)})
        tell(f"{line}; state in {near(state)}; Ctrl+C stops it.")

    serve("127.0.0.1", port, control_port, dwell, state, fresh, announce)


def argo(
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Trade with it only.")] = False,
    config: Annotated[Path | None, typer.Option(help="Else ./config.json, if any.")] = None,
    port: Annotated[int | None, typer.Option(**PORTS, help="Else argo.port.")] = None,
    book: Annotated[str | None, typer.Option(help="Else argo.book; kept in data/recorded.")] = None,
    json: Json = False,
) -> None:
    """Run the engine: ask the sources, decide every few seconds, write down, trade.

    Orders leave only with --sandbox, and only for this machine.
    Its API is at the port: argo-alpine health asks it.

    \b
    Examples:
      argo-alpine argo --sandbox
      argo-alpine argo --config config.json --port 8001 --book second
    """
    from services.argo.app import serve
    from services.common.settings import check_execution

    settings = chosen(config, sandbox, port, book)
    check_execution(settings)
    place = settings.argo
    url = f"http://{place.host}:{place.port}"
    if json:
        say({"sandbox": sandbox, "url": url, "book": place.book})
    kind = "SANDBOX engine" if sandbox else "Engine"
    tell(f"{kind} at {url}, book {place.book}; Ctrl+C stops it.")
    raise typer.Exit(serve(settings))


def chosen(config: Path | None, sandbox: bool, port: int | None, book: str | None) -> "Settings":
    """The settings, with what the command line says over them. *Raises* `InvalidSettings`."""
    from services.common.settings import load, sandboxed, validated

    settings = load(config)
    if sandbox:
        there = settings.sandbox
        settings = sandboxed(
            settings, host=there.host, port=there.port, control_port=there.control_port
        )
    said = {name: value for name, value in (("port", port), ("book", book)) if value is not None}
    data = settings.model_dump(exclude={"environment"})
    data["argo"] = {**data["argo"], **said}
    return validated(data, settings.environment, "the command line")

"""Start Alpine, and keep its users."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.commands.screen import Json, say, tell

if TYPE_CHECKING:
    from services.common.sections import Settings

PORTS = {"min": 1, "max": 65535}
PLANS = ("free", "starter", "pro", "elite")


def alpine(
    config: Annotated[Path | None, typer.Option(help="Else ./config.json, if any.")] = None,
    port: Annotated[int | None, typer.Option(**PORTS, help="Else alpine.port.")] = None,
    json: Json = False,
) -> None:
    """Distribute signals: take in what Argo sends, show subscribers what their plan allows.

    It needs a key that it shares with Argo: alpine.intake_key. It keeps its data in
    data/recorded/alpine.sqlite, or where alpine.database_url says.

    \b
    Examples:
      argo-alpine alpine
      argo-alpine alpine --config config.json --port 9002
    """
    from services.alpine.app import serve

    settings = chosen(config, port)
    place = settings.alpine
    url = f"http://{place.host}:{place.port}"
    if json:
        say({"url": url})
    tell(f"Alpine at {url}; Ctrl+C stops it.")
    raise typer.Exit(serve(settings))


def chosen(config: Path | None, port: int | None) -> "Settings":
    """The settings, with what the command line says over them. *Raises* `InvalidSettings`."""
    from services.common.settings import load, validated

    settings = load(config)
    data = settings.model_dump(exclude={"environment"})
    data["alpine"] |= {} if port is None else {"port": port}
    return validated(data, settings.environment, "the command line")


def mail(value: str) -> str:
    """An address as it is kept. *Raises* `BadParameter` for what is none."""
    if len(value) > 254 or not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value, re.ASCII):
        raise typer.BadParameter(f"{value} is no address: write one like name@example.com")
    return value.lower()


def bought(value: str) -> str:
    """A plan there is. *Raises* `BadParameter` for another."""
    if value not in PLANS:
        raise typer.BadParameter(f"no plan {value}: write one of {', '.join(PLANS)}")
    return value


def user(
    email: Annotated[str, typer.Argument(metavar="EMAIL", callback=mail, help="Who.")],
    plan: Annotated[str, typer.Option(callback=bought, help=", ".join(PLANS))] = "free",
    generate: Annotated[
        bool, typer.Option("--generate", help="Make a password, and print it once.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep-password", help="Set only the plan of a user there is.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Else ./config.json, if any.")] = None,
    json: Json = False,
) -> None:
    """Make a user of Alpine, or set the plan and the password of one.

    The password is asked for twice, or made with --generate; it is never an argument, where
    others on this machine could see it. Whoever is signed in with the old one is signed out.

    \b
    Examples:
      argo-alpine user name@example.com --plan pro
      argo-alpine user name@example.com --plan elite --keep-password
      argo-alpine user demo@example.com --plan pro --generate --json
    """
    from secrets import token_urlsafe

    from services.alpine.app import open_database
    from services.alpine.doors import Doors, lifetime
    from services.common.clock import SystemClock
    from services.common.settings import load

    if keep and generate:
        raise typer.BadParameter("--generate and --keep-password exclude each other")
    settings = load(config)
    password = token_urlsafe(12) if generate else None if keep else asked()
    place = settings.alpine
    database = open_database(settings)
    try:
        life = lifetime(place.session_hours, place.session_days)
        is_new = Doors(database, SystemClock(), life).keep(email, password, plan)
    finally:
        database.close()
    done = "made" if is_new else "changed"
    if json:
        say(
            {"email": email, "plan": plan, "state": done}
            | ({"password": password} if generate else {})
        )
        return
    tell(f"User {email} {done}, plan {plan}.")
    if generate:
        print(password)


def asked() -> str:
    """A password that a person types twice."""
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    if not 8 <= len(password) <= 256:
        raise typer.BadParameter("a password has 8 to 256 characters")
    return password

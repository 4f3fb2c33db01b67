"""What a running Argo does: health, account, positions, signals, sources."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import typer

from services.commands.api import ARGO, Url, ask
from services.commands.screen import (
    Json,
    amount,
    local,
    percent,
    printable,
    say,
    seconds,
    show,
)

Row: TypeAlias = Mapping[str, Any]  # of JSON

HELD = ("symbol", "shares", "paid", "last", "value", "profit", "stop", "target", "guards")
WORKING = ("symbol", "order", "shares", "filled", "state", "since", "note")
SIGNALS = ("symbol", "decided", "side", "sure", "entry", "stop", "target", "votes", "became", "id")
SOURCES = ("source", "weight", "state", "calls", "USD", "last success", "wrong")
VOTES = ("source", "symbol", "vote", "sure", "as of", "why")


def titled(said: Row, words: str) -> str:
    """A title that never lets a rehearsal pass for the real thing."""
    return f"SANDBOX: {words}" if said["sandbox"] else words


def health(url: Url = ARGO, json: Json = False) -> None:
    """How Argo is doing, and every reason why it is not well.

    Exit code 0: ok. Exit code 1: degraded, down, or nothing answers.

    \b
    Examples:
      argo-alpine health
      argo-alpine health --json
      argo-alpine health --url http://127.0.0.1:8001
    """
    said = ask(url, "/health", "status", "problems", "sandbox", "sources", "turnout")
    say(said) if json else show_health(said)
    if said["status"] != "ok":
        raise typer.Exit(1)


def show_health(said: Row) -> None:
    """How Argo is doing, for people."""
    rows = [
        ("Status", said["status"]),
        ("Engine", said["state"]),
        ("Book", f"{said['book']}, entry {said['head_seq']}"),
        ("Mode", "LATCHED" if said["latched"] else said["mode"] or "-"),
        ("Orders", "sent" if said["auto_execute"] else "only written down"),
        ("Compared with the broker", "yes" if said["reconciled"] else "no"),
        ("Market time", local(said["at"])),
        ("Last cycle", f"{seconds(said['age_seconds'])} ago" if said["cycled_at"] else "-"),
        ("Sources", f"{said['sources_ok']} of {said['sources_enabled']} ok"),
        ("Version", said["version"]),
    ]
    rows += [(f"Turnout {symbol}", percent(share)) for symbol, share in said["turnout"].items()]
    show(titled(said, "Argo's health"), ("", ""), rows)
    for problem in said["problems"]:
        print(f"- {printable(problem)}")


def account(url: Url = ARGO, json: Json = False) -> None:
    """What the account is worth, and how far it is from its limits.

    \b
    Examples:
      argo-alpine account
      argo-alpine account --json
    """
    said = ask(url, "/api/account", "equity", "sandbox", "known", "why_not", "mode")
    if json:
        return say(said)
    blocks = ", ".join(said["blocks"])
    rows = [
        ("Equity", amount(said["equity"])),
        ("Cash", amount(said["cash"])),
        ("Buying power", amount(said["buying_power"])),
        ("Today", amount(said["day"], sign=True)),
        ("Peak", amount(said["peak"])),
        ("Drawdown", percent(said["drawdown"])),
        ("Mode", "LATCHED" if said["latched"] else said["mode"] or "-"),
        ("Account", "-" if said["active"] is None else "active" if said["active"] else blocks),
    ]
    show(titled(said, f"Account, {local(said['at'])}"), ("", ""), rows)
    if said["why_not"]:
        print(f"Not known: {said['why_not']}.")


def positions(url: Url = ARGO, json: Json = False) -> None:
    """What is held, what it is worth by the last quote, and what is on its way.

    \b
    Examples:
      argo-alpine positions
      argo-alpine positions --json
    """
    said = ask(url, "/api/positions", "positions", "orders", "at")
    if json:
        return say(said)
    show(f"Positions, {local(said['at'])}", HELD, (held(row) for row in said["positions"]))
    if not said["positions"]:
        print("Nothing is held.")
    if said["orders"]:
        show("Orders at work", WORKING, (working(row) for row in said["orders"]))


def held(row: Row) -> tuple[str, ...]:
    """A line of what is held."""
    shares, guards = amount(row["quantity"], 0), ", ".join(g["leg"] for g in row["guards"])
    prices = (amount(row[name]) for name in ("price", "last", "value"))
    ends = (amount(row[name]) for name in ("stop", "target"))
    return (row["symbol"], shares, *prices, amount(row["pnl"], sign=True), *ends, guards or "none")


def working(row: Row) -> tuple[str, ...]:
    """A line of what is on its way."""
    shares = (amount(row[name], 0) for name in ("quantity", "filled"))
    return (row["symbol"], row["leg"], *shares, row["state"], local(row["at"]), row["note"])


def signals(
    symbol: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 20,
    url: Url = ARGO,
    json: Json = False,
) -> None:
    """The latest signals: who voted how, and what became of them.

    \b
    Examples:
      argo-alpine signals
      argo-alpine signals --symbol AAPL --limit 5
      argo-alpine signals --json
    """
    chosen = symbol.upper() if symbol else None
    said = ask(url, "/api/signals/latest", limit=limit, symbol=chosen)
    if json:
        return say(said)
    if not said:
        print("No signals yet.")
        return
    heads = (
        "symbol",
        "decided",
        "side",
        "sure",
        "entry",
        "stop",
        "target",
        "votes",
        "became",
        "id",
    )
    show(titled(said[0], "Signals, newest first"), heads, (signal_row(row) for row in said))


def signal_row(row: Row) -> tuple[str, ...]:
    """A line of signals."""
    prices = (amount(row[name]) for name in ("entry", "stop", "target"))
    sure = f"{row['confidence']:.2f} %"
    return (
        row["symbol"], local(row["at"]), row["direction"], sure, *prices,
        ballots(row["consensus"]["votes"]), row["outcome"]["words"], row["id"][:12],
    )  # fmt: skip


def ballots(votes: Sequence[Row]) -> str:
    """Four votes in a few characters: M+90 A+80 X-70 S."""
    marks = {"LONG": "+", "SHORT": "-"}
    return " ".join(
        vote["source"][0].upper()
        + ("" if vote["abstained"] else f"{marks[vote['direction']]}{vote['confidence']:.0f}")
        for vote in votes
    )


def sources(url: Url = ARGO, json: Json = False) -> None:
    """How each source is doing, and what it says now.

    \b
    Examples:
      argo-alpine sources
      argo-alpine sources --json
    """
    said = ask(url, "/api/sources")
    if json:
        return say(said)
    show("Sources, today", SOURCES, (source_row(row) for row in said))
    votes = [vote for row in said for vote in row["votes"]]
    if votes:
        show(f"Votes, {local(said[0]['at'])}", VOTES, (vote_row(vote) for vote in votes))


def source_row(row: Row) -> tuple[str, ...]:
    """A line of sources."""
    seen = row["health"]
    return (
        row["name"], percent(row["weight"]), seen["state"], str(seen["calls"]),
        amount(seen["usd"]), local(seen["last_success"]), seen["error"],
    )  # fmt: skip


def vote_row(vote: Row) -> tuple[str, ...]:
    """A line of votes."""
    sure = "-" if vote["abstained"] else f"{vote['confidence']:.2f} %"
    side = vote["direction"]
    return vote["source"], vote["symbol"], side, sure, local(vote["at"]), vote["why"]

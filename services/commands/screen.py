"""How a command talks: tables for people, JSON for programs, progress where it is in no way."""

import json as jsonlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.commands import interrupts

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

Json = Annotated[
    bool, typer.Option("--json", help="Machine-readable, and nothing else, on stdout.")
]
COLOURS = {
    **dict.fromkeys(("ok", "LONG", "running", "ACTIVE"), "green"),
    **dict.fromkeys(("degraded", "waiting", "warning", "spent", "REDUCING"), "yellow"),
    **dict.fromkeys(
        ("down", "failed", "failing", "open (breaker)", "SHORT", "HALTED", "error", "critical"),
        "red",
    ),
    **dict.fromkeys(("NEUTRAL", "off", "-"), "dim"),
}


def say(value: object) -> None:
    """Print JSON."""
    print(jsonlib.dumps(value, indent=2, allow_nan=False))


def tell(line: str) -> None:
    """Print progress, where it is in nobody's way."""
    print(line, file=sys.stderr, flush=True)


def rows_of(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """A table as JSON has it: no NaN, times as text."""
    import pandas as pd

    plain = table.astype(object).where(table.notna(), None)
    return [
        {str(k): v.isoformat() if isinstance(v, pd.Timestamp) else v for k, v in row.items()}
        for row in plain.to_dict("records")
    ]


def show(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; every column but the first is set to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=any(heads))
    table.min_width = len(title)  # or the title would fold to the width of its table
    for n, head in enumerate(heads):
        table.add_column(head, justify="right" if n else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell), COLOURS.get(cell, "")) for cell in row))
    Console(markup=False, highlight=False, emoji=False).print(table)


def printable(text: str) -> str:
    """A text that moves no cursor and turns no line around, whoever wrote it."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def near(path: "Path") -> str:
    """A path as seen from here, where it lies below."""
    from pathlib import Path

    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, for somebody who watches; it is told how many are done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=total)

        def tick(done: int) -> None:
            interrupts.check()
            bar.update(task, completed=done)

        yield tick


def local(text: str | None) -> str:
    """A time as the reader's clock has it; a dash for none, and what is no time as it is."""
    if text is None:
        return "-"
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def amount(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number with its thousands; a dash for one that is not known."""
    if value is None:
        return "-"
    shown = round(value, digits) + 0.0  # no minus before a zero
    return f"{shown:{'+' if sign else ''},.{digits}f}"


def percent(share: float | None) -> str:
    """A share of one as percent; a dash for one that is not known."""
    return "-" if share is None else f"{round(100 * share, 1) + 0.0:.1f} %"


def seconds(value: float | None) -> str:
    """A length of time in the unit people would use."""
    if value is None:
        return "-"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if value >= 2 * size:
            return f"{value / size:.0f} {unit}"
    return f"{value:.0f} s"

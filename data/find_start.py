"""Find where the sandbox begins: just before the first close at which the default policy makes a
signal, from the AAPL split of 2005-02-28 on. Run from the root: python -m data.find_start"""

import sys
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from sqlalchemy import select

from argo_alpine.sessions import sessions
from services.argo import tables
from tests.live_stage import living

SPLIT, LAST = date(2005, 2, 28), date(2005, 3, 31)


def signals_at(day: date) -> list[str]:
    """The symbols of the signals made at one close, by the real engine and adapters."""
    with TemporaryDirectory() as folder, living(Path(folder), start=day) as live:
        live.turn()
        live.window()
        with live.argo.writer.transaction() as session:
            return list(session.execute(select(tables.signals.c.symbol)).scalars())


def main() -> int:
    """Print one line a session until a signal is made."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    for day in sessions(SPLIT, LAST).index:
        made = signals_at(day.date())
        print(f"{day:%Y-%m-%d}  {', '.join(made) or 'no signal'}")
        if made:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())

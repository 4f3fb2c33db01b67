"""How much is at stake, how far is it to the limits, and what guards it?"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboards import charts, client, parts, words
from services.common.sections import Settings
from services.common.settings import policy

ORDERS = {
    "symbol": st.column_config.TextColumn("Symbol"),
    "leg": st.column_config.TextColumn("Leg"),
    "quantity": st.column_config.NumberColumn("Shares", format="%d"),
    "filled": st.column_config.NumberColumn("Filled", format="%d"),
    "state": st.column_config.TextColumn("State"),
    "note": st.column_config.TextColumn("Note", width="large"),
}
GUARDS = {
    "symbol": st.column_config.TextColumn("Symbol"),
    "leg": st.column_config.TextColumn("Leg"),
    "price": st.column_config.NumberColumn("Price", format="%.2f"),
    "state": st.column_config.TextColumn("State"),
}


@st.fragment(run_every=5)
def live() -> None:
    """Mode, limits, exposure, orders; asks again by itself."""
    book, health = parts.reading(client.book), parts.reading(client.health)
    held = parts.reading(client.positions)
    mode(book, health)
    if book["equity"] is None:
        parts.empty("shield", "No account yet", words.plain(book.get("why_not") or "No cycle yet."))
        return
    left, right = parts.row(1, 1)
    with left:
        limits(book, held["positions"], str(health.get("version", "")))
    with right:
        st.subheader("Exposure", anchor=False)
        exposed(held["positions"], book["equity"])
    guards = [guard for one in held["positions"] for guard in one["guards"]]
    listed("Guards", guards, GUARDS, "No position, so nothing to guard.")
    listed("Open orders", held["orders"], ORDERS, "No order is on its way.")


def mode(book: client.Json, health: client.Json) -> None:
    """What may be done at all."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            name = str(book["mode"] or "unknown")
            st.subheader(words.plain(name.capitalize()), anchor=False, width="content")
            st.badge("Latched" if book.get("latched") else "Not latched", icon=":material/lock:",
                     color="red" if book.get("latched") else "gray")  # fmt: skip
            st.badge(f"Trading {'on' if book.get('auto_execute') else 'off'}", color="gray")
        parts.facts(
            {
                "Equity": words.amount(book["equity"]),
                "Today": words.amount(book.get("day"), sign=True),
                "From the peak": words.percent(book.get("drawdown"), 2),
                "Buying power": words.amount(book.get("buying_power"), 0),
            }
        )
        frozen = health.get("frozen") or {}
        st.caption("No symbol is frozen." if not frozen else "Frozen:")
        for symbol, why in frozen.items():
            st.text(words.shown(f"{symbol}: {why}"))


def limits(book: client.Json, positions: list[client.Json], version: str) -> None:
    """How much of each limit is used."""
    st.subheader("Limits", anchor=False)
    usual = policy(Settings())
    if version != usual.version:
        st.caption(
            "Argo has limits of its own, under trading in its configuration; its API does not "
            "tell them."
        )
        return
    risk, equity = usual.risk, book["equity"]
    lost = max(-(book.get("day") or 0.0), 0.0) / book["opening"] if book.get("opening") else 0.0
    values = [one["value"] or 0.0 for one in positions]
    bar("Drawdown from the peak", -100 * (book.get("drawdown") or 0.0), risk.drawdown_pct)
    bar("Loss today", 100 * lost, risk.daily_loss_pct)
    bar("Gross exposure", 100 * sum(map(abs, values)) / equity, risk.gross_pct)
    bar("Net exposure", 100 * abs(sum(values)) / equity, risk.net_pct)


def bar(name: str, used: float, limit: float) -> None:
    """One limit."""
    st.progress(
        min(max(used / limit, 0.0), 1.0), f"{name}: {words.amount(used, 1)} % of {limit:g} %"
    )


def exposed(positions: list[client.Json], equity: float) -> None:
    """What each position weighs."""
    shares = {str(p["symbol"]): 100 * (p["value"] or 0.0) / equity for p in positions}
    if not shares:
        st.caption("Nothing is held.")
        return
    told = ", ".join(f"{symbol} {share:.1f} %" for symbol, share in shares.items())
    parts.picture(charts.exposure(shares), "exposure", words.shown(told))


def listed(title: str, rows: list[client.Json], columns: Mapping[str, Any], none: str) -> None:
    """A table, or that there is nothing in it."""
    st.subheader(title, anchor=False)
    if rows:
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            placeholder=words.UNKNOWN,
            column_order=columns,
            column_config=columns,
            key=title,
        )
    else:
        st.caption(none)


live()

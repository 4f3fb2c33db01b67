"""What does Argo say now, how sure is it, and what became of it?"""

from collections.abc import Mapping
from datetime import datetime

import pandas as pd
import streamlit as st

from dashboards import client, parts, session, words
from services.common.clock import SystemClock

COLUMNS = {
    "received_at": st.column_config.DatetimeColumn(
        "Received", format="D MMM, HH:mm", timezone=session.zone()
    ),
    "symbol": st.column_config.TextColumn("Symbol"),
    "direction": st.column_config.TextColumn("Direction"),
    "confidence": st.column_config.NumberColumn("Confidence", format="%.2f %%"),
    "entry": st.column_config.NumberColumn("Entry", format="%.2f"),
    "stop": st.column_config.NumberColumn("Stop", format="%.2f"),
    "target": st.column_config.NumberColumn("Target", format="%.2f"),
    "outcome": st.column_config.TextColumn("Outcome"),
    "pnl": st.column_config.NumberColumn("Result", format="%+.2f"),
}
OUTCOMES: Mapping[str, parts.Look] = {
    "open": ("Open", ":material/hourglass_empty:", "gray"),
    "target": ("Reached its target", ":material/flag:", "green"),
    "stop": ("Stopped", ":material/block:", "red"),
    "close": ("Closed", ":material/check:", "gray"),
}
NONE: parts.Look = ("Not entered", ":material/remove:", "gray")


@st.fragment(run_every=5)
def live() -> None:
    """The newest signal and those before it; asks again by itself."""
    said = parts.reading(client.subscribed, session.token())
    account = parts.reading(client.account, session.token())
    now, items = SystemClock().wall(), said["items"]
    delay = float(account.get("delay_seconds") or 0)
    behind = (
        f"Your plan shows signals {words.lasting(delay)} after they were made. " if delay else ""
    )
    st.caption(f"{behind}Read {words.when(now.isoformat(), session.zone(), seconds=True)}.")
    if not items:
        why = behind or "A signal is made when the sources agree after a close of the exchange."
        parts.empty("sensors", "No signals yet", why.strip())
        return
    card(items[0], now)
    st.space("small")
    st.subheader("Latest", anchor=False)
    frame = pd.DataFrame(items).reindex(columns=[*COLUMNS])
    frame["received_at"] = pd.to_datetime(frame["received_at"], utc=True, format="ISO8601")
    frame["direction"] = frame["direction"].str.capitalize()
    frame["confidence"] = [words.floor(value) for value in frame["confidence"]]
    frame["outcome"] = [OUTCOMES.get(end or "", NONE)[0] for end in frame["outcome"]]
    st.dataframe(
        frame,
        hide_index=True,
        column_config=COLUMNS,
        placeholder=words.UNKNOWN,
        key="latest",
        alt="Latest signals",
    )


def card(signal: client.Json, now: datetime) -> None:
    """One signal and its story."""
    zone = session.zone()
    with st.container(border=True, key="newest"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.subheader(words.plain(signal["symbol"], 12), anchor=False, width="content")
            parts.side(signal["direction"])
            name, icon, color = OUTCOMES.get(signal["outcome"] or "", NONE)
            st.badge(name, icon=icon, color=color)
        st.caption(
            f"Received {words.ago(signal['received_at'], now)}. "
            f"Decided at the close of {words.when(signal['at'], zone)}, "
            f"valid until {words.when(signal['expires'], zone)}."
        )
        left, right = parts.row(5, 6)
        with left:
            prices(signal)
            story(signal)
        with right:
            parts.ballots(signal["votes"], "newest_votes")


def prices(signal: client.Json) -> None:
    """How sure, and between which prices."""
    entry = signal["entry"]
    with st.container(horizontal=True):
        st.metric("Confidence", words.sure(signal["confidence"]), width=132)
        st.metric("Size", f"{words.amount(signal['size_pct'], 1)} %", width=132)
    with st.container(horizontal=True):
        for name in ("stop", "entry", "target"):
            st.metric(
                name.capitalize(), words.amount(signal[name]), width=92, delta_color="off",
                delta=None if name == "entry" else words.distance(signal[name], entry),
                delta_arrow="off",
            )  # fmt: skip


def story(signal: client.Json) -> None:
    """What became of it."""
    fills = signal.get("fills") or []
    for fill in fills:
        quantity, price = abs(fill["quantity"]), words.amount(fill["price"])
        verb = "Entered" if fill.get("why") == "entry" else "Left"
        st.caption(
            f"{verb} with {words.count(int(quantity), 'share')} at {price}, "
            f"{words.when(fill['at'], session.zone())}"
        )
    if not fills:
        st.caption("Nothing is bought or sold yet.")
    if signal.get("pnl") is not None:
        st.markdown(f"**Result {words.amount(signal['pnl'], sign=True)}** :gray[after fees]")


live()
with st.popover("Export", icon=":material/download:"):
    st.caption("All signals of your plan, as CSV.")
    st.download_button(
        "Download", lambda: client.export(session.token()), "signals.csv", "text/csv"
    )

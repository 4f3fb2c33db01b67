"""Is the engine well, what did it decide, and why not more?"""

import pandas as pd
import streamlit as st

from dashboards import client, parts, session, words

DECISIONS = {
    "at": st.column_config.DatetimeColumn(
        "Market time", format="D MMM YYYY, HH:mm", timezone=session.zone()
    ),
    "symbol": st.column_config.TextColumn("Symbol", width="small"),
    "words": st.column_config.TextColumn("What became of it", width="large"),
    "confidence": st.column_config.NumberColumn("Confidence", format="%.2f %%"),
    "turnout": st.column_config.NumberColumn("Turnout", format="percent"),
}
POSITIONS = {
    "symbol": st.column_config.TextColumn("Symbol"),
    "quantity": st.column_config.NumberColumn("Shares", format="%d"),
    "price": st.column_config.NumberColumn("Paid", format="%.2f"),
    "last": st.column_config.NumberColumn("Last", format="%.2f"),
    "stop": st.column_config.NumberColumn("Stop", format="%.2f"),
    "target": st.column_config.NumberColumn("Target", format="%.2f"),
    "pnl": st.column_config.NumberColumn("Open result", format="%+.2f"),
}


@st.fragment(run_every=5)
def live() -> None:
    """Health, positions and decisions; asks again by itself."""
    state(parts.reading(client.health))
    st.space("small")
    st.subheader("Positions", anchor=False)
    held = parts.reading(client.positions)["positions"]
    if held:
        frame = pd.DataFrame(held)
        st.dataframe(
            frame,
            hide_index=True,
            placeholder=words.UNKNOWN,
            column_order=POSITIONS,
            column_config=POSITIONS,
            key="held",
        )
    else:
        st.caption("Nothing is held.")
    st.subheader("Decisions", anchor=False)
    made = parts.reading(client.decisions)
    if not made:
        parts.empty("gavel", "No decisions yet", "The first comes after a close of the exchange.")
        return
    st.dataframe(
        table(made),
        hide_index=True,
        placeholder=words.UNKNOWN,
        column_order=DECISIONS,
        column_config=DECISIONS,
        key="made",
    )


def state(health: client.Json) -> None:
    """How it is doing, and everything that is wrong."""
    zone, age = session.zone(), health.get("age_seconds")
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.subheader(
                words.plain(f"Engine {health.get('state', '')}"), anchor=False, width="content"
            )
            status = str(health["status"])
            st.badge(words.plain(status, 20).capitalize(), color=parts.LEVELS.get(status, "gray"))
            if health.get("latched"):
                st.badge("Kill latch set", icon=":material/lock:", color="red")
        parts.facts(
            {
                "Mode": words.shown(health["mode"] or "unknown", 20).capitalize(),
                "Last cycle": words.UNKNOWN if age is None else f"{age:.0f} s ago",
                "It took": words.UNKNOWN
                if health.get("cycle_ms") is None
                else f"{health['cycle_ms']:.0f} ms",
                "Sources": f"{health.get('sources_ok', 0)} of {health.get('sources_enabled', 0)}",
                "Trading": "On" if health.get("auto_execute") else "Off",
            }
        )
        is_open = {True: "open", False: "closed"}.get(health.get("is_open"), "unknown")
        st.caption(f"Market time {words.when(health.get('at'), zone)}, exchange {is_open}.")
        for problem in health["problems"]:
            with st.container(horizontal=True, wrap=False, gap="small"):
                st.markdown(":orange[:material/warning:]", width="content")
                st.text(words.shown(problem), width="stretch")
        head, seq = str(health.get("head_id") or ""), health.get("head_seq")
        if seq is not None:
            st.caption(
                f"Journal: entry {seq:,}, head {words.plain(head[:16])}, "
                f"book {words.plain(health.get('book', ''))}"
            )


def table(made: list[client.Json]) -> pd.DataFrame:
    """Decisions with their reasons in words."""
    frame = pd.DataFrame(made)
    frame["at"] = pd.to_datetime(frame["at"], utc=True, format="ISO8601")
    thought = [row.get("consensus") or {} for row in made]
    frame["confidence"] = pd.Series([one.get("confidence") for one in thought], dtype=float)
    frame["turnout"] = pd.Series([one.get("turnout") for one in thought], dtype=float)
    return frame


live()

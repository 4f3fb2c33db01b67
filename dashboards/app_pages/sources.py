"""What does each source say now, and what does it cost to ask?"""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from dashboards import charts, client, parts, session, words

STATES: Mapping[str, tuple[str, parts.Color]] = {
    "ok": ("Answers", "green"),
    "waiting": ("Not asked yet", "gray"),
    "failing": ("Fails", "red"),
    "open": ("Fails, left alone for a while", "red"),
    "spent": ("Budget used up", "orange"),
    "off": ("Switched off", "gray"),
}
VOTES = {
    "symbol": st.column_config.TextColumn("Symbol", width="small"),
    "says": st.column_config.TextColumn("Says", width="small"),
    "why": st.column_config.TextColumn("Why", width="large"),
    "expires": st.column_config.DatetimeColumn(
        "Counts until", format="D MMM YYYY, HH:mm", timezone=session.zone()
    ),
}


@st.fragment(run_every=5)
def live() -> None:
    """The votes now, and the sources one by one; asks again by itself."""
    found = parts.reading(client.sources)
    if not found or not any(source["votes"] for source in found):
        parts.empty("hub", "No votes yet", "Sources are heard after the engine's first cycle.")
    else:
        st.caption(f"As of market time {words.when(found[0].get('at'), session.zone())}.")
        told = "; ".join(
            f"{s['name']} {v['symbol']} {charts.spoken(v)}" for s in found for v in s["votes"]
        )
        parts.picture(charts.votes_now(found), "votes_now", words.shown(told))
    for n in range(0, len(found), 2):
        for column, source in zip(st.columns(2, gap="medium"), found[n : n + 2], strict=False):
            with column:
                show(source)


def show(source: client.Json) -> None:
    """One source."""
    health = source["health"]
    name, color = STATES.get(health["state"], ("Unknown", "gray"))
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.subheader(words.plain(words.source(source["name"])), anchor=False, width="content")
            st.badge(name, color=color)
        parts.facts(
            {
                "Weight": words.percent(source["weight"], 0),
                "Calls today": f"{health['calls']:,}",
                "USD today": f"{health['usd']:,.2f}",
            },
            width=98,
        )
        st.caption(
            f"Last answer {words.when(health.get('last_success'), session.zone(), seconds=True)}"
        )
        if health.get("error"):
            st.text(words.shown(health["error"]))
        with st.expander("Votes and reasons", key=f"why_{source['name']}"):
            if source["votes"]:
                st.dataframe(
                    table(source["votes"]),
                    hide_index=True,
                    placeholder=words.UNKNOWN,
                    column_order=VOTES,
                    column_config=VOTES,
                )
            else:
                st.caption("None yet.")


def table(votes: list[client.Json]) -> pd.DataFrame:
    """Votes with their reasons."""
    frame = pd.DataFrame(votes)
    frame["says"] = [charts.spoken(vote) for vote in votes]
    frame["expires"] = pd.to_datetime(frame["expires"], utc=True, format="ISO8601")
    return frame


live()

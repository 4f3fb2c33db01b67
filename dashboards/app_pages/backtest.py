"""What would the policy have done with these prices, under other settings?"""

from collections.abc import Mapping
from datetime import date

import streamlit as st

from dashboards import client, parts, session, words

STATES: Mapping[str, parts.Look] = {
    "waiting": ("Waiting", ":material/schedule:", "gray"),
    "running": ("Running", ":material/play_arrow:", "blue"),
    "done": ("Done", ":material/check:", "green"),
    "failed": ("Failed", ":material/error:", "red"),
}
SYMBOLS = ["AAPL", "IBM", "MSFT", "GOOG"]


def asked() -> dict[str, client.Json] | None:
    """The parameters, once they are sent."""
    with st.form("parameters"):
        symbols = st.multiselect("Symbols", SYMBOLS, default=SYMBOLS)
        first, last = st.columns(2)
        start = first.date_input("First day", date(2005, 3, 1), date(2000, 1, 3), date(2013, 3, 1))
        end = last.date_input("Last day", date(2013, 3, 1), date(2000, 1, 3), date(2013, 3, 1))
        threshold = st.slider("Confidence that acts [%]", 55.0, 95.0, 75.0, 0.5)
        with st.expander("Costs and limits"):
            left, right = st.columns(2)
            cash = left.number_input("Cash", 1_000.0, 1e9, 100_000.0, 1_000.0)
            drawdown = right.number_input("Drawdown that halts [%]", 1.0, 100.0, 10.0, 1.0)
            slippage = left.number_input("Slippage [bps]", 0.0, 500.0, 5.0, 1.0)
            spread = right.number_input("Spread [bps]", 0.0, 500.0, 2.0, 1.0)
            fee = left.number_input("Fee per share", 0.0, 10.0, 0.0, 0.005, "%.3f")
            rearm = right.number_input("Days a halt lasts, 0 for good", 0, 3650, 0)
        if not st.form_submit_button("Run", type="primary", icon=":material/play_arrow:"):
            return None
    if not symbols or start >= end:
        st.error("Choose a symbol, and a last day after the first.", icon=":material/error:")
        return None
    return {
        "symbols": symbols, "first": start.isoformat(), "last": end.isoformat(), "cash": cash,
        "threshold": threshold, "drawdown_pct": drawdown, "rearm_after": rearm,
        "slippage_bps": slippage, "spread_bps": spread, "fee_per_share": fee,
    }  # fmt: skip


@st.fragment(run_every=2)
def jobs() -> None:
    """What was asked for, and how far it is."""
    found = parts.reading(client.backtests, session.token())
    if not found:
        parts.empty("history", "No backtests yet", "Choose parameters and run one.")
    for job in found[:10]:
        show(job)


def show(job: client.Json) -> None:
    """One backtest."""
    knobs, name = job.get("parameters") or {}, str(job["id"])
    symbols = knobs.get("symbols", "")
    title = symbols if isinstance(symbols, str) else ", ".join(map(str, symbols))
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{words.plain(title, 80)}**", width="content")
            label, icon, color = STATES.get(job["state"], ("Unknown", ":material/help:", "gray"))
            st.badge(label, icon=icon, color=color)
        period = f"{knobs.get('first', '')} to {knobs.get('last', '')}"
        st.caption(words.plain(f"{period}, confidence from {knobs.get('threshold', '')} %"))
        if job["state"] in ("waiting", "running"):
            st.progress(min(max(float(job.get("progress") or 0), 0.0), 1.0))
        if job.get("note"):
            st.text(words.shown(job["note"]))
        if job.get("report_url") and st.button("Open the report", key=f"open_{name}"):
            st.session_state["opened"] = name
            st.rerun()


form, list_ = parts.row(5, 6)
with form:
    if (parameters := asked()) is not None:
        parts.reading(client.start_backtest, session.token(), parameters)
        st.toast("The backtest is on its way.", icon=":material/check:")
with list_:
    jobs()
if opened := st.session_state.get("opened"):
    st.subheader("Report", anchor=False)
    page = parts.reading(client.report, f"/api/backtests/{opened}/report", session.token())
    parts.embedded(page, "Backtest report", f"backtest-{opened}")

"""What would following every signal have earned, and how much of that is luck?"""

import streamlit as st

from dashboards import charts, client, parts, session, words

said = parts.reading(client.performance, session.token())
parts.hypothetical(said.get("kind", "paper"))
points, trades = said["equity"], said["trades"]
if not points:
    parts.empty("show_chart", "No equity yet", "The curve begins with the first decision.")
    st.stop()

first, last = points[0], points[-1]
st.space("small")
parts.facts(
    {
        "Equity": words.amount(last["equity"], 0),
        "Return": words.percent(last["equity"] / first["equity"] - 1, 2, sign=True),
        "Worst drawdown": words.percent(-abs(said["drawdown_pct"] or 0.0) / 100, 2),
        "Closed trades": f"{trades['n']:,}",
        "Their result": words.amount(trades["pnl"], 2, sign=True),
    }
)
st.caption(
    f"Since {words.when(said.get('since') or first['at'], session.zone())}, account currency."
)
told = f"Equity from {words.amount(first['equity'], 0)} to {words.amount(last['equity'], 0)}"
parts.picture(charts.equity(points, session.zone()), "equity", f"{told}, drawdown beneath")

st.subheader("Win rate", anchor=False)
if trades.get("rate") is None:
    st.text(words.shown(trades.get("why_not") or "No trade is closed yet."))
    st.caption(f"{trades['wins']} of {words.count(trades['n'], 'closed trade')} won.")
    st.stop()

low, high = words.percent(trades["low"]), words.percent(trades["high"])
left, right = parts.row(1, 2)
left.metric("Won", words.percent(trades["rate"]))
left.caption(f"{trades['wins']} of {words.count(trades['n'], 'closed trade')}")
with right:
    picture = charts.interval(trades["rate"], trades["low"], trades["high"])
    parts.picture(picture, "interval", f"Win rate between {low} and {high}")
    st.caption(
        f"95 % interval (Wilson) from {low} to {high}. The dotted line is a coin; "
        "what a win earns and a loss costs stands in the result, not here."
    )

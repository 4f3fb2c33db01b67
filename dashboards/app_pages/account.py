"""Who am I here, what may I see, and how do I leave?"""

from zoneinfo import available_timezones

import streamlit as st

from argo_alpine.domain import Refused, Unavailable
from dashboards import client, parts, session, words

account = parts.reading(client.account, session.token())
symbols = account.get("symbols")
delay, per_day = account.get("delay_seconds") or 0, account.get("per_day")
with st.container(border=True):
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(words.plain(account["email"], 80), anchor=False, width="content")
        st.badge(words.shown(account["plan"], 20).capitalize(), color="primary")
    st.caption(f"Subscriber since {words.when(account.get('created_at'), session.zone())}")
    parts.facts(
        {
            "Symbols": "All" if symbols is None else words.shown(", ".join(symbols), 60),
            "Delay": words.lasting(delay) if delay else "None",
            "Signals a day": "Unlimited" if per_day is None else f"{per_day:,}",
        }
    )

left, right = parts.row(1, 1)
with left, st.form("zone"):
    st.subheader("Time zone", anchor=False)
    st.caption("For mails and for browsers that do not tell theirs. This page uses "
               f"{session.zone()}.")  # fmt: skip
    zones = sorted(available_timezones())
    now = account.get("zone", "UTC")
    zone = st.selectbox("Zone", zones, index=zones.index(now) if now in zones else None)
    if st.form_submit_button("Save") and zone:
        parts.reading(client.change_zone, session.token(), zone)
        st.session_state[session.ZONE] = zone
        st.success("Saved.", icon=":material/check:")
with right, st.form("password", clear_on_submit=True):
    st.subheader("Password", anchor=False)
    st.caption("A new one signs you out everywhere.")
    old = st.text_input("Present password", type="password", autocomplete="current-password")
    new = st.text_input("New password", type="password", autocomplete="new-password")
    if st.form_submit_button("Change"):
        if len(new) < session.SHORTEST:
            st.error(f"At least {session.SHORTEST} characters.", icon=":material/error:")
        else:
            parts.reading(client.change_password, session.token(), old, new)
            session.forget("The password is changed: sign in with the new one.")
            st.rerun()

if st.button("Sign out", icon=":material/logout:"):
    try:
        client.logout(session.token())
    except (Unavailable, Refused) as error:
        session.forget(f"Signed out here; Alpine was not told: {error}")
    else:
        session.forget("You are signed out.")
    st.rerun()

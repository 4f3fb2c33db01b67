"""Who reads: the token lives in the session's memory only, and a reload signs in again."""

import streamlit as st

from argo_alpine.domain import Refused, Unavailable
from dashboards import client, words
from services.common.fields import is_loopback

TOKEN, ZONE, EMAIL = "token", "zone", "email"
SHORTEST = 12  # characters of a new password


def token() -> str:
    """Alpine's token; empty before the sign-in."""
    return str(st.session_state.get(TOKEN, ""))


def zone() -> str:
    """The reader's time zone: the browser's, else the account's, else UTC."""
    return words.zone_of(st.context.timezone, st.session_state.get(ZONE))


def keep(account: client.Json) -> None:
    """Remember who signed in."""
    st.session_state[TOKEN] = account["token"]
    st.session_state[EMAIL] = account["email"]
    st.session_state[ZONE] = account.get("zone")
    st.session_state.pop("note", None)


def forget(note: str = "") -> None:
    """Know nobody any more, and nothing that was read for them."""
    st.session_state.clear()
    if note:
        st.session_state["note"] = note


def is_operator() -> bool:
    """Whether whoever reads sits at this machine: the server listens here, nobody forwards."""
    here = is_loopback(str(st.get_option("server.address") or ""))
    return here and not any(name in st.context.headers for name in ("Forwarded", "X-Forwarded-For"))


def sign_in() -> None:
    """The form that stands in for a subscriber's page."""
    if note := st.session_state.get("note", ""):
        st.info(words.plain(note), icon=":material/info:")
    with st.container(width=440):
        st.caption("Signals, performance and backtests are for subscribers.")
        known, new = st.tabs(["Sign in", "Create an account"])
        with known, st.form("sign_in"):
            email = st.text_input("E-mail", autocomplete="username")
            password = st.text_input("Password", type="password", autocomplete="current-password")
            if st.form_submit_button("Sign in", type="primary", width="stretch"):
                enter(email, password)
        with new, st.form("sign_up"):
            email = st.text_input("E-mail", autocomplete="email", key="new_email")
            password = st.text_input(
                "Password", type="password", autocomplete="new-password", key="new_password",
                help=f"At least {SHORTEST} characters.",
            )  # fmt: skip
            if st.form_submit_button("Create an account", width="stretch"):
                join(email, password)


def enter(email: str, password: str) -> None:
    """Sign in, or say why not."""
    try:
        keep(client.login(email.strip(), password))
    except (Unavailable, Refused) as error:
        st.error(words.plain(error), icon=":material/error:")
    else:
        st.rerun()


def join(email: str, password: str) -> None:
    """Ask for an account, or say why not."""
    if len(password) < SHORTEST:
        st.error(f"The password needs at least {SHORTEST} characters.", icon=":material/error:")
        return
    try:
        st.success(words.plain(client.signup(email.strip(), password)), icon=":material/check:")
    except (Unavailable, Refused) as error:
        st.error(words.plain(error), icon=":material/error:")

"""Questions to a running Argo."""

import re
from typing import Annotated, Any

import typer

ARGO = "http://127.0.0.1:8000"
TIMEOUT = 10.0  # seconds


def checked(url: str) -> str:
    """An address as it is asked. *Raises* `BadParameter` for what is none."""
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", url):
        raise typer.BadParameter(f"{url} is no address: write one like {ARGO}")
    return url.rstrip("/")


Url = Annotated[str, typer.Option(help="Where Argo listens.", callback=checked)]


def ask(url: str, path: str, *needs: str, **query: object) -> Any:
    """What Argo answers; `needs` are the keys it must hold.

    *Raises* `Unavailable` when nothing answers, or not Argo, or it cannot read its book.
    """
    import requests

    chosen = {name: str(value) for name, value in query.items() if value is not None}
    session = requests.Session()
    # a proxy has nothing to say on the way to this machine
    session.trust_env = "127.0.0.1" not in url and "localhost" not in url
    try:
        with session:
            reply = session.get(url + path, params=chosen, timeout=TIMEOUT)
            said = reply.json()
    except requests.JSONDecodeError as error:
        raise unavailable(f"{url} is not Argo: it answers without JSON; see --url") from error
    except requests.RequestException as error:
        raise unavailable(
            f"nothing answers at {url}: start `argo-alpine sandbox` and "
            "`argo-alpine argo --sandbox`, or name another place with --url"
        ) from error
    return sound(url, path, reply.status_code, said, needs)


def unavailable(words: str) -> Exception:
    """The error of somebody who does not deliver; its module is slow to load and rarely needed."""
    from argo_alpine.domain import Unavailable

    return Unavailable(words)


def sound(url: str, path: str, status: int, said: Any, needs: tuple[str, ...]) -> Any:
    """An answer that is one of Argo's. *Raises* `Unavailable`."""
    is_ours = isinstance(said, list) if not needs else isinstance(said, dict)
    if is_ours and status in (200, 503) and all(name in said for name in needs):
        return said
    if status == 503 and isinstance(said, dict) and "id" in said:
        raise unavailable(f"Argo at {url}: {said.get('detail')} ({said['id']})")
    if status == 422:
        raise unavailable(f"Argo at {url} does not understand {path}: {said}")
    raise unavailable(f"{url} is not Argo, or another version: {path} answers {status}; see --url")

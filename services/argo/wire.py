"""Values as text and back, the same way in the journal, the store and the replay."""

import json
from typing import TypeVar, cast

from argo_alpine.records import parsed

T = TypeVar("T")


def loaded(kind: type[T], text: str) -> T:
    """The value whose canonical text this is. *Raises* `InvalidJournal`."""
    value = json.loads(text)
    return cast(T, value if kind is dict else parsed(kind, value))

"""A record, as both clients give and take it."""

from typing import NamedTuple, Optional


class Record(NamedTuple):
    """Headers are pairs of a name and bytes or None; the timestamp is in milliseconds."""

    key: Optional[bytes]
    value: Optional[bytes]
    headers: tuple = ()
    timestamp: int = 1_700_000_000_000

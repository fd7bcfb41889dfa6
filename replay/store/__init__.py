"""The event store: the interface, its embedded SQLite backend, and one in memory for tests."""

from replay.store.interface import EventStore, FaultInjection, Head, Receipt, RoomSummary
from replay.store.memory import MemoryStore
from replay.store.sqlite import SqliteStore

__all__ = [
    "EventStore",
    "FaultInjection",
    "Head",
    "MemoryStore",
    "Receipt",
    "RoomSummary",
    "SqliteStore",
]

"""The base of what can go wrong with the event log, for those who may not import the store."""

from typing import ClassVar, Self


class StoreError(Exception):
    """Base of all errors of the event store. `code` names the kind, `str()` is one clear line."""

    code: ClassVar[str] = "store_error"

    def again(self) -> Self:
        """Equal error without this one's traceback, so that each waiter raises one of its own."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        twin.__cause__ = self.__cause__
        return twin

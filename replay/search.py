"""Finding the first position at which an expression over the state holds.

Expressions are JMESPath over the document of `replay.document`. One holds when its value is true
as JMESPath has it: neither false nor null, nor an empty string, list or map. Numbers are true, zero
too, so compare them.
"""

from __future__ import annotations

from typing import Any

import jmespath
import jmespath.exceptions
from msgspec import Struct

from protocol.envelope import Envelope
from replay.document import Document
from replay.errors import WrongExpression
from replay.fold import Fold
from replay.history import History, Progress


class Found(Struct, frozen=True):
    """Where an expression holds first: the envelope there, and the expression's value."""

    envelope: Envelope
    value: Any
    fold: Fold


class Expression:
    """A JMESPath expression over a room's state. Raises `WrongExpression` on making."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._compiled = jmespath.compile(text)
        except jmespath.exceptions.JMESPathError as error:
            reason = " ".join(str(error).split())
            raise WrongExpression(f"{text!r} is no JMESPath expression: {reason}") from error
        self.sections = _sections(dict(self._compiled.parsed))
        """The top-level names that its value can depend on; None: on all of them."""
        self.error: str | None = None
        """Why the last evaluation failed, if it did."""

    def value(self, document: dict[str, Any]) -> Any:
        """Evaluate it; None if it cannot be, as when a function meets a null."""
        try:
            value = self._compiled.search(document)
        except jmespath.exceptions.UnknownFunctionError as error:
            raise WrongExpression(f"{self.text!r}: {error}") from error
        except jmespath.exceptions.ArityError as error:
            raise WrongExpression(f"{self.text!r}: {error}") from error
        except jmespath.exceptions.JMESPathError as error:
            self.error = " ".join(str(error).split())
            return None
        self.error = None
        return value

    @staticmethod
    def holds(value: Any) -> bool:
        """Whether a value is true, as JMESPath has it."""
        return value is not None and value is not False and value not in ("", [], {})


_ON_FIRST = frozenset(
    (
        "subexpression", "index_expression", "pipe", "projection", "value_projection",
        "filter_projection", "flatten", "slice",
    )
)  # fmt: skip
"""Nodes whose later children look at what the first one gave."""
_ON_ALL = frozenset(
    (
        "comparator", "and_expression", "or_expression", "not_expression", "multi_select_list",
        "multi_select_dict", "key_val_pair", "function_expression",
    )
)  # fmt: skip


def _sections(node: dict[str, Any]) -> frozenset[str] | None:
    """The names of the document's top level that an expression looks at; None if unknown."""
    kind = node["type"]
    if kind == "field":
        return frozenset((node["value"],))
    if kind in ("literal", "expref"):
        return frozenset()
    if kind in _ON_FIRST and node["children"]:
        return _sections(node["children"][0])
    if kind in _ON_ALL:
        found: frozenset[str] = frozenset()
        for child in node["children"]:
            sections = _sections(child)
            if sections is None:
                return None
            found |= sections
        return found
    return None


def _ignore(_position: int) -> None:
    pass


def find(
    history: History,
    expression: Expression,
    after: int = 0,
    up_to: int | None = None,
    progress: Progress = _ignore,
) -> Found | None:
    """Look for the first position after `after`, up to and with `up_to`, at which it holds.

    Only events change states, so a position found bears one, unless the expression holds from
    the first position on. Raises `WrongExpression` if it could be evaluated nowhere.
    """
    fold = history.at(after, progress)
    document = Document(fold, history.revealer)
    evaluated, must_look = False, True
    for envelope, event in history.events(fold, up_to, progress):
        if event is not None:
            touched = document.update(envelope.actor, event)
            must_look |= expression.sections is None or not touched.isdisjoint(expression.sections)
        if not must_look:
            continue
        must_look = False
        value = expression.value(document.root)
        evaluated |= expression.error is None
        if expression.holds(value):
            return Found(history.revealer.envelope(envelope), value, fold)
    if not evaluated and expression.error is not None:
        raise WrongExpression(f"{expression.text!r} could be evaluated nowhere: {expression.error}")
    return None

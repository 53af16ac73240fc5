"""The first net: every public method of MLflow's stores is named in a table, and runs under the right that it needs.

The table of a store maps a method to its `Rule`. `govern` puts a method around the parent's for each of them: arguments
are made full, the right is checked, the parent runs under the permit, and what comes back is shown as the actor knows it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException

from model_platform_core.access import Scope
from model_platform_core.errors import ForbiddenError, ModelPlatformError
from model_platform_server.adapters.mlflow.naming import shown_message
from model_platform_server.adapters.mlflow.refusals import Refusal
from model_platform_server.adapters.mlflow.sessions import Access, accessing, acting

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """What a method needs: None for `access` means that nobody may call it."""

    access: Access | None


READS = Rule(Access())
PUBLISHES = Rule(Access(Scope.MODELS_PUBLISH, writes=True))
MANAGES = Rule(Access(Scope.MODELS_MANAGE, writes=True))
CLOSED = Rule(None)


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def rules(reads: str, publishes: str, manages: str, closed: str) -> dict[str, Rule]:
    """A table from lists of names, separated by white space."""
    return {
        name: rule
        for listed, rule in ((reads, READS), (publishes, PUBLISHES), (manages, MANAGES), (closed, CLOSED))
        for name in names(listed)
    }


class Governed:
    """What a governed store adds to MLflow's: how arguments, results and refusals are treated, in one place each."""

    def _qualify(self, method: str, arguments: Arguments) -> None:
        """Make names in the arguments full, in place."""
        raise NotImplementedError

    def _check(self, method: str, access: Access, arguments: Arguments) -> None:
        """Refuse in the platform's words what the nets below would refuse in theirs."""
        raise NotImplementedError

    def _explain(self, access: Access, arguments: Arguments) -> None:
        """Called when the nets below refused, or found nothing: say which right lacks, if what was meant may be seen."""
        raise NotImplementedError

    def _show(self, result: Any) -> Any:
        """Names in a result as the actor knows them."""
        raise NotImplementedError


def govern(store: type[Governed], parent: type, table: Mapping[str, Rule]) -> None:
    """Wrap the parent's methods, or the store's own versions of them, as the table says."""
    for name, rule in table.items():
        inner = store.__dict__.get(name) or getattr(parent, name)
        setattr(store, name, _closed(name, inner) if rule.access is None else _governed(name, inner, rule.access))


def _closed(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(inner)
    def refuse(*_: Any, **__: Any) -> Any:
        raise Refusal(ForbiddenError(f"{name.replace('_', ' ')} is not open on this platform."))

    return refuse


def _governed(name: str, inner: Callable[..., Any], access: Access) -> Callable[..., Any]:
    signature = inspect.signature(inner)

    @functools.wraps(inner)
    def method(self: Governed, *given: Any, **named: Any) -> Any:
        actor = acting()
        call = signature.bind(self, *given, **named)
        try:
            self._qualify(name, call.arguments)
            self._check(name, access, call.arguments)
            with accessing(access):
                return self._show(inner(*call.args, **call.kwargs))
        except Refusal as refusal:
            if access.writes and isinstance(refusal.error, ForbiddenError):
                _explained(self, access, call.arguments)
            raise
        except ModelPlatformError as error:
            raise Refusal(error) from error
        except MlflowException as error:
            if isinstance(error.__cause__, ModelPlatformError):  # raised inside a session, which MLflow's wraps
                raise Refusal(error.__cause__) from error
            if access.writes and error.error_code == "RESOURCE_DOES_NOT_EXIST":
                _explained(self, access, call.arguments)
            error.message = shown_message(actor, str(error.message))
            error.args = (error.message,)
            raise

    return method


def _explained(store: Governed, access: Access, arguments: Arguments) -> None:
    try:
        store._explain(access, arguments)  # noqa: SLF001  # the protocol of this module
    except ModelPlatformError as error:
        raise Refusal(error) from None


def unclassified(parent: type, table: Mapping[str, Rule], derived: frozenset[str]) -> set[str]:
    """Public methods of MLflow's store that nobody has looked at; `derived` are those that only call others."""
    public = {name for name in dir(parent) if not name.startswith("_") and callable(getattr(parent, name))}
    return public - set(table) - derived

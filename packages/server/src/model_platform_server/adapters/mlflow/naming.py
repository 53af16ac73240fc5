"""What names mean.

**What stands before the first dot of a name is its zone, if the actor may see a zone of that name. Every other name is
bare, and means the actor's home zone.**

A model's own name has no dot, so there a dot always separates, and a zone that may not be seen is simply not found.
Experiments of users do have dots and slashes (`/Users/ana/exp`, `my.exp.v2`): they are bare unless they begin with a zone
that the actor may see. So an unchanged script with bare names works in its own actor's home zone, two actors never meet
in one name, and a full name never leads past a right.

Inside the stores every name is full. What goes out is bare for the actor's home zone and full for every other zone, and
whatever goes out means the same thing when it comes back.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from urllib.parse import unquote, urlparse

from model_platform_core.access import Actor, Scope
from model_platform_core.errors import InvalidNameError
from model_platform_core.refs import ZONE_PATTERN

DEFAULT_EXPERIMENT = "Default"
"""An experiment's own name that means what experiment 0 means: the default of the zone."""

_ZONE = re.compile(ZONE_PATTERN)


def zone_of(full_name: str) -> str:
    """The zone of a full name; empty for names that belong to no zone (MLflow's own experiment 0)."""
    zone, dot, _ = full_name.partition(".")
    return zone if dot else ""


def split(full_name: str) -> dict[str, str]:
    """Zone and name of a full name, as our tables hold them."""
    zone, _, name = full_name.partition(".")
    return {"zone": zone, "name": name}


def prefix_of(location: str) -> str:
    """Where a location lies in the artifact store: `mlflow-artifacts:/1/models/m-x/artifacts` is `1/models/…`."""
    return posixpath.normpath(unquote(urlparse(location).path)).strip("/")


def home_zone(actor: Actor, name: str) -> str:
    """The actor's home zone, for a bare name.

    Raises
    ------
    InvalidNameError
        If the actor has none; says how to write the name instead.
    """
    if actor.home_zone is None:
        raise InvalidNameError(f"{actor.name} has no home zone; write zone.{name} instead of {name}.")
    return actor.home_zone


def full_model_name(actor: Actor, name: str) -> str:
    """The full name of a model; raises InvalidNameError for a bare one of an actor without home zone."""
    return name if "." in name or not name else f"{home_zone(actor, name)}.{name}"


class ExperimentNames:
    """Full names of experiments.

    Parameters
    ----------
    zone_exists
        Asked for actors who may see every zone: a word before a dot is a zone for them only if there is one.
    """

    def __init__(self, zone_exists: Callable[[str], bool]) -> None:
        self._zone_exists = zone_exists

    def full(self, actor: Actor, name: str) -> str:
        """The full name; raises InvalidNameError for a bare one of an actor without home zone."""
        if not name or self._names_zone(actor, name):
            return name
        return f"{home_zone(actor, name)}.{name}"

    def _names_zone(self, actor: Actor, name: str) -> bool:
        zone = zone_of(name)
        if not _ZONE.fullmatch(zone):
            return False
        if zone == actor.home_zone or Scope.MODELS_READ in actor.grants.get(zone, frozenset()):
            return True
        return actor.may(Scope.MODELS_READ, zone) and self._zone_exists(zone)


def shown_name(actor: Actor, full_name: str, qualify: Callable[[Actor, str], str]) -> str:
    """How a name goes out: bare for the home zone, unless the bare one would mean something else when it comes back."""
    prefix = f"{actor.home_zone}."
    if actor.home_zone is None or not full_name.startswith(prefix):
        return full_name
    bare = full_name.removeprefix(prefix)
    return bare if bare and qualify(actor, bare) == full_name else full_name


def shown_message(actor: Actor, message: str) -> str:
    """An error message of MLflow's, without its SQL, with names of the home zone as the client wrote them."""
    message = re.sub(r" Error: \(.*", "", message, flags=re.DOTALL)
    if actor.home_zone is None:
        return message
    return re.sub(rf"(?<![\w.-]){re.escape(actor.home_zone)}\.(?=[\w/])", "", message)

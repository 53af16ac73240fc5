"""The REST API over HTTP: one place that knows headers, problems and what may be asked again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx
from pydantic import ValidationError

import model_platform
from model_platform.embedded.discovery import Discovery
from model_platform.embedded.transport import ProvenTransport
from model_platform_core.errors import (
    ModelPlatformError,
    ServerUnavailableError,
    UnauthenticatedError,
    error_from_code,
)
from model_platform_core.wire import Problem

API = "/api/v1"
VERSION_HEADER = "X-Model-Platform-Version"
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_TRIES = 5
_PAUSE_SECONDS = 0.2
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Access:
    """A server's address and the token for it; of the embedded server also what every connection has to prove."""

    url: str
    token: str | None = field(repr=False)
    embedded: Discovery | None = field(default=None, repr=False)


class Rest:
    """Requests to one server. `locate` says where it is; it is asked again when nobody answers there any more."""

    def __init__(self, locate: Callable[[], Access]) -> None:
        self._locate = locate
        self._access: Access | None = None
        self._http: httpx.Client | None = None

    @property
    def url(self) -> str:
        """The server's address."""
        return self._connected()[0].url

    @property
    def uploads(self) -> Path | None:
        """Where the server of this user on this machine takes files that are laid there; None for any other server."""
        embedded = self._connected()[0].embedded
        return Path(embedded.uploads) if embedded is not None and embedded.uploads else None

    def close(self) -> None:
        """Close what is open."""
        if self._http is not None:
            self._http.close()
        self._http = self._access = None

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        content: Callable[[], Iterator[bytes]] | bytes | None = None,
        repeatable: bool | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        """One request, with its whole answer.

        Parameters
        ----------
        path
            Below `/api/v1`.
        repeatable
            Whether it may be sent again after the connection broke; by default what HTTP calls idempotent.
        timeout
            Seconds to wait for the answer, beyond the usual.

        Raises
        ------
        ModelPlatformError
            What the server answered, rebuilt from its code; ServerUnavailableError if nobody answers.
        """
        if repeatable is None:
            repeatable = method in {"GET", "PUT", "DELETE"} and content is None
        query = {name: value for name, value in (params or {}).items() if value is not None}
        for attempt in range(1, _TRIES + 1):
            access, http = self._connected()
            try:
                answer = http.request(
                    method,
                    API + path,
                    params=query,
                    json=json,
                    headers=dict(headers or {}),
                    content=content() if callable(content) else content,
                    timeout=httpx.Timeout(60.0 + (timeout or 0), connect=10.0),
                )
            except httpx.TransportError as error:
                never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if attempt == _TRIES or not (repeatable or never_sent):
                    raise _unreachable(access.url, error) from None
                self.close()
                time.sleep(_PAUSE_SECONDS * 2 ** (attempt - 1))
            else:
                raise_for_problem(answer)
                return answer
        raise AssertionError("unreachable: the last attempt answers or raises")

    @contextmanager
    def stream(self, method: str, path: str, *, params: Mapping[str, Any] | None = None) -> Iterator[httpx.Response]:
        """One request whose answer is read as it comes, for as long as it takes."""
        access, http = self._connected()
        query = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            with http.stream(method, API + path, params=query, timeout=httpx.Timeout(None, connect=10.0)) as answer:
                if answer.status_code >= 400:
                    answer.read()
                raise_for_problem(answer)
                yield answer
        except httpx.TransportError as error:
            if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                self.close()  # the next request asks again where the server is
            raise _unreachable(access.url, error) from None

    def _connected(self) -> tuple[Access, httpx.Client]:
        if self._access is None or self._http is None:
            self._access = self._locate()
            self._http = http_client(self._access)
        return self._access, self._http


def http_client(access: Access) -> httpx.Client:
    """A client for an address; loopback is never asked through a proxy."""
    headers = {"User-Agent": f"model-platform/{model_platform.__version__}"}
    if access.token:
        headers["Authorization"] = f"Bearer {access.token}"
    proxied = urlparse(access.url).hostname not in _LOOPBACK
    transport = ProvenTransport(access.embedded) if access.embedded else None
    return httpx.Client(
        base_url=access.url,
        headers=headers,
        timeout=TIMEOUT,
        trust_env=proxied,
        transport=transport,
        verify=checks_certificates(access.url),
    )


def checks_certificates(url: str) -> bool:
    """Whether any may be met: not on loopback without TLS, where reading the authorities would take a tenth of a second."""
    address = urlparse(url)
    return address.scheme != "http" or address.hostname not in _LOOPBACK


def raise_for_problem(answer: httpx.Response) -> None:
    """Nothing for a good answer, else the error that it tells.

    Raises
    ------
    ModelPlatformError
        Rebuilt from the problem's code.
    """
    if answer.status_code < 400:
        return
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        raise _foreign(answer) from None
    raise error_from_code(problem.code, problem.detail, hint=problem.hint, fields=problem.fields)


def _foreign(answer: httpx.Response) -> ModelPlatformError:
    where = str(answer.request.url.copy_with(query=None))
    if answer.status_code == 401:
        return UnauthenticatedError("The server asks who you are.", hint="set MP_TOKEN to a token of yours")
    return ServerUnavailableError(
        f"{where} answered {answer.status_code}, not as a platform server would.",
        hint="%mp_zone shows which server is used, and why",
    )


def _unreachable(url: str, error: httpx.TransportError) -> ServerUnavailableError:
    why = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
    return ServerUnavailableError(
        f"The platform server at {url} does not answer ({why}). Endpoints that are live go on answering.",
        hint="%mp_zone shows which server is used, and why; mp doctor looks further",
    )

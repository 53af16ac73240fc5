"""Runner logs as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from model_platform.client import Client
from model_platform_core.refs import EndpointRef
from model_platform_core.wire import LogLine


def line_text(line: LogLine) -> str:
    """One line with the deployment it is from."""
    return f"{line.deployment}  {line.text}"


class LogText(Sequence[LogLine]):
    """Lines of a log; shows itself as text."""

    def __init__(self, lines: Sequence[LogLine]) -> None:
        self._lines = list(lines)

    @classmethod
    def read(cls, client: Client, ref: EndpointRef, lines: int) -> LogText:
        """The end of an endpoint's logs."""
        return cls(list(client.logs(ref, lines)))

    def __getitem__(self, index: Any) -> Any:
        return self._lines[index]

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[LogLine]:
        return iter(self._lines)

    def __str__(self) -> str:
        return "\n".join(line_text(line) for line in self._lines) or "nothing was logged"

    __repr__ = __str__

"""A package index on loopback that has one package: reached or not, quick or hanging, as a test needs it."""

from __future__ import annotations

import io
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "helpers-of-mine"
MODULE = "helpers_of_mine"
LINE = f"{NAME}==1.2"
_WHEEL = f"{MODULE}-1.2-py3-none-any.whl"


class Index:
    """Answers nobody before `open`. `hang` lets whoever asks wait until the end."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._server: ThreadingHTTPServer | None = None
        self._ended = threading.Event()
        self.asked = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/simple"

    def open(self, *, hang: bool = False) -> None:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(with_body=True)

            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def _answer(self, *, with_body: bool) -> None:
                index.asked.set()
                if hang:
                    index._ended.wait()
                wheel = self.path.endswith(".whl")
                known = wheel or self.path.rstrip("/").endswith(NAME)
                body = wheel_bytes() if wheel else f'<a href="/{_WHEEL}">{_WHEEL}</a>'.encode()
                self.send_response(200 if known else 404)
                self.send_header("content-type", "application/zip" if wheel else "text/html")
                self.send_header("content-length", str(len(body) if known else 0))
                self.end_headers()
                if known and with_body:
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def metadata() -> dict[str, str]:
    """The files of the package, by path: as installed, less the record."""
    return {
        f"{MODULE}.py": "FACTOR = 10\n",
        f"{MODULE}-1.2.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.2\n",
        f"{MODULE}-1.2.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }


def wheel_bytes() -> bytes:
    """The package as a wheel."""
    files = metadata()
    record = f"{MODULE}-1.2.dist-info/RECORD"
    files[record] = "".join(f"{path},,\n" for path in [*files, record])
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as wheel:
            for path, text in files.items():
                wheel.writestr(path, text)
        return buffer.getvalue()

"""Many endpoints in one gateway, and that Envoy reads what we mean."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from model_platform_core.refs import EndpointRef
from model_platform_server.adapters.local import envoy_wire, files, processes, sockets
from model_platform_server.adapters.local.envoy_config import cluster, cluster_name, matches_of, route_configuration
from model_platform_server.adapters.local.gateway import Gateway
from model_platform_server.adapters.local.processes import ProcessIdentity
from model_platform_server.ports import RoutePlan

MANY = 300
SECONDS = 35.0


class _Answering(asyncio.Protocol):
    """A connection to something that answers with its name and the path that it was asked for."""

    def __init__(self, name: str, opened: set[asyncio.BaseTransport]) -> None:
        self._name = name
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._opened.add(transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        body = json.dumps([self._name, data.split(b" ")[1].decode()]).encode()
        assert isinstance(self._transport, asyncio.WriteTransport)
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


class Runners:
    """Stands for any number of runners."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._opened: set[asyncio.BaseTransport] = set()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def add(self, name: str) -> Path:
        """The socket of one more."""
        path = self._folder / f"{len(self._servers)}.calls"
        serving = self._loop.create_unix_server(lambda: _Answering(name, self._opened), path)
        self._servers.append(asyncio.run_coroutine_threadsafe(serving, self._loop).result())
        return path

    def close(self) -> None:
        """End all of them."""
        asyncio.run_coroutine_threadsafe(self._ended(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _ended(self) -> None:
        for server in self._servers:
            server.close()
        for transport in self._opened:
            transport.close()
        await asyncio.sleep(0)  # closing a transport is done in the next turn
        await asyncio.sleep(0)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for sockets."""
    made = sockets.socket_folder(tmp_path)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def runners(folder: Path) -> Iterator[Runners]:
    """Runners that are no processes."""
    made = Runners(folder)
    yield made
    made.close()


@pytest.fixture
def gateway(tmp_path: Path, folder: Path) -> Iterator[Gateway]:
    """A gateway of its own."""
    yield Gateway(tmp_path / "gateway", folder, port=0, seconds=SECONDS)
    process = _process(tmp_path)
    if process:
        processes.end([process], 1)


def _process(tmp_path: Path) -> ProcessIdentity | None:
    written = files.read(tmp_path / "gateway" / "envoy.json")
    return ProcessIdentity.model_validate_json(written) if written else None


def _asked(gateway: Gateway, path: str) -> list[str] | int:
    with closing(HTTPConnection(gateway.url.removeprefix("http://"), timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else answer.status


def test_each_of_many_endpoints_has_its_own_route_and_one_that_goes_takes_no_other_with_it(
    gateway: Gateway, runners: Runners
) -> None:
    refs = [EndpointRef(f"zone-{number % 7}", f"churn{number}") for number in range(MANY)]
    clusters = {cluster_name(ref, "v1"): (runners.add(str(ref)),) for ref in refs}
    gateway.set_clusters(clusters)
    for ref in refs:
        gateway.set_route(RoutePlan(ref, {"v1": 100}))
    assert [_asked(gateway, f"/{ref}") for ref in refs] == [[str(ref), "/"] for ref in refs]
    gone = set(refs[::3])
    for ref in gone:
        gateway.set_route(RoutePlan(ref, {}))
        del clusters[cluster_name(ref, "v1")]
    gateway.set_clusters(clusters)
    assert [_asked(gateway, f"/{ref}/metadata") for ref in refs] == [
        404 if ref in gone else [str(ref), "/metadata"] for ref in refs
    ]


def test_names_that_begin_alike_are_not_taken_for_one_another(gateway: Gateway, runners: Runners) -> None:
    names = ["zone/churn", "zone/churn2", "zone/churn-b", "zone2/churn", "zone/c"]
    refs = [EndpointRef.parse(name) for name in names]
    gateway.set_clusters({cluster_name(ref, "v1"): (runners.add(str(ref)),) for ref in refs})
    for ref in refs:
        gateway.set_route(RoutePlan(ref, {"v1": 100}))
    for name in names:
        for asked, got in (("", "/"), ("/", "/"), ("/v2/models/m", "/v2/models/m"), ("?a=/x/y", "/?a=/x/y")):
            assert _asked(gateway, f"/{name}{asked}") == [name, got]
    assert _asked(gateway, "/zone//churn2/a") == ["zone/churn2", "/a"]
    assert _asked(gateway, "/zone/churn/zone/churn2") == ["zone/churn", "/zone/churn2"]
    for path in ("/zone/chur", "/zone/churn22", "/zone/churn-", "/zone/churn.", "/zone", "/", "/churn", "/Zone/churn"):
        assert _asked(gateway, path) == 404
    gateway.set_route(RoutePlan(refs[0], {}))
    assert _asked(gateway, "/zone/churn/a") == 404
    assert _asked(gateway, "/zone/churn2/a") == ["zone/churn2", "/a"]


def test_a_private_path_leads_to_its_deployment_alone_beside_the_weights(gateway: Gateway, runners: Runners) -> None:
    ref, path = EndpointRef("zone", "churn"), "/.parity/Az-_09"
    gateway.set_clusters({cluster_name(ref, name): (runners.add(name),) for name in ("v1", "v2")})
    gateway.set_route(RoutePlan(ref, {"v1": 100}, private={"v2": path}))
    assert _asked(gateway, path) == ["v2", "/"]
    assert _asked(gateway, f"{path}/metadata") == ["v2", "/metadata"]
    assert _asked(gateway, f"{path}0") == 404
    assert {str(_asked(gateway, "/zone/churn")) for _ in range(20)} == {"['v1', '/']"}
    gateway.set_route(RoutePlan(ref, {"v2": 100}))
    assert _asked(gateway, path) == 404
    assert _asked(gateway, "/zone/churn") == ["v2", "/"]


def test_the_next_gateway_knows_every_route_and_changes_nothing(
    gateway: Gateway, runners: Runners, tmp_path: Path, folder: Path
) -> None:
    refs = [EndpointRef("zone", name) for name in ("b", "a", "c")]
    clusters = {cluster_name(ref, "v1"): (runners.add(str(ref)),) for ref in refs}
    gateway.set_clusters(clusters)
    for ref in refs:
        gateway.set_route(RoutePlan(ref, {"v1": 100}))
    there = _discovery(tmp_path)
    following = Gateway(tmp_path / "gateway", folder, port=0, seconds=SECONDS)
    following.set_clusters(clusters)
    following.refresh()
    following.set_route(RoutePlan(refs[1], {"v1": 100}))
    assert _discovery(tmp_path) == there
    following.set_route(RoutePlan(refs[1], {}))
    assert [_asked(following, f"/{ref}") for ref in refs] == [["zone/b", "/"], 404, ["zone/c", "/"]]


def test_an_envoy_that_watches_what_an_earlier_version_wrote_is_started_anew(
    gateway: Gateway, runners: Runners, tmp_path: Path, folder: Path
) -> None:
    ref = EndpointRef("zone", "churn")
    clusters = {cluster_name(ref, "v1"): (runners.add("v1"),)}
    gateway.set_clusters(clusters)
    gateway.set_route(RoutePlan(ref, {"v1": 100}))
    before, url = _process(tmp_path), gateway.url
    bootstrap = tmp_path / "gateway" / "bootstrap.json"
    bootstrap.write_text(bootstrap.read_text().replace("cds.pb", "cds.json"))
    following = Gateway(tmp_path / "gateway", folder, port=0, seconds=SECONDS)
    following.set_clusters(clusters)
    assert _process(tmp_path) != before
    assert following.url == url
    assert _asked(following, "/zone/churn") == ["v1", "/"]


def _discovery(tmp_path: Path) -> list[tuple[bytes, int]]:
    found = [tmp_path / "gateway" / name for name in ("cds.pb", "rds.pb", "routes.json")]
    return [(file.read_bytes(), file.stat().st_ino) for file in found]


def test_envoy_reads_what_the_documents_say(gateway: Gateway, runners: Runners, folder: Path) -> None:
    """The numbers of fields are ours; Envoy tells what it has read, in its own names."""
    ref = EndpointRef("zone", "churn")
    plan = RoutePlan(ref, {"v1": 90, "v2": 10}, private={"v2": "/.parity/a"})
    clusters = {cluster_name(ref, name): (runners.add(name), runners.add(name)) for name in ("v1", "v2")}
    gateway.set_clusters({**clusters, "zone_empty_v1": ()})
    gateway.set_route(plan)
    _, text = sockets.ask(folder / "gateway.admin", "/config_dump")
    dumped = {config["@type"].rpartition(".")[2]: config for config in json.loads(text)["configs"]}
    read = {one["cluster"]["name"]: one["cluster"] for one in dumped["ClustersConfigDump"]["dynamic_active_clusters"]}
    expected = {name: cluster(name, paths) for name, paths in {**clusters, "zone_empty_v1": ()}.items()}
    assert {name: _dumped(one) for name, one in expected.items()} == read
    routes = dumped["RoutesConfigDump"]["dynamic_route_configs"][0]["route_config"]
    assert routes == _dumped(route_configuration(matches_of(plan, SECONDS)))


def _dumped(value: object) -> object:
    """A document as Envoy shows it: what is the default is left out."""
    if isinstance(value, list):
        return [_dumped(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {
        name: one for name, one in value.items() if (name, one) not in (("type", "STATIC"), ("priority", "DEFAULT"))
    }
    return {name: _dumped(one) for name, one in kept.items() if one != []}


def test_a_discovery_file_is_whole_or_is_none() -> None:
    file = envoy_wire.sealed(b"content")
    assert re.fullmatch("[0-9a-f]{16}", envoy_wire.version(file) or "")
    assert envoy_wire.sealed(b"another") != file
    for damaged in (b"", b"{}", file[:-1], file + b"x", file[1:], file[:10]):
        assert envoy_wire.version(damaged) is None

"""The services that docs/deploy.md documents: its nginx blocks in front of the server, with clients that send proxy headers
themselves, and its systemd units."""

import re
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from backend import Backend
from listeners import Poller, Socket
from server import binaries

PAGE = (Path(__file__).parent.parent.parent / "docs" / "deploy.md").read_text()
WHOLE, BROWSERS, EVENTS, PREFIXED = [
    block for block in re.findall(r"^```nginx\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if "proxy_pass" in block
]
HOST = "push.example.org"
PREFIXES = ["X-Script-Name", "X-Forwarded-Prefix"]
SCHEMES = ["X-Scheme", "X-Url-Scheme", "X-Forwarded-Proto"]
ADDRESSES = ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP"]
START_LIMIT = 20


def nginx_binary():
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Client(requests.adapters.HTTPAdapter):
    """A client whose address is not the proxy's."""

    def init_poolmanager(self, *arguments, **options):
        super().init_poolmanager(*arguments, source_address=("127.0.0.2", 0), **options)


class Nginx:
    """nginx with a documented block, in front of one server."""

    def __init__(self, directory, block, server):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server, self.log = server, directory / "error.log"
        config = directory / "nginx.conf"
        config.write_text(self._config(directory, block, server.port))
        command = [nginx_binary(), "-p", directory, "-c", config, "-e", self.log]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()

    def _config(self, directory, block, port):
        if "server {" not in block:
            # A block with a location replaces the location of the whole block.
            block = re.sub(r"^    location .*?^    }$", lambda _: block, WHOLE, flags=re.MULTILINE | re.DOTALL)
        block = re.sub(r"^ *ssl_certificate.*$", "", block, flags=re.MULTILINE)
        block = block.replace("listen 443 ssl;", f"listen 127.0.0.1:{self.port};").replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        places = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in kinds)
        return (
            f"daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{places}{block}}}\n"
        )

    def _wait(self):
        until = time.monotonic() + START_LIMIT
        while time.monotonic() < until and self.process.poll() is None:
            try:
                return socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"nginx does not listen:\n{self.log.read_text()}")

    def ask(self, method, path, headers=None, **options):
        # The path is sent as it is written.
        request = requests.Request(method, self.url, headers={"Host": HOST, **(headers or {})}, **options).prepare()
        request.url = f"{self.url}{path}"
        with requests.Session() as session:
            session.mount("http://", Client())
            return session.send(request, timeout=5, allow_redirects=False)

    def stop(self):
        self.process.terminate()
        self.process.wait(START_LIMIT)


OWN = {"CHANNELSTREAM_SECRET": "own", "CHANNELSTREAM_ADMIN_SECRET": "own too", "CHANNELSTREAM_POLL_WAIT_MS": "50"}
INI = "[channelstream]\nhost = 127.0.0.1\nsecret = own\nadmin_secret = own too\npoll_wait_ms = 50\n"


@pytest.fixture(params=["trusted", "old ini"])
def server(request, start_server, tmp_path):
    """A server that trusts the proxy, and one that is started like 0.7.1."""
    if request.param == "trusted":
        return start_server("--set", "trusted_proxies=127.0.0.1", **OWN)
    ini = tmp_path / "old.ini"
    ini.write_text(INI)
    return start_server("-i", str(ini))


@pytest.fixture
def proxied(server, tmp_path):
    """Starts nginx with a block."""
    started = []

    def start(block):
        directory = tmp_path / f"nginx{len(started)}"
        directory.mkdir()
        started.append(Nginx(directory, block, server))
        return started[-1]

    yield start
    for nginx in started:
        nginx.stop()


def listens_through(nginx, root):
    """Connects a user directly and listens through the proxy."""
    backend = Backend(nginx.server.url, "own")
    conn_id = backend.connect("ann", "c")
    websocket = Socket(nginx.url, conn_id, f"{root}/ws")
    backend.publish_text("c", "by websocket")
    assert websocket.event()["message"]["text"] == "by websocket"
    websocket.close()
    backend.publish_text("c", "by poll")
    assert Poller(nginx.url, conn_id, f"{root}/listen").event()["message"]["text"] == "by poll"
    assert nginx.ask("GET", f"{root}/static/channelstream/index.js").status_code == 200
    assert nginx.ask("GET", f"{root}/disconnect?conn_id={conn_id}").json() is True


@pytest.mark.parametrize("block, root", [(WHOLE, ""), (BROWSERS, ""), (PREFIXED, "/push")], ids=["whole", "browsers", "prefixed"])
def test_browsers_listen_through_each_nginx_block(proxied, block, root):
    listens_through(proxied(block), root)


def test_event_stream_passes_nginx_and_returns_after_a_restart(proxied):
    nginx = proxied(EVENTS)
    backend = Backend(nginx.server.url, "own")
    conn_id = backend.connect("ann", "c")
    url = f"{nginx.url}/sse?conn_id={conn_id}"
    with requests.get(url, stream=True, timeout=5) as stream:
        lines = stream.iter_lines(decode_unicode=True)
        assert next(line for line in lines if line.startswith("event:")) == "event: attached"
        backend.publish_text("c", "through nginx")
        assert "through nginx" in next(line for line in lines if line.startswith("data: [{") and '"text"' in line)
    nginx.server.stop()
    gone = requests.get(url, timeout=5)
    assert (gone.status_code, gone.headers["content-type"], gone.text) == (200, "text/event-stream", "retry: 2000\n\n")


def test_nginx_passes_only_the_paths_of_browsers(proxied):
    nginx = proxied(BROWSERS)
    signed = Backend(nginx.server.url, "own").headers("/")
    inner = ["connect", "info", "message", "admin/sign_in", "admin/admin.json", "openapi.json"]
    ways = ["", "/ws", "/listen", "/disconnect", "/static", "/static/a", "/wsx", "/%77s", "/static/..", "/static/%2e%2e", "/static/..%2f"]
    for way in ways:
        for path in inner:
            for header in [None, *PREFIXES]:
                headers = signed | ({header: way} if header else {})
                for method in ["GET", "POST"]:
                    answer = nginx.ask(method, f"{way}/{path}", headers, data="{}" if method == "POST" else None)
                    assert answer.status_code == 404, (method, way, path, header, answer.text)
    for way in ["/./ws", "/a/../ws", "/a/../static", "/a%2F..%2Fstatic", "/static/../a/../ws"]:
        for header in PREFIXES:
            assert nginx.ask("GET", f"{way}/admin/sign_in", signed | {header: way}).status_code == 404, (way, header)
    for path in ["/admin/../ws/../admin", "/connect/../static/x", "/ws/../connect", "//connect", "/connect%3f/../static/x"]:
        assert nginx.ask("GET", path, signed).status_code == 404, path


@pytest.mark.parametrize("block, root", [(WHOLE, ""), (PREFIXED, "/push")], ids=["whole", "prefixed"])
def test_client_cannot_choose_prefix_or_scheme(proxied, block, root):
    nginx = proxied(block)
    plain = nginx.ask("GET", f"{root}/admin").headers["Location"]
    assert plain == f"http://{HOST}{root}/admin/sign_in"
    for headers in [{name: "/elsewhere"} for name in PREFIXES] + [{name: "https"} for name in SCHEMES]:
        answer = nginx.ask("GET", f"{root}/admin", headers)
        assert (answer.status_code, answer.headers["Location"]) == (302, plain), headers
    for way in [f"{root}/ws", f"{root}/static", "/elsewhere"]:
        for name in PREFIXES:
            answer = nginx.ask("GET", f"{way}/admin/sign_in", {name: way})
            assert answer.status_code == 404, (way, name)


@pytest.mark.parametrize("header", ADDRESSES)
def test_client_cannot_choose_its_address(proxied, header):
    nginx = proxied(WHOLE)

    def guess(number):
        headers = {header: f"198.51.100.{number}"}
        return nginx.ask("POST", "/admin/sign_in", headers, data={"username": "admin", "password": "wrong"}).status_code

    with ThreadPoolExecutor() as pool:
        # In parallel: the server answers each wrong password after half a second.
        assert 429 in pool.map(guess, range(8))


def test_systemd_units_are_valid(tmp_path):
    service, opened = re.findall(r"^```systemd\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    service = service.replace("/usr/local/bin/channelstream", str(binaries() / "channelstream"))
    for name, text in [("channelstream.service", service), ("channelstream.socket", opened)]:
        (tmp_path / name).write_text(text)
    for name in ["channelstream.service", "channelstream.socket"]:
        command = ["systemd-analyze", "verify", "--man=no", tmp_path / name]
        checked = subprocess.run(command, capture_output=True, text=True)
        complaints = [line for line in checked.stderr.splitlines() if "channelstream" in line]
        assert checked.returncode == 0 and not complaints, checked.stderr
    lines = service.splitlines()
    for line in ["StartLimitIntervalSec=0", "LimitCORE=0", "CapabilityBoundingSet=", "UMask=0077", "NoNewPrivileges=yes"]:
        assert line in lines, line

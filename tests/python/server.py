"""The real server, started from the binary in CHANNELSTREAM_BIN."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

START_LIMIT = 20
STOP_LIMIT = 10


def binaries():
    """The directory of `channelstream` and `channelstream_utils`."""
    path = os.environ.get("CHANNELSTREAM_BIN")
    if not path:
        raise RuntimeError("CHANNELSTREAM_BIN must name the server, for example target/release/channelstream")
    return Path(path).resolve().parent


def environment(**variables):
    """Returns this process's environment without settings, with both commands on the path, and with these variables."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CHANNELSTREAM_")}
    return {**own, "PATH": f"{binaries()}{os.pathsep}{own['PATH']}", **variables}


class Server:
    """A server in its own directory, so that it reads no settings file of the checkout."""

    def __init__(self, directory, *arguments, **variables):
        self.directory = directory
        self.log = directory / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["channelstream", *arguments, "--port", "0"],
                cwd=directory,
                env=environment(**variables),
                stdout=log,
                stderr=log,
            )
        self.port = self._wait_for_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def _wait_for_port(self):
        until = time.monotonic() + START_LIMIT
        while time.monotonic() < until:
            text = self.log.read_text()
            found = re.search(r"listening on http://\S+:(\d+)/", text)
            if found:
                return int(found[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"the server does not listen:\n{self.log.read_text()}")

    def stop(self):
        """Asks the server to stop and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_LIMIT)

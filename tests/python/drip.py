"""Sockets that send a request slowly, byte by byte, while another client measures the memory and descriptors of the server.

    python3 tests/python/drip.py target/release/channelstream --sockets 900

Standard library only. Prints a table, and fails if a slow socket outlives its time limit by more than two seconds or the
server holds more descriptors after an attack than before it.
"""

import argparse
import os
import re
import selectors
import socket
import subprocess
import sys
import time

HEAD_MS, BODY_MS = 5_000, 10_000
ATTACKS = {
    # The bytes sent immediately, the bytes sent repeatedly, and the time limit in seconds.
    "partial heads": (b"GET /nowhere HTTP/1.1\r\nHost: t\r\nx: ", b"x", HEAD_MS / 1000),
    # The server refuses a longer body without a signature immediately.
    "bodies with a length": (b"POST /demo/message HTTP/1.1\r\nHost: t\r\nContent-Length: 16000\r\n\r\n", b" ", BODY_MS / 1000),
    "bodies in chunks": (
        b"POST /demo/message HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\n \r\n",
        BODY_MS / 1000,
    ),
    "nothing at all": (b"", b"", HEAD_MS / 1000),
}


class Server:
    def __init__(self, program, *settings):
        settings = ["port=0", "workers=1", *settings]
        arguments = [program] + [part for setting in settings for part in ("--set", setting)]
        self.process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, cwd="/")
        while True:
            line = self.process.stderr.readline()
            found = re.search(r"listening on http://([0-9.]+):(\d+)/", line)
            if found:
                self.address = (found[1], int(found[2]))
                break
            if not line:
                raise SystemExit("the server did not start")
        # Descriptors that the first request opens stay open.
        self.ask_ms()
        time.sleep(1)

    def memory_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def ask_ms(self):
        """Returns how long a request of another client takes, which has another address."""
        begun = time.monotonic()
        with socket.create_connection(self.address, 10, ("127.0.0.2", 0)) as wire:
            wire.sendall(b"GET /nowhere HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            while wire.recv(4096):
                pass
        return (time.monotonic() - begun) * 1000


def attack(server, name, count):
    begins, drips, limit = ATTACKS[name]
    before = (server.memory_mib(), server.descriptors())
    selector = selectors.DefaultSelector()
    begun = time.monotonic()
    for _ in range(count):
        wire = socket.create_connection(server.address, timeout=10)
        wire.setblocking(False)
        if begins:
            wire.send(begins)
        selector.register(wire, selectors.EVENT_READ)
    peak, slowest, last, answered = list(before), 0.0, 0.0, 0
    while selector.get_map():
        if time.monotonic() - begun > limit + 30:
            raise SystemExit(f"{name}: {len(selector.get_map())} sockets are still open")
        slowest = max(slowest, server.ask_ms())
        peak = [max(peak[0], server.memory_mib()), max(peak[1], server.descriptors())]
        for key, _ in selector.select(timeout=0.2):
            try:
                answer = key.fileobj.recv(4096)
            except ConnectionError:
                answer = b""
            answered += answer.startswith(b"HTTP/1.1 408 ")
            if not answer:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                last = time.monotonic() - begun
        for key in list(selector.get_map().values()):
            try:
                key.fileobj.send(drips)
            except (ConnectionError, BlockingIOError):
                pass
    deadline = time.monotonic() + 10
    while server.descriptors() > before[1] and time.monotonic() < deadline:
        time.sleep(0.1)
    after = (server.memory_mib(), server.descriptors())
    row = [f"{count} sockets: {name}", f"{last:.1f} s", str(answered), f"{slowest:.0f} ms"]
    row += [" / ".join(f"{one:.1f}" for one in (before[0], peak[0], after[0]))]
    row += [" / ".join(str(one) for one in (before[1], peak[1], after[1]))]
    print("| " + " | ".join(row) + " |", flush=True)
    return answered == count and last <= limit + 2 and after[1] <= before[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--sockets", type=int, default=900)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    settings = (f"header_timeout_ms={HEAD_MS}", f"body_timeout_ms={BODY_MS}", "demo=on")
    server = Server(os.path.abspath(options.program), *settings)
    try:
        print("| attack | last socket closed after | answered 408 | slowest other request | memory in MiB | descriptors |")
        print("| --- | --- | --- | --- | --- | --- |")
        good = [attack(server, name, options.sockets) for _ in range(options.rounds) for name in ATTACKS]
    finally:
        server.process.terminate()
        server.process.wait()
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

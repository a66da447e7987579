"""Floods of sockets, bodies and messages, while another client measures the memory and descriptors of the server.

    python3 tests/python/floods.py target/release/channelstream

Standard library only. Prints a table, and fails if the server accepts something above a limit, or holds more descriptors
after a flood than before it.
"""

import argparse
import collections
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import threading
import time

from drip import Server

SECRET = "a text for this test alone"
MIB = 1 << 20


def shown(answers):
    return ", ".join(f"{count:,} × {answer}" for answer, count in sorted(answers.items()))


class Watch(threading.Thread):
    """Measures the server five times a second, as another client that requests a page."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.ended, self.slowest = server, threading.Event(), 0.0
        self.before = self.peak = self.look()
        self.start()

    def look(self):
        return (self.server.memory_mib(), self.server.descriptors())

    def run(self):
        while not self.ended.wait(0.2):
            self.slowest = max(self.slowest, self.server.ask_ms())
            self.peak = tuple(map(max, self.peak, self.look()))

    def end(self):
        self.ended.set()
        self.join()
        deadline = time.monotonic() + 10
        while self.server.descriptors() > self.before[1] and time.monotonic() < deadline:
            time.sleep(0.1)
        # The allocator returns free memory to the system after a second.
        time.sleep(3)
        return self.look()


def request(program, path, body):
    """Returns a signed request, valid for a minute and any number of times."""
    signed = subprocess.run([program, "sign", "--secret", SECRET], capture_output=True, text=True, check=True, cwd="/")
    header = signed.stdout.strip().splitlines()[-1]
    head = f"POST {path} HTTP/1.1\r\nHost: t\r\n{header}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body.encode()


def post(server, program, path, payload):
    with socket.create_connection(server.address, timeout=30) as wire:
        wire.sendall(request(program, path, json.dumps(payload)))
        answer = wire.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200"), answer


def websockets(server, program, count):
    """Opens `count` websockets in one channel, one for each user; none of them reads any more."""
    opened = []
    connect = request(program, "/connect", json.dumps({"username": "u", "conn_id": "%032d" % 0, "channels": ["c"]}))
    with socket.create_connection(server.address, timeout=30) as backend:
        for number in range(count):
            conn_id = "%032d" % number
            backend.sendall(connect.replace(b"%032d" % 0, conn_id.encode()))
            assert backend.recv(65536).startswith(b"HTTP/1.1 200")
            wire = socket.socket()
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.connect(server.address)
            wire.sendall(
                f"GET /ws?conn_id={conn_id} HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            wire.setblocking(False)
            opened.append(wire)
    return opened


def ends(wires, seconds):
    """Reads until all are closed or the time is over; returns how many were closed, and when the last one was."""
    selector, begun, last = selectors.DefaultSelector(), time.monotonic(), 0.0
    for wire in wires:
        selector.register(wire, selectors.EVENT_READ)
    while selector.get_map() and time.monotonic() - begun < seconds:
        for key, _ in selector.select(timeout=0.2):
            try:
                gone = not key.fileobj.recv(65536)
            except ConnectionError:
                gone = True
            if gone:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                last = time.monotonic() - begun
    left = [key.fileobj for key in selector.get_map().values()]
    for wire in left:
        wire.close()
    return len(wires) - len(left), last


def silent_websockets(server, program):
    """The clients answer no ping. The server pings every second and closes them after 4 s."""
    closed, last = ends(websockets(server, program, 900), 10)
    return closed == 900 and last < 8, f"{closed} of 900 were closed, the last one after {last:.1f} s"


def connection_flood(server, program):
    """One address opens ten times as many sockets as it may have."""
    wires, answers = [], collections.Counter()
    for _ in range(2_000):
        wire = socket.create_connection(server.address, timeout=30)
        try:
            wire.sendall(b"GET /nowhere HTTP/1.1\r\nHost: t\r\n\r\n")
            answers[wire.recv(65536)[9:12].decode() or "closed"] += 1
        except ConnectionError:
            # The server answered before the request arrived, and the request reached a closed socket.
            answers["reset"] += 1
        wires.append(wire)
    for wire in wires:
        wire.close()
    return answers["404"] <= 200 and set(answers) <= {"404", "429", "reset", "closed"}, f"{shown(answers)}"


def pour(server, head):
    """200 clients send as much as they can of a body with a length of 1 GiB, or of an endless chunked body."""
    lengths = [head + b"Content-Length: 1073741824\r\n\r\n", head + b"Transfer-Encoding: chunked\r\n\r\n"]
    pieces = [b" " * 65536, b"10000\r\n" + b" " * 65536 + b"\r\n"]
    answers, poured = collections.Counter(), 0
    wires = {socket.create_connection(server.address, timeout=30): number % 2 for number in range(200)}
    left = {wire: lengths[kind] for wire, kind in wires.items()}
    for wire in wires:
        wire.setblocking(False)
    deadline = time.monotonic() + 60
    while left and time.monotonic() < deadline:
        for wire in list(left):
            try:
                answer = wire.recv(65536)
                answers[answer[9:12].decode() or "closed"] += 1
                del left[wire]
                wire.close()
                continue
            except BlockingIOError:
                pass
            except ConnectionError:
                answers["reset"] += 1
                del left[wire]
                continue
            try:
                taken = wire.send(left[wire])
                left[wire], poured = left[wire][taken:] or pieces[wires[wire]], poured + taken
            except (BlockingIOError, ConnectionError):
                pass
    return answers, poured // MIB


def huge_bodies_without_a_signature(server, program):
    answers, poured = pour(server, b"POST /message HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n")
    return set(answers) <= {"403", "reset"}, f"{shown(answers)}, {poured} MiB sent"


def huge_signed_bodies(server, program):
    answers, poured = pour(server, request(program, "/message", "").split(b"Content-Length")[0])
    return set(answers) <= {"413", "reset"}, f"{shown(answers)}, {poured} MiB sent"


def publish_flood(server, program):
    """16 sockets send messages as fast as they can for 5 s; the server may accept 1,000 a second."""
    one = request(program, "/message", json.dumps([{"user": "u", "channel": "c", "message": {"text": "x" * 200}}]))
    answers, lock = collections.Counter(), threading.Lock()

    def flood():
        tail = b""
        with socket.create_connection(server.address, timeout=30) as wire:
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                wire.sendall(one * 20)
                seen = 0
                while seen < 20:
                    data = tail + wire.recv(65536)
                    found = re.findall(rb"HTTP/1\.1 (\d{3})", data)
                    tail = data[-11:] if not re.search(rb"HTTP/1\.1 \d{3}", data[-11:]) else b""
                    seen += len(found)
                    with lock:
                        answers.update(code.decode() for code in found)

    threads = [threading.Thread(target=flood) for _ in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    good = answers["200"] <= 7_000 and answers["429"] > 0 and set(answers) <= {"200", "429"}
    return good, f"{shown(answers)}"


def shedding(server, program):
    """300 websockets that never read, with 20 MiB of messages for each: 6 GiB, of which the server may queue 64 MiB."""
    wires = websockets(server, program, 300)
    for _ in range(320):
        post(server, program, "/message", [{"user": "u", "channel": "c", "message": {"text": "x" * 65536}}])
    closed, _ = ends(wires, 10)
    return 0 < closed < 300, f"{closed} of 300 were closed"


FLOODS = {
    silent_websockets: ["ping_interval_ms=1000", "pong_timeout=4000"],
    connection_flood: ["max_sockets_per_address=200"],
    huge_bodies_without_a_signature: [],
    huge_signed_bodies: [],
    publish_flood: ["publish_rate_per_secret=1000"],
    shedding: ["max_total_queued_bytes=67108864", "max_queued_bytes=1073741824"],
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    program, good = os.path.abspath(parser.parse_args().program), []
    print("| flood | result | slowest other request | memory in MiB | descriptors |")
    print("| --- | --- | --- | --- | --- |")
    for flood, settings in FLOODS.items():
        server = Server(program, f"secret={SECRET}", *settings)
        threading.Thread(target=lambda pipe: [None for _ in pipe], args=[server.process.stderr], daemon=True).start()
        try:
            watch = Watch(server)
            passed, result = flood(server, program)
            after = watch.end()
        finally:
            server.process.terminate()
            server.process.wait()
        good.append(passed and after[1] <= watch.before[1])
        states = (watch.before, watch.peak, after)
        memory, files = (" / ".join(form.format(state[at]) for state in states) for at, form in enumerate(["{:.1f}", "{}"]))
        print(f"| {flood.__name__.replace('_', ' ')} | {result} | {watch.slowest:.0f} ms | {memory} | {files} |", flush=True)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

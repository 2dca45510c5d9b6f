#!/usr/bin/env python3
"""Tunnels of the forward proxy (CONNECT), and TLS passthrough, beside HAProxy in TCP mode, in turns within one run; each has one worker and the same
backend behind it.

`bytes` relays answers of 8 MiB on a few connections: throughput, and CPU milliseconds of the proxy per GiB. `through` is the same for connections that
are routed by the name in their ClientHello; what follows it is no TLS, which neither proxy reads, so that the load and the backend spend no time on
ciphers. `first` opens a connection, asks, and closes
after the first octets of the answer: CPU microseconds of the proxy for each; Moongate's has a CONNECT before, and HAProxy's has not. `idle` opens tunnels
and leaves them: resident memory.

  bench/tunnels.py [--case bytes|through|first|idle] [--rounds 7] [--seconds 3] [--connections 8] [--tunnels 8000]
"""
import argparse
import contextlib
import os
import selectors
import shutil
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
import peers
import world
from peers import NAME, Proxies, cpu_seconds, in_turns, start
from world import resident_mb, stop

# Others than those of `peers.py`, which may run beside it.
BACKEND = peers.BACKEND = 18480
PORT = 18500
SIZE = 8 << 20
CONNECT = f"CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\n\r\n".encode()
GET = f"GET /page HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
ESTABLISHED = b"HTTP/1.1 200"


class Tunnels(Proxies):
    """The same proxies, where Moongate is a forward proxy."""

    def moongate(self, port):
        if self.case == "through":
            return super().moongate(port)
        self.write("moongate/in.yaml", f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: out, namespace: default}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: {port}, name: proxy, protocol: HTTP_PROXY}}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: dev, namespace: default}}
spec:
  hosts: [{NAME}]
  location: MESH_EXTERNAL
  ports: [{{number: 443, name: tcp, protocol: TCP, targetPort: {BACKEND}}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1}}]
""")
        return self.command(port)


def client_hello():
    """The first octets of a TLS client."""
    sent = ssl.MemoryBIO()
    try:
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname=peers.LOCAL).do_handshake()
    except ssl.SSLWantReadError:
        return sent.read()


def source(path):
    """A backend that answers the first octets of each connection with a file, again and again."""
    def serve(connection):
        with connection, open(path, "rb") as file, contextlib.suppress(OSError):
            if connection.recv(1 << 16).startswith(b"\x16"):
                while True:
                    connection.sendfile(file, 0)

    with socket.create_server(("127.0.0.1", BACKEND), backlog=64) as listener:
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def opened(name, port):
    """A connection to the backend through a proxy."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if name == "moongate":
        connection.sendall(CONNECT)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(4096)
        assert answer.startswith(ESTABLISHED), answer
    return connection


def relay(case, name, port, seconds, connections):
    """Octets that came through in a time."""
    selector, buffer, received = selectors.DefaultSelector(), bytearray(1 << 20), 0
    for _ in range(connections):
        if case == "through":
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(client_hello())
        else:
            connection = opened(name, port)
            # Requests ahead, so that the backend never waits.
            connection.sendall(GET * 400)
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for key, _ in selector.select(0.1):
            try:
                count = key.fileobj.recv_into(buffer)
            except BlockingIOError:
                continue
            assert count > 0
            received += count
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    return received


def first(name, port, seconds):
    """Connections whose first octets came in a time."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        connection = opened(name, port)
        connection.sendall(GET)
        assert connection.recv(16).startswith(ESTABLISHED)
        connection.close()
        count += 1
    return count


def idle(proxies, tunnels):
    world.allow_descriptors()
    listener = socket.create_server(("127.0.0.1", BACKEND), backlog=4096)
    port = PORT
    process = start(proxies.moongate(port), port)
    try:
        before, held = resident_mb(process.pid), []
        for _ in range(tunnels):
            connection = opened("moongate", port)
            held += [connection, listener.accept()[0]]
        time.sleep(2)
        after = resident_mb(process.pid)
        print(f"case idle, {tunnels} tunnels: resident {before:.1f} MB before, {after:.1f} MB with them, {(after - before) * 1024 / tunnels:.2f} KB each")
    finally:
        stop(process)
        listener.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=("bytes", "through", "first", "idle"), default="bytes")
    parser.add_argument("--source", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--tunnels", type=int, default=8000)
    args = parser.parse_args()
    if args.source:
        return source(args.source)
    for tool in ("nginx", "haproxy"):
        if args.case != "idle" and not shutil.which(tool):
            raise SystemExit(f"{tool} is needed and not installed")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        proxies = Tunnels(folder, 1, "through" if args.case == "through" else "bytes")
        if args.case == "idle":
            return idle(proxies, args.tunnels)
        if args.case == "through":
            backend = [sys.executable, __file__, "--source", proxies.write("page", "m" * SIZE)]
        else:
            backend = proxies.backend(SIZE if args.case == "bytes" else 512)
        backend = start(backend, BACKEND)
        try:
            figures = in_turns(proxies, ["haproxy", "moongate"], args.rounds, PORT, lambda *of: measure(args, *of))
        finally:
            stop(backend)
    report(args, figures)


def measure(args, name, port, pid):
    """CPU time of a proxy, and the rate."""
    load = (lambda seconds: first(name, port, seconds)) if args.case == "first" else (lambda seconds: relay(args.case, name, port, seconds, args.connections))
    load(0.5)
    before = sum(cpu_seconds(pid))
    done = load(args.seconds)
    used = sum(cpu_seconds(pid)) - before
    return used / (done / (1 << 30)) * 1e3 if args.case != "first" else used / done * 1e6, done / args.seconds


def report(args, figures):
    unit, rate = ("us", "per s") if args.case == "first" else ("ms/GiB", "MiB/s")
    print(f"case {args.case}, {args.rounds} rounds of {args.seconds} s, medians; cpu in {unit}")
    print(f"{'proxy':10} {'cpu':>8} {'lowest':>8} {'highest':>8} {rate:>10}")
    for name, rows in figures.items():
        cost = [row[0] for row in rows]
        done = statistics.median(row[1] for row in rows) / (1 if args.case == "first" else 1 << 20)
        print(f"{name:10} {statistics.median(cost):8.2f} {min(cost):8.2f} {max(cost):8.2f} {done:10.0f}")
    for at, what in ((0, "cpu"), (1, "rate" if args.case == "first" else "throughput")):
        ratios = [ours[at] / theirs[at] for ours, theirs in zip(figures["moongate"], figures["haproxy"])]
        print(f"moongate / haproxy, {what}: {statistics.median(ratios):.3f} (round by round {min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Backends that send interim responses (103) without end, to clients that read nothing: memory of the gateway during and after each attack,
whether it ends the attack, and whether it is alive. The process has 1.5 GB of address space, and its route a timeout of 3 s.

  bench/attacks/interim.py

Exits with 1 when the memory grew by more than 64 MB, or the process ended. Bounded: at most 32 MB from each connection of a backend, 8 s for each
attack, loopback only.
"""
import os
import resource
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import world  # noqa: E402

ONE, TWO = 18290, 18291
MOST, LONGEST, GROWTH_MB = 32 << 20, 8, 64
ADDRESS_SPACE = 1500 << 20
HOST = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %(name)s, namespace: default}
spec:
  hosts: [%(name)s.example.com]
  gateways: [edge]
  http:
  - timeout: 3s
    route:
    - destination: {host: %(name)s.test}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %(name)s, namespace: default}
spec:
  hosts: [%(name)s.test]
  ports: [{number: 80, name: %(protocol)s, protocol: %(protocol)s}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {%(protocol)s: %(port)d}}]
"""


def frame(kind, flags, stream, content=b""):
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


def interim(kind, stream):
    """What is sent first, and again and again."""
    status = b"\x08\x03103"
    if kind == "small":
        return b"", frame(1, 4, stream, status) * 1000
    if kind == "large":
        return b"", frame(1, 4, stream, status + b"\0\x01x\x7f\xbd\x1d" + b"a" * 3900) * 16
    # 3.9 KB in the table of HPACK, and fourteen octets that each mean it again.
    return frame(1, 4, stream, status + b"\x40\x01x\x7f\xbd\x1d" + b"a" * 3900), frame(1, 4, stream, status + b"\xbe" * 14) * 1000


def flood(connection, first, again, sent):
    """Sends until it is stopped; a thread reads what the gateway says."""
    def swallow():
        try:
            while connection.recv(65536):
                pass
        except OSError:
            pass
    threading.Thread(target=swallow, daemon=True).start()
    begun, count = time.monotonic(), len(first)
    connection.settimeout(1)
    try:
        connection.sendall(first)
        while count < MOST and time.monotonic() < begun + LONGEST:
            connection.sendall(again)
            count += len(again)
        sent["unstopped"] += 1
    except OSError:
        pass
    sent["octets"] += count
    connection.close()


def serve_one(connection, kind, sent):
    while b"\r\n\r\n" not in connection.recv(65536):
        pass
    large = "a" * (3900 if kind != "small" else 1)
    flood(connection, b"", f"HTTP/1.1 103 Early Hints\r\nx: {large}\r\n\r\n".encode() * 16, sent)


def serve_two(connection, kind, sent):
    connection.sendall(frame(4, 0, 0))
    data = b""
    while True:
        data += connection.recv(65536)
        rest, stream = data[24:], 0
        while len(rest) >= 9:
            length = int.from_bytes(rest[:3], "big")
            if rest[3] == 1:
                stream = int.from_bytes(rest[5:9], "big")
            rest = rest[9 + length:]
        if stream:
            connection.sendall(frame(4, 1, 0))
            return flood(connection, *interim(kind, stream), sent)


def backend(port, serve, state):
    listener = socket.create_server(("127.0.0.1", port))

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, state["kind"], state), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


def client(host, streams):
    """A connection in HTTP/2 that asks on so many streams, and reads nothing."""
    authority = f"{host}.example.com".encode()
    head = b"\x82\x86\x84\x41" + bytes([len(authority)]) + authority
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", world.PORT))
    asked = b"".join(frame(1, 5, 2 * n + 1, head) for n in range(streams))
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + asked)
    return connection


def resident_mb(pid):
    """0 for a process that has just ended."""
    try:
        return world.resident_mb(pid)
    except (StopIteration, FileNotFoundError):
        return 0


def main():
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        gateway = world.GATEWAY % world.PORT
        hosts = HOST % {"name": "one", "protocol": "http", "port": ONE} + HOST % {"name": "two", "protocol": "http2", "port": TWO}
        world.write(os.path.join(folder, "world.yaml"), gateway + hosts)
        state = {"kind": "small", "octets": 0, "unstopped": 0}
        backend(ONE, serve_one, state)
        backend(TWO, serve_two, state)
        process, _ = world.start(folder)
        resource.prlimit(process.pid, resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        try:
            for host, kind, clients, streams in [("two", "small", 1, 1), ("two", "large", 1, 1), ("two", "indexed", 1, 1), ("one", "small", 1, 1),
                                                 ("one", "large", 1, 1), ("two", "indexed", 4, 1), ("two", "indexed", 4, 32), ("one", "large", 4, 32)]:
                state.update(kind=kind, octets=0, unstopped=0)
                before = most = world.resident_mb(process.pid)
                connections = [client(host, streams) for _ in range(clients)]
                end = time.monotonic() + LONGEST
                while time.monotonic() < end and process.poll() is None:
                    most = max(most, resident_mb(process.pid))
                    time.sleep(0.02)
                for connection in connections:
                    connection.close()
                time.sleep(0.5)
                alive = process.poll() is None
                after = world.resident_mb(process.pid) if alive else 0
                failed |= not alive or most - before > GROWTH_MB
                world.show(f"{clients} clients of {streams} streams, HTTP/{'2' if host == 'two' else '1.1'}, {kind}", {
                    "memory_mb": f"{before:.0f} -> {most:.0f} -> {after:.0f}", "sent_mb": round(state["octets"] / 2**20, 1),
                    "not_stopped": state["unstopped"], "alive": alive})
                if not alive:
                    break
        finally:
            world.stop(process)
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()

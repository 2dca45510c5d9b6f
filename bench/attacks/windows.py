#!/usr/bin/env python3
"""Clients of HTTP/2 that ask for much and take nothing: their windows are 0, or they are wide open and nothing is read from the socket.
Shows the memory of the gateway and whether another client is answered.

  bench/attacks/windows.py [CONNECTIONS]
"""
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import frames
import world

STREAMS, BODY = 128, 10 << 20


def attack(port, window):
    """One connection with as many streams as it may have."""
    connection = socket.create_connection(("127.0.0.1", port))
    if window:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    settings = b"\x00\x04" + window.to_bytes(4, "big")
    wide = frames.frame(frames.WINDOW_UPDATE, 0, 0, (2**31 - 1 - 65535).to_bytes(4, "big")) if window else b""
    sent = frames.PREFACE[:24] + frames.frame(frames.SETTINGS, 0, 0, settings) + wide
    head = frames.request(b"host-0.example.com")
    for number in range(STREAMS):
        sent += frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 2 * number + 1, head)
    connection.sendall(sent)
    return connection


def run(name, connections, window, http2):
    with frames.Gateway(BODY, http2) as gateway:
        before = gateway.memory_mb()
        attackers = [attack(world.PORT, window) for _ in range(connections)]
        frames.settle(gateway)
        answered = frames.asks(world.PORT, 5)
        memory = gateway.memory_mb()
        world.show(name, {"connections": connections, "streams": connections * STREAMS, "memory_mb": f"{before:.1f} -> {memory:.1f}",
                          "kb_per_stream": round((memory - before) * 1024 / connections / STREAMS, 1), "peak_mb": round(gateway.peak_mb(), 1),
                          "others_answered": answered, "others_failed": 5 - answered})
        for connection in attackers:
            connection.close()
        time.sleep(1)
        world.show(f"{name}, when all have gone", {"memory_mb": round(gateway.memory_mb(), 1)})


def main():
    connections = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    for backend, http2 in (("HTTP/1.1", False), ("HTTP/2", True)):
        run(f"windows of 0, backend in {backend}", connections, 0, http2)
        run(f"windows open and nothing read, backend in {backend}", connections, 2**31 - 1, http2)


if __name__ == "__main__":
    main()

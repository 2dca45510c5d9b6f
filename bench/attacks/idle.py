#!/usr/bin/env python3
"""Silent connections, half heads and half ClientHellos against a gateway with few descriptors: what a new client, a probe and an edit of the
configuration see meanwhile.

  bench/attacks/idle.py [--connections 5000] [--descriptors 4096] [--seconds 30]

For each kind it holds as many connections as asked for, opens them again as they are closed, and counts what fails among one request, one probe
and, at the end, one edit.
"""
import argparse
import http.client
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import world  # noqa: E402

TLS_PORT = 18283
CONFIG = """apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: %d, name: http, protocol: HTTP}
    hosts: [a.test]
  - port: {number: %d, name: https, protocol: HTTPS}
    tls: {mode: SIMPLE, serverCertificate: cert.pem, privateKey: key.pem}
    hosts: [a.test]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.test]
  gateways: [edge]
  http:
  - directResponse: {status: %d}
"""
KINDS = (
    ("silent", world.PORT, b""),
    ("half a head", world.PORT, b"GET / HTTP/1.1\r\nHost: a.t"),
    ("silent, TLS", TLS_PORT, b""),
    ("half a ClientHello", TLS_PORT, bytes([22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3])),
    ("silent, readiness", world.READY, b""),
)


def begin(port, content, selector):
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(content)
    connection.setblocking(False)
    selector.register(connection, selectors.EVENT_READ)


def again(port, content, selector):
    """Opens those again that were closed; how many."""
    closed = selector.select(0)
    for key, _ in closed:
        selector.unregister(key.fileobj)
        key.fileobj.close()
        begin(port, content, selector)
    return len(closed)


def status(port, path, tls=False):
    try:
        if tls:
            done = subprocess.run(["curl", "-sk", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "--resolve",
                                   f"a.test:{port}:127.0.0.1", f"https://a.test:{port}{path}"], capture_output=True, text=True)
            return int(done.stdout or 0)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path, headers={"Host": "a.test"})
        return connection.getresponse().status
    except OSError:
        return 0


def attack(args, port, content, expected):
    selector = selectors.DefaultSelector()
    counts = {"held": 0, "closed": 0, "requests": 0, "failed": 0, "probes_failed": 0}
    until = time.monotonic() + args.seconds
    while time.monotonic() < until:
        for _ in range(min(500, args.connections - counts["held"])):
            begin(port, content, selector)
            counts["held"] += 1
        counts["closed"] += again(port, content, selector)
        counts["requests"] += 1
        counts["failed"] += (status(TLS_PORT, "/", True) if port == TLS_PORT else status(world.PORT, "/")) != expected
        counts["probes_failed"] += status(world.READY, "/healthz/ready") != 200
    return counts, selector


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--descriptors", type=int, default=4096)
    parser.add_argument("--seconds", type=int, default=30)
    args = parser.parse_args()
    world.allow_descriptors()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        world.certify("a.test", f"{folder}/cert.pem", f"{folder}/key.pem")
        config = os.path.join(folder, "c.yaml")
        text = CONFIG.replace("cert.pem", f"{folder}/cert.pem").replace("key.pem", f"{folder}/key.pem")
        for name, port, content in KINDS:
            world.write(config, text % (world.PORT, TLS_PORT, 201))
            binary, limited = world.MOONGATE, os.path.join(folder, "moongate")
            world.write(limited, f"#!/bin/sh\nulimit -n {args.descriptors}\nexec {binary} \"$@\"\n")
            os.chmod(limited, 0o755)
            world.MOONGATE = limited
            process, _ = world.start(config, 2)
            world.MOONGATE = binary
            try:
                counts, selector = attack(args, port, content, 201)
                world.write(config, text % (world.PORT, TLS_PORT, 202))
                limit = time.monotonic() + 10
                edited = False
                while not edited and time.monotonic() < limit:
                    again(port, content, selector)
                    edited = status(world.PORT, "/") == 202
                counts["descriptors"] = len(os.listdir(f"/proc/{process.pid}/fd"))
                world.show(name, {**counts, "edit_shows": edited})
                for key in list(selector.get_map().values()):
                    key.fileobj.close()
                selector.close()
            finally:
                world.stop(process)


if __name__ == "__main__":
    main()

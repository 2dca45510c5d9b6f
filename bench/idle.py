#!/usr/bin/env python3
"""Memory of idle connections: resident memory of the gateway before and after clients connect, ask once and stay.

  bench/idle.py [--connections 9000]

One line for HTTP/1.1 in clear text, HTTP/1.1 over TLS and HTTP/2 over TLS. Each client is a connection of its own; a thousand that have come and
gone before warm the process up.
"""
import argparse
import os
import socket
import ssl
import tempfile
import time
import world

TLS_PORT, BACKEND = 18283, 18290
CONFIG = """apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: %d, name: http, protocol: HTTP}
    hosts: [dev.example.com]
  - port: {number: %d, name: https, protocol: HTTPS}
    tls: {mode: SIMPLE, serverCertificate: cert.pem, privateKey: key.pem}
    hosts: [dev.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: dev, namespace: default}
spec:
  hosts: [dev.example.com]
  gateways: [edge]
  http:
  - route:
    - destination: {host: echo.test}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: echo, namespace: default}
spec:
  hosts: [echo.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %d}}]
""" % (world.PORT, TLS_PORT, BACKEND)
REQUEST = b"GET / HTTP/1.1\r\nHost: dev.example.com\r\n\r\n"
# The preface, empty SETTINGS, and one head: GET, https, /, and the authority.
HEAD = bytes([0x82, 0x87, 0x84, 0x01, 15]) + b"dev.example.com"
STREAM = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, len(HEAD), 1, 5, 0, 0, 0, 1]) + HEAD
ACKNOWLEDGEMENT = bytes([0, 0, 0, 4, 1, 0, 0, 0, 0])


def plain():
    connection = socket.create_connection(("127.0.0.1", world.PORT))
    connection.sendall(REQUEST)
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    return connection


def secured(protocol):
    context = ssl._create_unverified_context()
    context.set_alpn_protocols([protocol])

    def connect():
        connection = context.wrap_socket(socket.create_connection(("127.0.0.1", TLS_PORT)), server_hostname="dev.example.com")
        assert connection.selected_alpn_protocol() == protocol
        if protocol == "h2":
            connection.sendall(STREAM)
            answer = b""
            # The end of the body, which is "ok".
            while not answer.endswith(b"ok"):
                answer += connection.recv(4096)
            connection.sendall(ACKNOWLEDGEMENT)
        else:
            connection.sendall(REQUEST)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        return connection

    return connect


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=9000)
    args = parser.parse_args()
    world.allow_descriptors()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        config = os.path.join(folder, "config")
        os.mkdir(config)
        world.certify("dev.example.com", f"{config}/cert.pem", f"{config}/key.pem")
        world.write(os.path.join(config, "all.yaml"), CONFIG)
        backend = world.backend(BACKEND, folder)
        try:
            for name, connect in (("HTTP/1.1", plain), ("HTTP/1.1 over TLS", secured("http/1.1")), ("HTTP/2 over TLS", secured("h2"))):
                process, _ = world.start(config, 1, "--limit", f"connections={args.connections + 1000}")
                try:
                    for connection in [connect() for _ in range(1000)]:
                        connection.close()
                    time.sleep(1)
                    before = world.resident_mb(process.pid)
                    held = [connect() for _ in range(args.connections)]
                    time.sleep(2)
                    after = world.resident_mb(process.pid)
                    world.show(name, {"connections": len(held), "before_mb": round(before, 1), "after_mb": round(after, 1),
                                      "kb_each": round((after - before) * 1024 / len(held), 2)})
                    for connection in held:
                        connection.close()
                finally:
                    world.stop(process)
        finally:
            world.stop(backend)


if __name__ == "__main__":
    main()

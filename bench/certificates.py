#!/usr/bin/env python3
"""5,000 certificates: how long they take to load, and whether clients wait while they change.

Each server of one Gateway has a certificate of its own, in a Secret of its own. After the start, one certificate changes at a time, then all of them
at once. Meanwhile one connection asks again and again, and so do new connections with a handshake each; the longest waits are compared with those of
as much time without changes. Needs the Python module `cryptography`.

  bench/certificates.py [--certificates 5000] [--changes 20] [--workers 1]
"""
import argparse
import base64
import datetime
import math
import os
import re
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
import world

PORT = 18443
FILES = 50
SERVER = """  - port: {number: %(port)d, name: https-%(n)d, protocol: HTTPS}
    hosts: [host-%(n)d.example.com]
    tls: {mode: SIMPLE, credentialName: certificate-%(n)d}
"""
ROUTES = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all, namespace: default}
spec:
  hosts: ["*.example.com"]
  gateways: [edge]
  http: [{directResponse: {status: 200, body: {string: ok}}}]
"""


def secret(number):
    """A new certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    host = f"host-{number}.example.com"
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(datetime.datetime(2026, 1, 1))
                   .not_valid_after(datetime.datetime(2046, 1, 1))
                   .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False).sign(key, hashes.SHA256()))
    text = lambda pem: base64.b64encode(pem).decode()
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (f"apiVersion: v1\nkind: Secret\nmetadata: {{name: certificate-{number}, namespace: istio-system}}\n"
            f"data: {{tls.crt: {text(public)}, tls.key: {text(private)}}}\n---\n")


class Configuration:
    def __init__(self, folder, count):
        self.folder = folder
        self.parts = [{number: secret(number) for number in range(part, count, FILES)} for part in range(FILES)]
        for part in range(FILES):
            self.write(part)
        servers = "".join(SERVER % {"n": number, "port": PORT} for number in range(count))
        world.write(os.path.join(folder, "gateway.yaml"), world.GATEWAY.split("  - port")[0] + servers + ROUTES)

    def write(self, part):
        world.write(os.path.join(self.folder, f"secrets-{part}.yaml"), "".join(self.parts[part].values()))

    def change(self, number):
        self.parts[number % FILES][number] = secret(number)
        self.write(number % FILES)


class Client(threading.Thread):
    """Asks all the time, and keeps how long each took: over one connection, or with a handshake each."""

    def __init__(self, keep):
        super().__init__()
        self.keep, self.over, self.waits = keep, False, []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", PORT))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(plain, server_hostname="host-1.example.com")

    def run(self):
        stream = self.connect()
        while not self.over:
            begun = time.monotonic()
            if not self.keep:
                stream = self.connect()
            stream.sendall(b"GET / HTTP/1.1\r\nHost: host-1.example.com\r\n\r\n")
            answer = stream.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200"), answer
            if not self.keep:
                stream.close()
            self.waits.append((time.monotonic() - begun) * 1e3)
            time.sleep(0.0005)


def taken_over(log):
    """The lines about configurations, each with the milliseconds of its steps."""
    unit = {"s": 1e3, "ms": 1, "µs": 1e-3, "ns": 1e-6}
    found = []
    for line in open(log):
        if "configuration applied" in line:
            steps = re.findall(r'(parse|compile|apply)="?([\d.]+)(ns|µs|ms|s)', re.sub(r"\x1b\[[0-9;]*m", "", line))
            found.append({name: float(value) * unit[scale] for name, value, scale in steps})
    return found


def waits(seconds, action=lambda: None):
    """The waits of both clients while something is done, in milliseconds."""
    clients = [Client(True), Client(False)]
    for client in clients:
        client.start()
    time.sleep(0.2)
    action()
    time.sleep(seconds)
    for client in clients:
        client.over = True
        client.join()
    middle = lambda all: f"{statistics.median(all):.2f} / {sorted(all)[max(math.ceil(len(all) * 0.999), 1) - 1]:.2f} / {max(all):.2f}"
    return [middle(client.waits) for client in clients]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--certificates", type=int, default=5000)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "config")
        os.mkdir(config)
        configuration = Configuration(config, args.certificates)
        log = os.path.join(folder, "log")
        with open(log, "w") as file:
            process = subprocess.Popen(world.command(config, args.workers), stdout=file, stderr=file, start_new_session=True)
        try:
            wait_for(log, 1)
            first = taken_over(log)[0]
            world.show("load", {"certificates": args.certificates, "ms": round(sum(first.values())), **first,
                                "cpu_s": world.precise_cpu_seconds(process.pid), "resident_mb": round(world.resident_mb(process.pid))})

            def one_by_one():
                for number in range(args.changes):
                    configuration.change(number)
                    wait_for(log, 2 + number)

            # Made before: this process is the clients', too.
            new = [{number: secret(number) for number in part} for part in configuration.parts]

            def all_at_once():
                configuration.parts = new
                for part in range(FILES):
                    configuration.write(part)
                wait_for(log, 2 + args.changes)

            names = ["kept connection", "a handshake each"]
            shown = lambda found: {name: f"{wait} ms (median / 99.9 % / longest)" for name, wait in zip(names, found)}
            world.show("at rest", shown(waits(4)))
            world.show("one by one", shown(waits(0.5, one_by_one)))
            changes = taken_over(log)[1:]
            world.show("a change", {step: f"{statistics.median(one[step] for one in changes):.1f} ms" for step in ("parse", "compile", "apply")})
            world.show("all at once", shown(waits(0.5, all_at_once)))
        finally:
            world.stop(process)


def wait_for(log, count):
    until = time.monotonic() + 60
    while len(taken_over(log)) < count:
        if time.monotonic() > until:
            raise SystemExit(f"configuration {count} was not taken over: {open(log).read()}")
        time.sleep(0.01)


if __name__ == "__main__":
    main()

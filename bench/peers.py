#!/usr/bin/env python3
"""CPU time of HTTP proxies per request: Moongate beside HAProxy, nginx and Envoy, in turns within one run.

Each proxy has one worker, the same nginx behind it and the same wrk in front. CPU time is that of the proxy's own process,
so that a busy machine disturbs little. Every round measures every proxy once; ratios are taken round by round.

`tls` is HTTPS with keep-alive, `tlsconn` a TLS connection for each request, `handshake` a full handshake of TLS 1.3 without any request, `resumed`
one with a session ticket, both one after the other; `h2` and `h2big` five connections with ten streams each; `bytes` and
`through` relay TCP, the latter chosen by the name that a TLS client asks for, and tell the cost of a GiB.

With BEFORE=PATH, another binary of Moongate is measured beside the peers, under the name `before`; it has the same configuration and arguments.

  bench/peers.py [--case keepalive|close|big|tls|tlsconn|handshake|resumed|h2|h2big|bytes|through] [--rounds 7] [--seconds 4] [--workers 1] [NAME...]
"""
import argparse
import os
import re
import select
import shutil
import socket
import ssl
import statistics
import subprocess
import tempfile
import time
import world
from world import stop

BEFORE = os.environ.get("BEFORE")
BACKEND = 18080
BODIES = {"keepalive": 512, "close": 512, "big": 1 << 20, "tls": 512, "tlsconn": 512, "handshake": 512, "resumed": 512, "h2": 512, "h2big": 1 << 20, "bytes": 8 << 20, "through": 8 << 20}
HANDSHAKES = ("handshake", "resumed")
SECURED = ("tls", "tlsconn", "h2", "h2big") + HANDSHAKES
RELAYED = ("bytes", "through")
NAME = "dev.example.com"
LOCAL = "localhost"
ROUTE = "route: [{destination: {host: echo.test}}]"


class Proxies:
    """Configurations, by name; each call writes one and gives the command that runs it."""

    def __init__(self, folder, workers, case):
        self.folder = folder
        self.workers = workers
        self.case = case
        self.secured = case in SECURED
        if self.secured or case == "through":
            self.certify()

    def certify(self):
        """A certificate, its key, and both in one file."""
        self.key, self.certificate = os.path.join(self.folder, "key.pem"), os.path.join(self.folder, "cert.pem")
        world.certify(NAME, self.certificate, self.key)
        self.write("both.pem", open(self.certificate).read() + open(self.key).read())

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def backend(self, size):
        with open(os.path.join(self.folder, "page"), "w") as file:
            file.write("m" * size)
        answer = f'return 200 "{"m" * size}";' if size < 4096 else f"root {self.folder}; try_files /page =404;"
        return ["nginx", "-c", self.write("backend.conf", world.nginx_text(
            self.folder, "backend", f"server {{ listen 127.0.0.1:{BACKEND} backlog=4096{self.nginx_tls('through')} location / {{ {answer} }} }}"))]

    def nginx_tls(self, *cases):
        """What a server of nginx has in some cases."""
        if self.case not in cases:
            return ";"
        version = " http2" if self.case in SECURED else ""
        return f" ssl{version}; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {self.certificate}; ssl_certificate_key {self.key};"

    def nginx(self, port):
        return ["nginx", "-c", self.write("nginx.conf", world.nginx_text(self.folder, "nginx", f"""
  upstream echo {{ server 127.0.0.1:{BACKEND}; keepalive 256; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096{self.nginx_tls(*SECURED)} server_name dev.example.com;
    location / {{ proxy_pass http://echo; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Request-Id $request_id; }} }}""", self.workers))]

    def haproxy_relay(self, port):
        """Bytes, moved within the system."""
        by_name = """  tcp-request inspect-delay 5s
  tcp-request content accept if { req_ssl_hello_type 1 }
  use_backend echo if { req_ssl_sni -i localhost }""" if self.case == "through" else "  default_backend echo"
        return ["haproxy", "-f", self.write("haproxy.cfg", f"""
global
  nbthread {self.workers}
  maxconn 2000
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend edge
  bind 127.0.0.1:{port}
{by_name}
backend echo
  server one 127.0.0.1:{BACKEND}
""")]

    def haproxy(self, port):
        if self.case in RELAYED:
            return self.haproxy_relay(port)
        tls = f"ssl crt {self.folder}/both.pem alpn h2,http/1.1" if self.secured else ""
        return ["haproxy", "-f", self.write("haproxy.cfg", f"""
global
  nbthread {self.workers}
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend edge
  bind 127.0.0.1:{port} {tls}
  option forwardfor
  acl dev hdr(host) -i dev.example.com
  use_backend echo if dev
  default_backend echo
backend echo
  server one 127.0.0.1:{BACKEND}
""")]

    def envoy(self, port):
        tls = f"""
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates: [{{certificate_chain: {{filename: {self.certificate}}}, private_key: {{filename: {self.key}}}}}]""" if self.secured else ""
        return ["envoy", "--concurrency", str(self.workers), "-l", "off", "-c", self.write("envoy.yaml", f"""
static_resources:
  listeners:
  - name: edge
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: edge
          use_remote_address: true
          route_config:
            virtual_hosts:
            - name: dev
              domains: [dev.example.com]
              routes: [{{match: {{prefix: /}}, route: {{cluster: echo, timeout: 0s}}}}]
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}{tls}
  clusters:
  - name: echo
    type: STATIC
    circuit_breakers: {{thresholds: [{{max_connections: 60000, max_pending_requests: 60000, max_requests: 60000}}]}}
    load_assignment: {{cluster_name: echo, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {BACKEND}}}}}}}}}]}}]}}
""")]

    def before(self, port):
        return [BEFORE] + self.moongate(port)[1:]

    def moongate(self, port):
        server, rule = {
            "bytes": (f"port: {{number: {port}, name: tcp, protocol: TCP}}", "tcp: [{%s}]"),
            "through": (f"port: {{number: {port}, name: tls, protocol: TLS}}\n    tls: {{mode: PASSTHROUGH}}",
                        "tls: [{match: [{sniHosts: ['*']}], %s}]"),
        }.get(self.case, (f"port: {{number: {port}, name: http, protocol: HTTP}}", "http: [{%s}]"))
        if self.secured:
            server = f"port: {{number: {port}, name: https, protocol: HTTPS}}\n    tls: {{mode: SIMPLE, serverCertificate: {self.certificate}, privateKey: {self.key}}}"
        kind, hosts = ("tcp", "'*'") if self.case in RELAYED else ("http", f"{NAME}, 127.0.0.1" if self.secured else NAME)
        self.write("moongate/in.yaml", f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: default}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - {server}
    hosts: [{hosts}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: dev, namespace: default}}
spec:
  hosts: [{hosts}]
  gateways: [edge]
  {rule % ROUTE}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: echo, namespace: default}}
spec:
  hosts: [echo.test]
  ports: [{{number: 80, name: {kind}, protocol: {kind.upper()}}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{{kind}: {BACKEND}}}}}]
""")
        return self.command(port)

    def command(self, port):
        """Moongate on its configuration."""
        return world.command(os.path.join(self.folder, "moongate"), self.workers, port + 100, port + 200)


def start(command, port, seconds=20):
    """Runs a proxy and waits until its port is open; ends the proxy where that takes too long."""
    process = world.run(command)
    until = time.time() + seconds
    while time.time() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return process
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.02)
    stop(process)
    raise SystemExit(f"{command[0]} did not open port {port}")


def family(pid):
    """A process and its children."""
    pids = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            for child in file.read().split():
                pids += family(int(child))
    return pids


def cpu_seconds(pid):
    """User and system time of a process and its children."""
    user = system = 0
    for one in family(pid):
        with open(f"/proc/{one}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        user, system = user + int(fields[11]), system + int(fields[12])
    return user / world.TICKS, system / world.TICKS


def shake(port, seconds, resume):
    """Handshakes that came about as they should, and others. The ticket is waited for in both cases."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    session, good, others = None, 0, 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        plain = socket.create_connection(("127.0.0.1", port))
        with context.wrap_socket(plain, server_hostname=NAME, session=session) as secured:
            wanted = secured.session_reused == (session is not None)
            good, others = good + wanted, others + (not wanted)
            secured.setblocking(False)
            select.select([secured], [], [], 1)
            try:
                secured.recv(1)
            except ssl.SSLWantReadError:
                pass
            if resume:
                session = secured.session
    return good, others


def load(case, port, seconds, connections):
    """Requests that were answered, and those that failed."""
    if case in HANDSHAKES:
        return shake(port, seconds, case == "resumed")
    if case in ("h2", "h2big"):
        # Five connections of ten streams where wrk would have fifty.
        text = subprocess.run(["h2load", "-t1", f"-c{max(1, connections // 10)}", "-m10", f"-D{seconds}", "--connect-to", f"127.0.0.1:{port}",
                               f"https://{NAME}:{port}/"], capture_output=True, text=True, check=True).stdout
        return tuple(int(re.search(rf"(\d+) {word}", text).group(1)) for word in ("succeeded", "failed"))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-H", f"Host: {NAME}"]
    if case in ("close", "tlsconn"):
        command += ["-H", "Connection: close"]
    scheme = "https" if case in SECURED + ("through",) else "http"
    # The name that TLS asks for is the URL's.
    host = LOCAL if case == "through" else "127.0.0.1"
    text = subprocess.run(command + [f"{scheme}://{host}:{port}/"], capture_output=True, text=True, check=True).stdout
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failures = int(failed.group(1)) if failed else 0
    return int(re.search(r"(\d+) requests in", text).group(1)), failures + (sum(map(int, errors.groups())) if errors else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=sorted(BODIES), default="keepalive")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("names", nargs="*", default=[])
    args = parser.parse_args()
    names = args.names or (["haproxy", "moongate"] if args.case in RELAYED else ["haproxy", "nginx", "envoy", "moongate"])
    if BEFORE and not args.names:
        names.insert(len(names) - 1, "before")
    for tool in ("wrk", "nginx") + (("h2load",) if args.case in ("h2", "h2big") else ()):
        if not shutil.which(tool):
            raise SystemExit(f"{tool} is needed and not installed")
    missing = [name for name in names if name not in ("moongate", "before") and not shutil.which(name)]
    for name in missing:
        print(f"{name} is not installed: left out")
    names = [name for name in names if name not in missing]
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        proxies = Proxies(folder, args.workers, args.case)
        backend = start(proxies.backend(BODIES[args.case]), BACKEND)
        try:
            figures = in_turns(proxies, names, args.rounds, 18100, lambda _, port, pid: measure(args, port, pid))
        finally:
            stop(backend)
    report(args, figures)


def in_turns(proxies, names, rounds, first_port, measure):
    """What `measure(name, port, pid)` gives for each proxy, once a round; in another order each time, so that none always follows the same."""
    figures = {name: [] for name in names}
    for round_ in range(rounds):
        for offset, name in enumerate(names[round_ % len(names):] + names[:round_ % len(names)]):
            port = first_port + offset
            process = start(getattr(proxies, name)(port), port)
            try:
                figures[name].append(measure(name, port, process.pid))
            finally:
                stop(process)
    return figures


def measure(args, port, pid):
    """CPU time and user time, rate and failures of a proxy under load."""
    load(args.case, port, 1, args.connections)
    before = cpu_seconds(pid)
    requests, failures = load(args.case, port, args.seconds, args.connections)
    after = cpu_seconds(pid)
    # Of a request, in microseconds; of a GiB, in milliseconds.
    share = (1 << 30) / BODIES[args.case] * 1e3 if args.case in RELAYED else 1e6
    user, system = ((b - a) / requests * share for a, b in zip(before, after))
    return user + system, user, requests / args.seconds, failures


def report(args, figures):
    unit = "ms/GiB" if args.case in RELAYED else "us"
    print(f"case {args.case}, {args.connections} connections, {args.workers} worker(s), {args.rounds} rounds of {args.seconds} s, medians; cpu and user in {unit}")
    print(f"{'proxy':10} {'cpu':>8} {'user':>8} {'lowest':>8} {'highest':>8} {'req/s':>8} {'failed':>7}")
    for name, rows in figures.items():
        cost = [row[0] for row in rows]
        middle = lambda at: statistics.median(row[at] for row in rows)
        print(f"{name:10} {middle(0):8.2f} {middle(1):8.2f} {min(cost):8.2f} {max(cost):8.2f} {middle(2):8.0f} {sum(row[3] for row in rows):7}")
    if "moongate" in figures:
        for peer in (name for name in figures if name != "moongate"):
            found = [ours[0] / theirs[0] for ours, theirs in zip(figures["moongate"], figures[peer])]
            whole = statistics.median(r[0] for r in figures["moongate"]) / statistics.median(r[0] for r in figures[peer])
            print(f"moongate / {peer}: {whole:.3f} (round by round {min(found):.3f} to {max(found):.3f})")


if __name__ == "__main__":
    main()

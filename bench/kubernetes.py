#!/usr/bin/env python3
"""The gateway on a real API server (`conformance/cluster/build`): start, memory, rest, and one change until it is served.

  bench/kubernetes.py [--sizes 100 5000 10000] [--changes 100] [--workers 2] [--rest 30] [--shipped] [--instructions]

Each size is so many VirtualServices, each with a Service and an EndpointSlice. A change replaces the answer of a VirtualService; it counts from the moment
at which a watch of this script has the event, and as served when as many fresh connections in a row as there are workers, times eight, see it.
With --instructions only the user instructions of a change are counted, by valgrind's callgrind, without those at rest: unlike time they hardly depend on
the machine and on what else it does. The profiles stay in the folder that --keep names.
With --shipped the gateway has the arguments that `moongate manifests` gives it: it keeps the objects in a folder in memory, writes statuses, and answers at
the ports of Istio's agent and proxy.
"""
import argparse
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
import world

TOKEN = "admin-token"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Cluster:
    """etcd and an API server on loopback."""

    def __init__(self, folder):
        programs = subprocess.check_output([os.path.join(world.ROOT, "conformance/cluster/build")], text=True).strip()
        self.folder, self.port = folder, free_port()
        etcd, peer = free_port(), free_port()
        path = lambda name: os.path.join(folder, name)
        with open(path("tokens.csv"), "w") as file:
            file.write(f'{TOKEN},admin,admin,"system:masters"\n')
        subprocess.run(["openssl", "genrsa", "-out", path("sa.key"), "2048"], check=True, capture_output=True)
        client, other = f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peer}"
        self.etcd = world.run(
            [f"{programs}/etcd", "--data-dir", path("etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
             "--listen-peer-urls", other, "--initial-advertise-peer-urls", other, "--initial-cluster", f"default={other}",
             "--unsafe-no-fsync"])
        self.server = world.run(
            [f"{programs}/kube-apiserver", f"--etcd-servers={client}", f"--secure-port={self.port}", f"--cert-dir={path('certs')}",
             f"--token-auth-file={path('tokens.csv')}", f"--service-account-key-file={path('sa.key')}",
             f"--service-account-signing-key-file={path('sa.key')}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
             "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16",
             "--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC",
             "--disable-admission-plugins=ServiceAccount", "--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000"])
        self.kubeconfig = path("kubeconfig")
        with open(self.kubeconfig, "w") as file:
            json.dump({
                "apiVersion": "v1", "kind": "Config", "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{self.port}",
                                                       "certificate-authority": path("certs/apiserver.crt")}}],
                "users": [{"name": "c", "user": {"token": TOKEN}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]}, file)
        self.local = threading.local()
        for _ in range(600):
            try:
                if self.send("GET", "/readyz")[0] == 200:
                    break
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.2)
        else:
            raise SystemExit("the API server does not serve")
        kubectl = [f"{programs}/kubectl", "--kubeconfig", self.kubeconfig]
        subprocess.run([*kubectl, "apply", "--server-side", "-f", f"{programs}/istio.yaml"], check=True, capture_output=True)
        subprocess.run([*kubectl, "wait", "--for=condition=Established", "crd", "--all"], check=True, capture_output=True)
        self.send("POST", "/api/v1/namespaces", {"metadata": {"name": "istio-system"}})

    def connect(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=120, context=context)

    def send(self, method, path, body=None, kind="application/json"):
        """Status and body; a connection for each thread."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        for is_last in (False, True):
            connection = getattr(self.local, "connection", None) or self.connect()
            self.local.connection = connection
            try:
                connection.request(method, path, json.dumps(body) if body is not None else None, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                # The server closes connections that are idle.
                self.local.connection = None
                if is_last:
                    raise

    def events(self, path):
        """Versions of objects and when a watch of them had them."""
        answer = json.loads(self.send("GET", path)[1])
        connection = self.connect()
        connection.request("GET", f"{path}?watch=true&resourceVersion={answer['metadata']['resourceVersion']}",
                           headers={"Authorization": f"Bearer {TOKEN}"})
        stream = connection.getresponse()
        seen = {}

        def follow():
            while line := stream.readline():
                now = time.monotonic()
                seen[json.loads(line)["object"]["metadata"]["resourceVersion"]] = now
        threading.Thread(target=follow, daemon=True).start()
        return seen

    def stop(self):
        for process in (self.server, self.etcd):
            world.stop(process)


NETWORKING = "/apis/networking.istio.io/v1/namespaces/default"


def route(name, spec):
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name},
            "spec": {"gateways": ["edge"], **spec}}


def moving(version):
    return route("moving", {"hosts": [world.MOVING],
                            "http": [{"directResponse": {"status": 200, "body": {"string": f"version {version}"}}}]})


def fill(cluster, numbers):
    def one(number):
        name = f"host-{number}"
        objects = [
            ("/api/v1/namespaces/default/services",
             {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]}}),
            ("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
             {"metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
              "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": [f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"]}]}),
            (f"{NETWORKING}/virtualservices",
             route(name, {"hosts": [f"{name}.example.com"], "http": [{"route": [{"destination": {"host": name}}]}]})),
        ]
        for path, body in objects:
            status, text = cluster.send("POST", path, body)
            if status not in (201, 409):
                raise SystemExit(f"{path}: {status} {text[:300]}")
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(one, numbers):
            pass


def change(cluster, version):
    status, text = cluster.send("PATCH", f"{NETWORKING}/virtualservices/moving", {"spec": moving(version)["spec"]},
                                "application/merge-patch+json")
    if status != 200:
        raise SystemExit(text)
    return json.loads(text)["metadata"]["resourceVersion"]


def received(port, pid):
    """Octets that the gateway has received from the API server, by the kernel's count for each open connection."""
    text = subprocess.check_output(["ss", "-tniH", "-p", f"dport = :{port}"], text=True)
    # A connection is a line, and what the kernel knows of it the next one.
    lines = re.sub(r"\n\s+", " ", text).splitlines()
    counts = [re.search(r"bytes_received:(\d+)", line) for line in lines if f"pid={pid}," in line]
    return sum(int(count.group(1)) for count in counts if count)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 5000, 10_000])
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rest", type=int, default=30)
    parser.add_argument("--status", action="store_true", help="with --write-status")
    parser.add_argument("--shipped", action="store_true", help="with all arguments of the manifests")
    parser.add_argument("--instructions", action="store_true", help="count the instructions of a change, and measure nothing else")
    parser.add_argument("--keep", metavar="FOLDER", help="where profiles of --instructions are kept")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(folder)
        try:
            gateway = {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "edge"},
                       "spec": {"selector": {"istio": "ingressgateway"},
                                "servers": [{"port": {"number": world.PORT, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}}
            cluster.send("POST", f"{NETWORKING}/gateways", gateway)
            cluster.send("POST", f"{NETWORKING}/virtualservices", moving(0))
            events = None if args.instructions else cluster.events(f"{NETWORKING}/virtualservices")
            before, version = 0, 0
            for size in args.sizes:
                fill(cluster, range(before, size))
                before = size
                version = count(cluster, args, size, version) if args.instructions else measure(cluster, events, args, size, version)
        finally:
            cluster.stop()


def arguments(cluster, args, state):
    """Those of the gateway; `state` is a folder of its own."""
    source = ["--kubernetes", "--kubeconfig", cluster.kubeconfig]
    if args.shipped:
        # `--kubernetes`, `--as` and `--namespace` of the manifests are what the gateway has here, too.
        source += ["--state", state, f"--istio-ports=127.0.0.1:{free_port()},127.0.0.1:{free_port()}"]
    return source + (["--write-status"] if args.status or args.shipped else [])


def percentile(times, share):
    """The least of these times that so many percent of them do not exceed. They are sorted."""
    return times[max(-(-share * len(times) // 100), 1) - 1]


def measure(cluster, events, args, size, version):
    # A file system in memory, as the volume of the manifests is.
    state = tempfile.TemporaryDirectory(dir="/dev/shm")
    process, ready = world.start(arguments(cluster, args, state.name), args.workers, seconds=300)
    try:
        time.sleep(5)
        cpu = world.precise_cpu_seconds(process.pid)
        time.sleep(args.rest)
        rest = (world.precise_cpu_seconds(process.pid) - cpu) / args.rest
        resident = world.resident_mb(process.pid)
        costs, octets, times = [], [], []
        for _ in range(args.changes):
            version += 1
            octet = received(cluster.port, process.pid)
            begun, cpu = time.monotonic(), world.precise_cpu_seconds(process.pid)
            change(cluster, version)
            # Asking costs the gateway time too: the cost is measured by waiting, not by asking.
            time.sleep(0.3)
            now = time.monotonic()
            # At rest it would have cost something, too.
            costs.append((world.precise_cpu_seconds(process.pid) - cpu - rest * (now - begun)) * 1e3)
            octets.append(received(cluster.port, process.pid) - octet)
        for _ in range(args.changes):
            version += 1
            at = change(cluster, version)
            first = world.wait_for_version(version, args.workers)
            while at not in events:
                time.sleep(0.001)
            times.append(max(first - events[at], 0.0) * 1e3)
        times.sort()
        print(f"{size} VirtualServices with Services: ready after {ready:.2f} s, {resident:.1f} MB resident, {rest * 100:.2f} % of a core at rest; "
              f"a change: served after {statistics.median(times):.1f} ms (p99 {percentile(times, 99):.1f}), "
              f"cpu {statistics.median(costs):.2f} ms (least {min(costs):.2f}), {statistics.median(octets):.0f} octets", flush=True)
        return version
    finally:
        world.stop(process)
        state.cleanup()


def count(cluster, args, size, version):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as state, tempfile.TemporaryDirectory() as folder:
        profile = os.path.join(folder, "profile")
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"]
        process, _ = world.start(arguments(cluster, args, state), args.workers, seconds=900, under=tool)

        def instructions(what, act):
            """The median of those of `act` and of what it leads to: a watch that begins anew is no part of it."""
            control = ["callgrind_control", str(process.pid)]
            counts = []
            for number in range(args.changes):
                subprocess.run([*control, "--zero"], check=True, capture_output=True)
                act(number)
                # Much slower than without the tool.
                time.sleep(0.5)
                subprocess.run([*control, f"--dump={what}"], check=True, capture_output=True)
                newest = max((os.path.join(folder, name) for name in os.listdir(folder)), key=os.path.getmtime)
                with open(newest) as file:
                    counts.append(int(re.search(r"(?:totals|summary): (\d+)", file.read()).group(1)))
                if args.keep:
                    shutil.copy(newest, os.path.join(args.keep, f"change-{size}-{what}-{number}"))
                os.remove(newest)
            return statistics.median(counts)
        try:
            # Statuses are written and the allocator rests.
            time.sleep(30)
            rest = instructions("rest", lambda _: None)
            cost = instructions("change", lambda number: change(cluster, version + number + 1))
            print(f"{size} VirtualServices with Services: a change: {cost - rest:.0f} instructions (at rest {rest / 0.5:.0f} in a second)", flush=True)
            return version + args.changes
        finally:
            world.stop(process)


if __name__ == "__main__":
    main()

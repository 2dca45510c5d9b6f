"""Configurations and a gateway process for the other scripts: many hosts, each a VirtualService and a ServiceEntry."""
import json
import os
import subprocess
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MOONGATE = os.environ.get("MOONGATE", os.path.join(ROOT, "target/release/moongate"))
ADMIN, READY, PORT = 18281, 18282, 18280
TICKS = os.sysconf("SC_CLK_TCK")

GATEWAY = """apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: %d, name: http, protocol: HTTP}
    hosts: ["*"]
"""
HOST = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: host-%(n)d, namespace: default}
spec:
  hosts: [host-%(n)d.example.com]
  gateways: [edge]
  http:
  - route:
    - destination: {host: service-%(n)d.test}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: service-%(n)d, namespace: default}
spec:
  hosts: [service-%(n)d.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %(port)d}}]
"""
# An object of the same kinds that nothing refers to.
UNRELATED = HOST.replace("host-%(n)d", "other-%(n)d").replace("service-%(n)d", "other-service-%(n)d").replace("[edge]", "[elsewhere]")


def write(path, text):
    """Replaces a file as editors and tools do: by a rename."""
    with open(path + ".tmp", "w") as file:
        file.write(text)
    os.rename(path + ".tmp", path)


def lay_out(folder, hosts, backend, files=100, unrelated=0):
    """A Gateway and `hosts` hosts, spread over files."""
    write(os.path.join(folder, "gateway.yaml"), GATEWAY % PORT)
    for name, text, count in (("hosts", HOST, hosts), ("unrelated", UNRELATED, unrelated)):
        parts = min(files, count)
        for part in range(parts):
            numbers = range(part, count, parts)
            write(os.path.join(folder, f"{name}-{part}.yaml"), "".join(text % {"n": n, "port": backend} for n in numbers))


def start(folder, workers=1, *more):
    """The gateway on that folder, ready; with the seconds until it was."""
    command = [MOONGATE, "run", folder, "--workers", str(workers), "--access-log", "off", "--bind", "127.0.0.1",
               "--admin", f"127.0.0.1:{ADMIN}", "--ready", f"127.0.0.1:{READY}", *more]
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while time.monotonic() < begun + 120:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{READY}/healthz/ready", timeout=1):
                return process, time.monotonic() - begun
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.005)
    raise SystemExit("the gateway did not become ready")


def page(path):
    """A page of the admin address."""
    with urllib.request.urlopen(f"http://127.0.0.1:{ADMIN}{path}", timeout=30) as answer:
        return answer.read().decode()


def resident_mb(pid):
    """Resident memory."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))


def cpu_seconds(pid):
    """User and system time so far."""
    total = 0
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    total = int(fields[11]) + int(fields[12])
    return total / TICKS


def precise_cpu_seconds(pid):
    """Time on a processor by the scheduler's own count, summed over threads; finer than the ticks of `cpu_seconds`."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        except FileNotFoundError:
            pass
    return total / 1e9


def backend(port, folder, text="ok"):
    """nginx answering every request."""
    temp = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = os.path.join(folder, f"backend-{port}.conf")
    write(conf, f"worker_processes 1; daemon off; pid {folder}/{port}.pid; error_log /dev/null; events {{ worker_connections 4096; }}\n"
                f"http {{ access_log off; keepalive_requests 1000000000; {temp} server {{ listen 127.0.0.1:{port} backlog=4096; "
                f"location / {{ return 200 \"{text}\"; }} }} }}\n")
    return subprocess.Popen(["nginx", "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def files(port, folder, sizes, http2=False):
    """nginx serving files of these sizes; in HTTP/2 it speaks nothing else."""
    root = os.path.join(folder, "files")
    os.mkdir(root)
    for name, size in sizes.items():
        with open(os.path.join(root, name), "wb") as file:
            file.truncate(size)
    temp = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = os.path.join(folder, f"backend-{port}.conf")
    http2 = " http2" if http2 else ""
    write(conf, f"worker_processes 1; daemon off; pid {folder}/{port}.pid; error_log /dev/null; events {{ worker_connections 16384; }}\n"
                f"http {{ access_log off; keepalive_requests 1000000000; {temp} server {{ listen 127.0.0.1:{port} backlog=4096{http2}; root {root}; }} }}\n")
    return subprocess.Popen(["nginx", "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def show(name, value):
    print(json.dumps({"measure": name, **value}))

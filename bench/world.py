"""Configurations and a gateway process for the other scripts: many hosts, each a VirtualService and a ServiceEntry."""
import http.client
import json
import os
import resource
import signal
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
# The host whose answer changes.
MOVING = "moving.example.com"
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


def command(source, workers=1, admin=ADMIN, ready=READY):
    """What runs the gateway on a folder, or on whatever the arguments `source` say."""
    source = [source] if isinstance(source, str) else source
    return [MOONGATE, "run", *source, "--workers", str(workers), "--access-log", "off", "--bind", "127.0.0.1",
            "--admin", f"127.0.0.1:{admin}", "--ready", f"127.0.0.1:{ready}"]


def start(source, workers=1, *more, seconds=120, under=()):
    """The gateway, ready, by the command `under` that runs another one; with the seconds until it was."""
    begun = time.monotonic()
    process = run([*under, *command(source, workers), *more])
    while time.monotonic() < begun + seconds:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{READY}/healthz/ready", timeout=1):
                return process, time.monotonic() - begun
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.005)
    stop(process)
    raise SystemExit("the gateway did not become ready")


def run(command):
    """A process of its own group, whose output is discarded."""
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def stop(process):
    """Ends a process and its children at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def allow_descriptors():
    """As many descriptors as this process may have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def certify(name, certificate, key):
    """A new key and a certificate for a name, in these files."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
                    "-days", "9", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"], check=True, capture_output=True)


def seen():
    """What a new connection is answered for the host that changes."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    connection.request("GET", "/", headers={"Host": MOVING, "Connection": "close"})
    body = connection.getresponse().read().decode()
    connection.close()
    return body


def wait_for_version(version, workers):
    """Waits until as many new connections in a row as there are workers, times eight, are answered `version N`: connections fall to a worker by a hash
    of their ports. When the first of them was."""
    first, streak, limit = None, 0, time.monotonic() + 30
    while streak < workers * 8:
        if seen() == f"version {version}":
            first, streak = first or time.monotonic(), streak + 1
        else:
            first, streak = None, 0
        if time.monotonic() > limit:
            raise SystemExit(f"version {version} is not served after 30 s")
    return first


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
    return nginx(port, folder, f"listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 \"{text}\"; }}", 4096)


def files(port, folder, sizes, http2=False):
    """nginx serving files of these sizes; in HTTP/2 it speaks nothing else."""
    root = os.path.join(folder, "files")
    os.mkdir(root)
    for name, size in sizes.items():
        with open(os.path.join(root, name), "wb") as file:
            file.truncate(size)
    return nginx(port, folder, f"listen 127.0.0.1:{port} backlog=4096{' http2' if http2 else ''}; root {root};", 16384)


def nginx(port, folder, server, connections):
    """nginx with one server."""
    conf = os.path.join(folder, f"backend-{port}.conf")
    write(conf, nginx_text(folder, str(port), f"server {{ {server} }}", connections=connections))
    return run(["nginx", "-c", conf])


def nginx_text(folder, name, http, workers=1, connections=4096):
    """A configuration of nginx, which has its files in a folder."""
    temp = "".join(f"{kind}_temp_path {folder}/{name}-{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return (f"worker_processes {workers}; daemon off; pid {folder}/{name}.pid; error_log /dev/null;\n"
            f"events {{ worker_connections {connections}; }}\n"
            f"http {{ access_log off; sendfile on; keepalive_requests 1000000000; {temp}\n{http} }}\n")


def show(name, value):
    print(json.dumps({"measure": name, **value}))

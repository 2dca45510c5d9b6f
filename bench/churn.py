#!/usr/bin/env python3
"""Load while the configuration changes: wrk on one host for 20 s, meanwhile 200 changes, and not one request may fail.

  bench/churn.py [--seconds 20] [--changes 200] [--workers 2]

The changes, in turns: the loaded host's endpoint moves to the other backend, its route is edited, another host comes or goes, another
listener comes or goes, a document becomes unreadable or is mended.
"""
import argparse
import os
import re
import subprocess
import tempfile
import time
import world

ONE, TWO, OTHER_PORT = 18290, 18291, 18285
GATEWAY_ONLY = world.GATEWAY % OTHER_PORT
LOADED = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: loaded, namespace: default}
spec:
  hosts: [loaded.example.com]
  gateways: [edge]
  http:
  - headers: {request: {set: {x-version: "%d"}}}
    route:
    - destination: {host: loaded.test}
"""
ENTRY = """apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: loaded, namespace: default}
spec:
  hosts: [loaded.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %d}}]
"""


def turn(folder, step):
    """One change."""
    path = lambda name: os.path.join(folder, name)
    kind, odd = step % 5, (step // 5) % 2
    if kind == 0:
        world.write(path("entry.yaml"), ENTRY % (TWO if odd else ONE))
    elif kind == 1:
        world.write(path("loaded.yaml"), LOADED % step)
    elif kind == 2:
        toggle(path("host.yaml"), odd, world.HOST.lstrip("-\n") % {"n": 7, "port": ONE})
    elif kind == 3:
        toggle(path("listener.yaml"), odd, GATEWAY_ONLY.replace("name: edge", "name: other"))
    else:
        world.write(path("broken.yaml"), "kind: VirtualService\n  spec: [" if odd else LOADED.replace("loaded", "mended") % step)


def toggle(path, there, text):
    if there and os.path.exists(path):
        os.remove(path)
    else:
        world.write(path, text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        config = os.path.join(folder, "config")
        os.mkdir(config)
        world.write(os.path.join(config, "gateway.yaml"), world.GATEWAY % world.PORT)
        world.write(os.path.join(config, "loaded.yaml"), LOADED % 0)
        world.write(os.path.join(config, "entry.yaml"), ENTRY % ONE)
        backends = [world.backend(ONE, folder), world.backend(TWO, folder)]
        process, _ = world.start(config, args.workers)
        try:
            wrk = subprocess.Popen(["wrk", "-t1", "-c50", f"-d{args.seconds}s", "-H", "Host: loaded.example.com", f"http://127.0.0.1:{world.PORT}/"],
                                   stdout=subprocess.PIPE, text=True)
            for step in range(args.changes):
                turn(config, step)
                time.sleep(max(0, args.seconds - 1) / args.changes)
            text = wrk.communicate()[0]
        finally:
            for one in [process, *backends]:
                world.stop(one)
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: (.*)", text)
    print(f"{args.changes} changes in {args.seconds} s: {requests} requests, {failed.group(1) if failed else 0} answered otherwise than 2xx, "
          f"socket errors: {errors.group(1) if errors else 'none'}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Autobahn's fuzzing client of WebSocket against Autobahn's echo server, without the gateway and through it: the results have to be the same.

  bench/autobahn.py [--python PYTHON2.7]

The suite runs on Python 2.7 alone, and is fetched from the package index into a folder that goes away.
"""
import argparse
import collections
import json
import os
import shutil
import subprocess
import tempfile
import time
import world

ECHO = 18291
RUN = "from autobahntestsuite.wstest import run; run()"
ROUTES = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo, namespace: default}
spec:
  hosts: ["*"]
  gateways: [edge]
  # The server compares the port with its own.
  http: [{rewrite: {authority: "127.0.0.1:%(port)d"}, route: [{destination: {host: echo.test}}]}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: echo, namespace: default}
spec:
  hosts: [echo.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %(port)d}}]
"""


def ask(python, env, folder, name, port):
    """Runs all cases; the result of each."""
    spec = {"outdir": f"{folder}/{name}", "servers": [{"agent": "x", "url": f"ws://127.0.0.1:{port}"}], "cases": ["*"],
            "exclude-cases": [], "exclude-agent-cases": {}}
    path = os.path.join(folder, f"{name}.json")
    world.write(path, json.dumps(spec))
    subprocess.run([python, "-c", RUN, "-m", "fuzzingclient", "-s", path], env=env, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with open(f"{folder}/{name}/index.json") as file:
        return {case: (told["behavior"], told["behaviorClose"]) for case, told in json.load(file)["x"].items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=shutil.which("python2.7"))
    python = parser.parse_args().python
    if python is None:
        raise SystemExit("not run, for there is no python2.7: name one with --python")
    with tempfile.TemporaryDirectory() as folder:
        packages, config = f"{folder}/packages", f"{folder}/config"
        os.mkdir(config)
        subprocess.run([python, "-m", "pip", "install", "-q", "--target", packages, "autobahntestsuite==0.8.2"], check=True)
        # A namespace package that is found without an installation.
        open(f"{packages}/zope/__init__.py", "a").close()
        env = {**os.environ, "PYTHONPATH": packages}
        world.write(f"{config}/all.yaml", world.GATEWAY % world.PORT + ROUTES % {"port": ECHO})
        echo = subprocess.Popen([python, "-c", RUN, "-m", "echoserver", "-w", f"ws://127.0.0.1:{ECHO}"], env=env, cwd=folder,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        gateway, _ = world.start(config)
        try:
            time.sleep(3)
            without = ask(python, env, folder, "without", ECHO)
            through = ask(python, env, folder, "through", world.PORT)
        finally:
            gateway.kill()
            echo.kill()
        counts = lambda told: dict(collections.Counter(behavior for behavior, _ in told.values()))
        differ = {case: (without[case], through.get(case)) for case in without if without[case] != through.get(case)}
        world.show("autobahn", {"cases": len(without), "without": counts(without), "through": counts(through), "differ": differ})


if __name__ == "__main__":
    main()

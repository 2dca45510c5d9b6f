#!/usr/bin/env python3
"""Upgrades of the binary by take-over under load: wrk over HTTP/1.1 and h2load over HTTP/2 ask on while one process follows the other.

  bench/upgrades.py [--upgrades 20]

h2load opens no new connection when it is told to (GOAWAY), and counts what it would have sent on the old one as errored: up to ten for
each of its connections, which no server can answer. It is begun anew for each upgrade, and those are told by themselves.
"""
import argparse
import os
import re
import subprocess
import tempfile
import time
import world

BACKEND = 18290


def follow(config, path):
    """One more process, once it has taken over."""
    log = tempfile.NamedTemporaryFile("r")
    with open(log.name, "w") as out:
        process = subprocess.Popen(world.command(config) + ["--takeover", path], stdout=subprocess.DEVNULL, stderr=out, start_new_session=True)
    begun = time.monotonic()
    while "took over from the process before" not in open(log.name).read():
        if time.monotonic() > begun + 30 or process.poll() is not None:
            raise SystemExit(f"it does not take over: {open(log.name).read()}")
        time.sleep(0.005)
    return process


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--upgrades", type=int, default=20)
    count = parser.parse_args().upgrades
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        config, path = os.path.join(folder, "config"), os.path.join(folder, "takeover")
        os.mkdir(config)
        world.lay_out(config, 1, BACKEND)
        backend = world.backend(BACKEND, folder)
        processes = [world.start(config, 1, "--takeover", path)[0]]
        seconds, host = count + 4, "host-0.example.com"
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        wrk = subprocess.Popen(["wrk", "-t1", "-c20", f"-d{seconds}s", "-H", f"Host: {host}", f"http://127.0.0.1:{world.PORT}/"], **pipe)
        command = ["h2load", "-t1", "-c5", "-m10", "-D3", "--connect-to", f"127.0.0.1:{world.PORT}", f"http://{host}:{world.PORT}/"]
        loads = []
        try:
            for _ in range(count):
                loads.append(subprocess.Popen(command, **pipe))
                time.sleep(1)
                processes.append(follow(config, path))
            one, two = wrk.communicate()[0], [load.communicate()[0] for load in loads]
            ended = [process.wait(60) for process in processes[:-1]]
        finally:
            for process in (*processes, backend, wrk, *loads):
                if process.poll() is None:
                    process.kill()
        errors = re.findall(r"Socket errors.*|Non-2xx.*", one)
        world.show("wrk", {"requests": int(re.search(r"(\d+) requests in", one)[1]), "errors": errors})
        answered, failed, errored = (sum(int(re.search(rf"(\d+) {word}", text)[1]) for text in two) for word in ("2xx", "failed", "errored"))
        world.show("h2load", {"answered": answered, "errored_by_itself": errored, "failed_otherwise": failed - errored})
        world.show("elder processes", {"upgrades": count, "exit_codes": sorted(set(ended))})


if __name__ == "__main__":
    main()

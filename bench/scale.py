#!/usr/bin/env python3
"""Ready time, memory and CPU per request by the number of hosts; each host is a VirtualService and a ServiceEntry, in 100 files.

  bench/scale.py [--hosts 10 10000 100000] [--rounds 7] [--seconds 3]

Requests go to the same 10 hosts at every size, in turns within one run.
"""
import argparse
import os
import re
import statistics
import subprocess
import tempfile
import world

BACKEND = 18290
PICK = """
local n = 0
request = function()
  n = (n + 1) % 10
  return wrk.format("GET", "/", {Host = "host-" .. n .. ".example.com"})
end
"""


def load(script, seconds):
    text = subprocess.run(["wrk", "-t1", "-c50", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{world.PORT}/"],
                          capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        raise SystemExit(text)
    return int(re.search(r"(\d+) requests in", text).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        script = os.path.join(folder, "pick.lua")
        world.write(script, PICK)
        for count in args.hosts:
            os.mkdir(f"{folder}/{count}")
            world.lay_out(f"{folder}/{count}", count, BACKEND)
        backend = world.backend(BACKEND, folder)
        figures = {count: [] for count in args.hosts}
        try:
            for _ in range(args.rounds):
                for count in args.hosts:
                    process, ready = world.start(f"{folder}/{count}")
                    try:
                        load(script, 1)
                        memory = world.resident_mb(process.pid)
                        before = world.precise_cpu_seconds(process.pid)
                        requests = load(script, args.seconds)
                        cost = (world.precise_cpu_seconds(process.pid) - before) / requests * 1e6
                        stages = {name: float(value) for name, value in re.findall(
                            r'^moongate_config_seconds\{stage="(\w+)"\} ([0-9.e-]+)', world.page("/metrics"), re.M)}
                        figures[count].append((ready, memory, cost, stages))
                    finally:
                        world.stop(process)
        finally:
            world.stop(backend)
    print(f"{args.rounds} rounds, medians (lowest to highest)")
    smallest = figures[args.hosts[0]]
    for count, rows in figures.items():
        cell = lambda at: f"{statistics.median(r[at] for r in rows):9.3f} ({min(r[at] for r in rows):.3f} to {max(r[at] for r in rows):.3f})"
        ratio = statistics.median(r[2] / s[2] for r, s in zip(rows, smallest))
        stages = ", ".join(f"{name} {statistics.median(r[3].get(name, 0) for r in rows):.3f} s" for name in rows[0][3])
        print(f"{count:7} hosts: ready s {cell(0)}, resident MB {cell(1)}, cpu us {cell(2)}, {ratio:.3f} times {args.hosts[0]} hosts; {stages}")


if __name__ == "__main__":
    main()

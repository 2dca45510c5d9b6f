#!/usr/bin/env python3
"""Memory of clusters at rest: ServiceEntries of 100 ports each, with a rule for each port, and no request.

  bench/clusters.py [--clusters 10000]
"""
import argparse
import os
import tempfile
import world

PORTS = 100


def lay_out(folder, clusters):
    """A Gateway, and as many clusters."""
    world.write(os.path.join(folder, "gateway.yaml"), world.GATEWAY % world.PORT)
    for number in range(clusters // PORTS):
        ports = "\n".join(f"  - {{number: {1000 + port}, name: p{port}, protocol: HTTP}}" for port in range(PORTS))
        rules = "\n".join(f"  - {{match: [{{uri: {{prefix: /p{port}/}}}}], route: [{{destination: {{host: s{number}.test, "
                          f"port: {{number: {1000 + port}}}}}}}]}}" for port in range(PORTS))
        world.write(os.path.join(folder, f"{number}.yaml"), f"""apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: s{number}, namespace: default}}
spec:
  hosts: [s{number}.test]
  resolution: STATIC
  ports:
{ports}
  endpoints: [{{address: 10.0.0.1}}, {{address: 10.0.0.2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: v{number}, namespace: default}}
spec:
  hosts: [v{number}.test]
  gateways: [edge]
  http:
{rules}
""")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", type=int, default=10_000)
    clusters = parser.parse_args().clusters
    resident = {}
    for count in (PORTS, clusters):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            lay_out(folder, count)
            process, _ = world.start(folder)
            try:
                resident[count] = world.resident_mb(process.pid)
            finally:
                world.stop(process)
    for count, memory in resident.items():
        print(f"{count:7} clusters, each with a rule: {memory:.1f} MB resident")


if __name__ == "__main__":
    main()

"""Reads the same metrics in both formats with Prometheus' parsers for Python: they have to have the same families and series.

Usage: metrics.py OPENMETRICS-FILE TEXT-FILE. Prints the name and type of each family.
"""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text


def read(parse, path):
    with open(path, encoding="utf-8") as file:
        families = list(parse(file.read()))
    for family in families:
        assert family.documentation, f"{family.name} has no help"
    series = [(sample.name, tuple(sorted(sample.labels.items()))) for family in families for sample in family.samples]
    assert len(series) == len(set(series)), "a series is there twice"
    return {family.name: family.type for family in families}, set(series)


families, series = read(openmetrics, sys.argv[1])
assert (families, series) == read(text, sys.argv[2]), "the formats differ"
for name, kind in sorted(families.items()):
    print(name, kind)

"""Sums up what bench/egress.sh has measured: a table of all ways, one of the goals, and a JSON file.

usage: report.py RAW JSON PEAKS
RAW has a line of JSON for each measurement, PEAKS a line `WAY KIB` for each way.
Ratios are made within a round, and their median counts.
"""

import json
import statistics
import sys

# What, the goal, whether it is the least (or the most) that is good.
GOALS = [
    ("keepalive_ratio", "keep-alive 1 KiB, 16 connections, relative to direct", 0.80, True),
    ("cpu_us", "processor time a request in µs", 18, False),
    ("added_p50_us", "added latency, one connection, p50 in µs", 20, False),
    ("added_p99_us", "added latency, one connection, p99 in µs", 40, False),
    ("new_ratio", "new connections, relative to direct", 2.4, True),
    ("new_p99_us", "new connection, one at a time, p99 in µs", 1300, False),
    ("download_ratio", "256 MiB download, relative to direct", 0.88, True),
    ("peak_mib", "peak memory after all phases in MiB", 12, False),
    ("listening_ms", "listening after the start in ms", 5, False),
    ("first_answer_ms", "first answer after the start in ms", 12, False),
]


def load(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def peaks(path):
    with open(path, encoding="utf-8") as lines:
        return {way: int(kib) / 1024 for way, kib in (line.split() for line in lines)}


def summary(raw, peak):
    found = {(m["way"], m["phase"], m["round"]): m for m in raw}
    ways = list(dict.fromkeys(m["way"] for m in raw))
    rounds = sorted({m["round"] for m in raw})

    def over(way, phase, make):
        values = []
        for number in rounds:
            mine, direct = found.get((way, phase, number)), found.get(("direct", phase, number))
            value = make(mine, direct) if mine else None
            if value is not None:
                values.append(value)
        return statistics.median(values) if values else None

    def ratio(field):
        return lambda mine, direct: mine[field] / direct[field] if direct else None

    def added(field):
        return lambda mine, direct: mine[field] - direct[field] if direct else None

    def plain(field):
        return lambda mine, direct: mine[field]

    out = {}
    for way in ways:
        out[way] = {
            "keepalive_per_second": over(way, "keepalive", plain("per_second")),
            "keepalive_ratio": over(way, "keepalive", ratio("per_second")),
            "cpu_us": over(way, "keepalive", plain("cpu_us")),
            "p50_us": over(way, "latency", plain("p50_us")),
            "p99_us": over(way, "latency", plain("p99_us")),
            "added_p50_us": over(way, "latency", added("p50_us")),
            "added_p99_us": over(way, "latency", added("p99_us")),
            "new_per_second": over(way, "new", plain("per_second")),
            "new_ratio": over(way, "new", ratio("per_second")),
            "new_cpu_us": over(way, "new", plain("cpu_us")),
            "new_p50_us": over(way, "new_one", plain("p50_us")),
            "new_p99_us": over(way, "new_one", plain("p99_us")),
            "download_mib_per_second": over(way, "download", plain("mib_per_second")),
            "download_ratio": over(way, "download", ratio("mib_per_second")),
            "listening_ms": over(way, "start", plain("listening_ms")),
            "first_answer_ms": over(way, "start", plain("first_answer_ms")),
            "peak_mib": peak.get(way),
        }
    return out


def shown(value):
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(columns, rows):
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def main():
    raw, target, peak = sys.argv[1:]
    ways = summary(load(raw), peaks(peak))
    print()
    table(
        ["way", "keep-alive", "CPU µs", "p50/p99 added µs", "new", "new p99 µs", "download", "MiB", "listens ms", "answers ms"],
        [
            [
                way,
                shown(n["keepalive_ratio"]),
                "–" if way == "direct" else shown(n["cpu_us"]),
                "–" if way == "direct" else f"{shown(n['added_p50_us'])}/{shown(n['added_p99_us'])}",
                shown(n["new_ratio"]),
                shown(n["new_p99_us"]),
                shown(n["download_ratio"]),
                shown(n["peak_mib"]),
                shown(n["listening_ms"]),
                shown(n["first_answer_ms"]),
            ]
            for way, n in ways.items()
        ],
    )
    goals = []
    mine = ways.get("bottle", {})
    for name, what, goal, least in GOALS:
        value = mine.get(name)
        met = value is not None and (value >= goal if least else value <= goal)
        goals.append({"name": name, "value": value, "goal": goal, "least": least, "met": met})
    print()
    table(
        ["egress", "measured", "goal", ""],
        [
            [what, shown(g["value"]), ("≥ " if least else "≤ ") + str(goal), "met" if g["met"] else "**missed**"]
            for g, (_, what, goal, least) in zip(goals, GOALS)
        ],
    )
    direct = ways.get("direct", {})
    print(
        f"\ndirect: {shown(direct.get('keepalive_per_second'))} requests/s, {shown(direct.get('new_per_second'))} new"
        f" connections/s, {shown(direct.get('download_mib_per_second'))} MiB/s, p50/p99 of one connection"
        f" {shown(direct.get('p50_us'))}/{shown(direct.get('p99_us'))} µs"
    )
    with open(target, "w", encoding="utf-8") as file:
        json.dump({"ways": ways, "goals": goals}, file, indent=2)
        file.write("\n")


main()

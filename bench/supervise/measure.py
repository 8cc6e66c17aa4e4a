#!/usr/bin/env python3
"""Measures supervise with egress and the gate beside it, each as a process of its own, and prints tables of the times.

usage: measure.py PROGRAM DIRECTORY ROUNDS

The store holds 10,000 requests. The agent can't make so many in ten minutes, so they are copies of two that it made, put
into the database while supervise is away.
"""

import hashlib
import http.client
import http.server
import json
import pathlib
import shutil
import sqlite3
import statistics
import subprocess
import sys
import threading
import time

STORED = 10_000
PENDING_AT_THE_END = 20
HOST = "origin.test.example"


def main() -> None:
    program, root, rounds = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    origin = start_origin()
    write_policies(root, origin)
    processes = []
    try:
        measure(program, root, rounds, origin, processes)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def measure(program, root, rounds, origin, processes) -> None:
    egress = start_egress(program, root, processes)
    start_gate(program, root, processes)
    desk = Desk(program, root, processes)
    templates = [desk.ask(route_ask(origin, "/template")), desk.ask(push_ask("refs/heads/template"))]
    desk.stop()
    fill(root / "desk/store.db", templates, rounds)
    started = time.perf_counter()
    desk = Desk(program, root, processes)
    start = time.perf_counter() - started

    times = {"egress": Times(), "git-gate": Times()}
    for number in range(rounds):
        shot(desk, times["egress"], root / "egress-report", f"r-egress{number}", lambda n=number: passes(egress, origin, n))
        shot(desk, times["git-gate"], root / "gate-report", f"r-gate{number}", None)
    lists = [timed(lambda: desk.get("/api/requests?state=all")) for _ in range(20)]
    pending = [timed(lambda: desk.get("/api/requests")) for _ in range(20)]
    pages = desk.pages(20)
    terminal = [timed(lambda: desk.terminal("list", "--all")) for _ in range(10)]

    print("| from the approval, in ms | p50 | p99 | worst | goal for p99 | |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, each in times.items():
        row(f"{name}: it is decided, durably", each.acknowledged, None)
        row(f"{name}: it runs the grant, as supervise sees it", each.live, 250)
        if each.passed:
            row(f"{name}: the first request passes", each.passed, 250)
    print()
    print(f"| with {STORED:,} requests in the store | p50 | worst |")
    print("| --- | --- | --- |")
    for name, each in [
        ("the newest 200 over the interface, in ms", lists),
        (f"the {PENDING_AT_THE_END} that wait, in ms", pending),
        ("the page, without its pictures and styles, in ms", pages),
        ("`bottle requests list --all`, the whole process, in ms", terminal),
    ]:
        print(f"| {name} | {ms(statistics.median(each))} | {ms(max(each))} |")
    print(f"| start until it listens, in ms | {ms(start)} | |")
    peak = memory(desk.process.pid) / 1024
    print(f"| peak memory of supervise, in MiB | {peak:.1f} | {verdict(peak, 20)} (goal: 20) |")
    print(f"\n{rounds} rounds for each sidecar.")


class Times:
    def __init__(self) -> None:
        self.acknowledged, self.live, self.passed = [], [], []


def shot(desk, times, report, request, passes) -> None:
    """One approval, and when it is in force; then it is revoked."""
    review = desk.get(f"/api/requests/{request}")["request"]["review"]
    before = set(in_force(report))
    seen = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            if set(in_force(report)) - before:
                seen.append(time.perf_counter())
                return
            time.sleep(0.0005)

    watcher = threading.Thread(target=look)
    watcher.start()
    begin = time.perf_counter()
    answer = desk.post(f"/api/requests/{request}/approve", {"scope": {"seconds": 600}, "review": review})
    times.acknowledged.append(time.perf_counter() - begin)
    if passes:
        while not passes():
            if time.perf_counter() - begin > 30:
                sys.exit("the grant did not come into force")
        times.passed.append(time.perf_counter() - begin)
    watcher.join(30)
    over.set()
    if not seen:
        sys.exit("the grant was not reported")
    times.live.append(seen[0] - begin)
    desk.post(f"/api/grants/{answer['grant']['id']}/revoke", {})
    while set(in_force(report)) - before:
        time.sleep(0.001)


def in_force(report) -> list:
    return json.loads((report / "status.json").read_text())["grants"]


def passes(egress, origin, number) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", egress, timeout=30)
    connection.request("GET", f"http://{HOST}:{origin}/r{number}")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status == 200


class Desk:
    """A supervise that runs."""

    def __init__(self, program, root, processes) -> None:
        self.program, self.root = program, root
        log = open(root / "supervise.log", "wb")
        self.process = subprocess.Popen(
            [program, "sidecar", "supervise", "--egress-policy=policy.yaml", "--egress-report=egress-report"]
            + ["--gate-policy=etc/gate.yaml", "--gate-report=gate-report", "--grants=grants", "--state=desk"]
            + ["--listen=127.0.0.1:0", "--operator=127.0.0.1:0"],
            cwd=root, stdin=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
        processes.append(self.process)
        self.agent = told(root / "supervise.log", "for the agent on ")
        self.operator = told(root / "supervise.log", "page is on ")
        self.token = (root / "desk/token").read_text()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def call(self, port, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        if answer.status >= 400:
            sys.exit(f"{method} {path}: {answer.status} {told!r}")
        return answer, told

    def ask(self, ask) -> str:
        _, told = self.call(self.agent, "POST", "/requests", {"ask": ask, "reason": "to measure"})
        return json.loads(told)["id"]

    def get(self, path):
        return json.loads(self.call(self.operator, "GET", path, headers=self.authorised())[1])

    def post(self, path, body):
        return json.loads(self.call(self.operator, "POST", path, body, self.authorised())[1])

    def authorised(self):
        return {"Authorization": f"Bearer {self.token}"}

    def pages(self, count) -> list:
        path = self.post("/api/login-link", {})["path"]
        answer, _ = self.call(self.operator, "GET", path)
        cookie = {"Cookie": answer.getheader("set-cookie").split(";")[0]}
        return [timed(lambda: self.call(self.operator, "GET", "/", headers=cookie)) for _ in range(count)]

    def terminal(self, *words) -> None:
        url = f"--url=http://127.0.0.1:{self.operator}"
        command = [self.program, "requests", *words, url, "--token-file=desk/token"]
        subprocess.run(command, cwd=self.root, check=True, stdout=subprocess.DEVNULL)


def fill(database, templates, rounds) -> None:
    """Puts as many requests into the store as it keeps."""
    with sqlite3.connect(database) as db:
        bodies = [json.loads(db.execute("SELECT body FROM request WHERE id = ?", [id]).fetchone()[0]) for id in templates]
        db.execute("DELETE FROM request")
        for number in range(STORED - 2 * rounds - PENDING_AT_THE_END):
            put(db, bodies[0], f"r-old{number}", f"old{number}", {"is": "rejected", "words": "no", "at": 1})
        for number in range(rounds):
            put(db, bodies[0], f"r-egress{number}", f"r{number}", {"is": "pending"})
            put(db, bodies[1], f"r-gate{number}", f"r{number}", {"is": "pending"})
        for number in range(PENDING_AT_THE_END):
            put(db, bodies[0], f"r-wait{number}", f"wait{number}", {"is": "pending"})
    db.close()


def put(db, body, id, name, state) -> None:
    body = json.loads(json.dumps(body).replace("template", name))
    body.update(id=id, state=state)
    # The store looks rules up by the digest of their own text; copies are looked up by their ids only.
    rule = hashlib.sha256(id.encode()).hexdigest()
    row = [id, int(state["is"] == "pending"), body["created"], rule, json.dumps(body)]
    db.execute("INSERT INTO request (id, pending, created, rule, body) VALUES (?, ?, ?, ?, ?)", row)


def route_ask(origin, path):
    return {"route": {"host": HOST, "scheme": "http", "port": origin, "methods": ["GET"], "paths": [path]}}


def push_ask(refs):
    return {"push": {"repository": "app", "refs": refs, "operations": ["create"]}}


def write_policies(root, origin) -> None:
    for name in ["grants", "state", "trust", "egress-report", "gate-report", "etc/hooks", "gate-state", "run"]:
        (root / name).mkdir(parents=True)
    (root / "policy.yaml").write_text(
        f"version: 1\nextra_hosts: {{ {HOST}: 127.0.0.1 }}\nroutes:\n- {{ source: 'bottle.yaml:4', host: {HOST}, "
        f"scheme: http, ports: [{origin}], methods: [GET], paths: [/known], private: true }}\n...\n"
    )
    (root / "etc/gate.yaml").write_text(
        "version: 1\nrepositories:\n  app:\n    source: 'bottle.yaml:9'\n"
        "    upstream: !https { url: 'https://git.test.example/app.git' }\n    max_pack_bytes: 1000000\n...\n"
    )
    (root / "etc/known_hosts").touch()
    rendered = pathlib.Path("templates/git-gate")
    for hook in ["pre-receive", "access-hook"]:
        shutil.copy(rendered / f"{hook}.sh.j2", root / "etc/hooks" / hook)
        (root / "etc/hooks" / hook).chmod(0o755)
    shutil.copy(rendered / "entrypoint.sh.j2", root / "etc/entrypoint.sh")
    shutil.copy(rendered / "gitleaks.toml.j2", root / "etc/gitleaks.toml")


def start_origin() -> int:
    class Hello(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def start_egress(program, root, processes) -> int:
    log = open(root / "egress.log", "wb")
    command = [program, "sidecar", "egress", "--policy=policy.yaml", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]
    command += ["--state=state", "--trust=trust", "--grants=grants", "--report=egress-report"]
    processes.append(subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log))
    return told(root / "egress.log", "for the agent on ")


def start_gate(program, root, processes) -> None:
    path = f"{pathlib.Path(program).parent}:/usr/local/bin:/usr/bin:/bin:{pathlib.Path(shutil.which('gitleaks') or '/').parent}"
    environment = {"PATH": path, "BOTTLE_GATE_ETC": f"{root}/etc", "BOTTLE_GATE_STATE": f"{root}/gate-state"}
    environment["BOTTLE_GATE_RUN"] = f"{root}/run"
    command = ["sh", f"{root}/etc/entrypoint.sh", "--listen=127.0.0.1:0"]
    command += [f"--grants={root}/grants", f"--report={root}/gate-report"]
    with open(root / "gate.log", "wb") as log, open(root / "gate.ready", "wb") as ready:
        gate = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=ready, stderr=log)
    processes.append(gate)
    wait_for(lambda: "listening" in (root / "gate.ready").read_text(), root / "gate.log")


def told(log, mark) -> int:
    """The port that a sidecar tells in its log."""
    def find() -> int:
        for line in log.read_text().splitlines():
            if mark in line:
                return int(json.loads(line)["message"].rsplit(":", 1)[1])
        return 0

    return wait_for(find, log)


def wait_for(find, log):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if found := find():
            return found
        time.sleep(0.002)
    sys.exit(f"it does not start: {log.read_text()}")


def memory(pid) -> int:
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def timed(action) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def ms(seconds) -> str:
    return f"{seconds * 1000:.1f}"


def verdict(value, goal) -> str:
    return "met" if value <= goal else "**missed**"


def row(name, seconds, goal) -> None:
    ordered = sorted(seconds)
    p99 = ordered[max(0, -(-len(ordered) * 99 // 100) - 1)]
    judged = ["–", ""] if goal is None else [f"{goal}", verdict(p99 * 1000, goal)]
    cells = [name, ms(statistics.median(ordered)), ms(p99), ms(ordered[-1]), *judged]
    print(f"| {' | '.join(cells)} |")


main()

#!/usr/bin/env python3
"""What do several shards cost and bring, what does a change of them cost those who append meanwhile, and what does history elsewhere cost?

    cargo build --release
    python3 benches/shards.py target/release/factum --rounds 8 --seconds 2 --history tests/data/domestic-declarations.ndjson.gz

Five parts, each with servers on folders of their own; `--only` chooses one. All figures are medians, with the range behind them.

throughput: `factum bench append` loads servers that differ in their shards only, one after the other, round by round and in another order
each time, so that what else the machine does hits all of them alike. Ratios are to another server within the same round. What the router
takes is told by servers whose log and writer are one, as if there was one shard, while each append is hashed and led by a table.

change: a server with four shards is loaded again and again. A third into one load a fifth shard joins, a third into a later one the second
is drained; it is told how long before the load that ended. During the last one a shard joins and is drained, as often as there is time to
begin it. `factum bench append` ends at the first append that fails; such a load is told and counted. At the end the whole log is read: what
was acknowledged must be there, each event once. Each round is a new server, empty and with `--history` in turn. What a change writes is
measured without a load.

sql: two servers with the same events, one in one shard and one in four, asked in turn over one connection each.

elsewhere: a server with three shards of its own, and one that has two of three at other servers, loaded in turn. All processes are on this
machine, so what they share is told as it is: processor time of all servers together.

reading: streams that never moved, that moved with all they have, and that went on behind the move, read one request at a time in turn over
one connection. Most of such a time is this client's.
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

LOCAL = ["--shards", "1"]
FOUR = ["--shards", "4"]
RELAXED = ["--durability", "relaxed"]
# One of two shards has 40 of the 4,096 slots: appends go to one writer, and are led there.
LED = {"FACTUM_SHARDS__STRATEGY": "ring", "FACTUM_SHARDS__WEIGHTS": "100,1"}
# What is loaded: its words, its environment, and whether one of its shards is drained before.
WAYS = {
    "1 shard": (LOCAL, {}, False),
    "4 shards": (FOUR, {}, False),
    "1 shard, relaxed": (LOCAL + RELAXED, {}, False),
    "4 shards, relaxed": (FOUR + RELAXED, {}, False),
    "2 shards, one with 99 % of the slots": (["--shards", "2"], LED, False),
    "2 shards, one of them drained": (["--shards", "2"], {}, True),
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("factum", help="the binary, built with --release")
    arguments.add_argument("--only", choices=["throughput", "change", "reading", "sql", "elsewhere"], help="one part [default: all]")
    arguments.add_argument("--rounds", type=int, default=8)
    arguments.add_argument("--seconds", type=int, default=2, help="of load in each turn")
    arguments.add_argument("--clients", type=int, default=64)
    arguments.add_argument("--history", help="a file for `factum import`, which every second round of changes begins with")
    arguments.add_argument("--requests", type=int, default=3000, help="that read each kind of stream")
    arguments.add_argument("--events", type=int, default=1_000_000, help="that queries look at")
    arguments.add_argument("--folder", help="where data goes [default: a temporary folder, removed at the end]")
    options = arguments.parse_args()
    folder = pathlib.Path(options.folder or tempfile.mkdtemp(prefix="factum-bench-"))
    parts = {"throughput": throughput, "change": change, "reading": reading, "sql": sql, "elsewhere": elsewhere}
    try:
        for name in [options.only] if options.only else parts:
            print(f"\n{name}\n", flush=True)
            parts[name](options, folder / name)
    finally:
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)


def throughput(options, folder):
    servers = {}
    try:
        for number, (way, (words, environment, is_drained)) in enumerate(WAYS.items()):
            servers[way] = Server(options.factum, folder / str(number), words, environment)
            if is_drained:
                servers[way].await_job("DELETE", "/v1/shards/1")
        measured = {way: [] for way in servers}
        for number in range(options.rounds + 1):
            # The first round warms up, and does not count.
            for way in random.Random(number).sample(list(servers), len(servers)):
                turn = servers[way].load(options)
                if number > 0:
                    measured[way].append(turn)
    finally:
        for server in servers.values():
            server.stop()
    columns = ["appends/s", "of 1 shard", "p99 ms", "µs of the server an append", "more than 1 shard, µs"]
    print("| | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for way, turns in measured.items():
        first = measured["1 shard, relaxed" if "relaxed" in way else "1 shard"]
        rates = spread([turn["events_per_second"] for turn in turns], "{:,.0f}")
        ratios = spread([100 * one["events_per_second"] / other["events_per_second"] for one, other in zip(turns, first)], "{:.0f} %")
        p99 = spread([turn["p99_us"] / 1000 for turn in turns], "{:.1f}")
        times = spread([turn["server_us"] for turn in turns], "{:.1f}")
        more = spread([one["server_us"] - other["server_us"] for one, other in zip(turns, first)], "{:+.1f}")
        print(f"| {way} | {rates} | {ratios} | {p99} | {times} | {more} |")


def change(options, folder):
    rounds = {"empty": [], "with history": []}
    kinds = list(rounds) if options.history else ["empty"]
    for number in range(options.rounds * len(kinds)):
        kind = kinds[number % len(kinds)]
        rounds[kind].append(one_change(options, folder / str(number), kind == "with history"))
        # Such a folder is a few hundred megabytes.
        shutil.rmtree(folder / str(number), ignore_errors=True)
    for kind in kinds:
        print(f"\n{kind}:\n\n| | median (from, to) |\n|---|---|")
        for what, form in CHANGE_ROWS.items():
            values = [row[what] for row in rounds[kind] if row.get(what) is not None]
            print(f"| {what} | {spread(values, form) if values else 'not measured'} |")
    failures = [failure for kind in kinds for row in rounds[kind] for failure in row["failures"]]
    loads = sum(len(rounds[kind]) for kind in kinds) * LOADS
    print(f"\nloads that ended with a failed append: {len(failures)} of {loads}")
    for failure in failures:
        print(failure)


# The loads of one round.
LOADS = 6
CHANGE_ROWS = {
    "history, events": "{:,.0f}",
    "appends/s before": "{:,.0f}",
    "joins: share of the slots moved, %": "{:.1f}",
    "joins: ms until the request was answered": "{:.0f}",
    "joins: ms from then to the end of the job": "{:.0f}",
    "joins: ms that it ended before its load": "{:.0f}",
    "joins: appends/s of its load": "{:,.0f}",
    "joins: p99 before, ms": "{:.1f}",
    "joins: p99 of its load, ms": "{:.1f}",
    "joins: p99 against before, times": "{:.2f}",
    "joins: longest append before, ms": "{:.0f}",
    "joins: longest append of its load, ms": "{:.0f}",
    "drained: share of the slots moved, %": "{:.1f}",
    "drained: ms until the request was answered": "{:.0f}",
    "drained: ms from then to the end of the job": "{:.0f}",
    "drained: ms that it ended before its load": "{:.0f}",
    "drained: appends/s of its load": "{:,.0f}",
    "drained: p99 before, ms": "{:.1f}",
    "drained: p99 of its load, ms": "{:.1f}",
    "drained: p99 against before, times": "{:.2f}",
    "drained: longest append before, ms": "{:.0f}",
    "drained: longest append of its load, ms": "{:.0f}",
    "again and again: changes in one load": "{:.0f}",
    "again and again: appends/s": "{:,.0f}",
    "again and again: p99 against before, times": "{:.2f}",
    "without a load: events on the shard that is drained": "{:,.0f}",
    "without a load: ms of the job": "{:.0f}",
    "without a load: records that all logs gained": "{:.0f}",
    "without a load: bytes that the server wrote, to sockets too": "{:,.0f}",
    "acknowledged, and not in the log": "{:.0f}",
    "in the log, and not acknowledged": "{:.0f}",
}


def one_change(options, folder, has_history):
    server = Server(options.factum, folder, FOUR, {})
    row = {"failures": []}
    acknowledged = 0

    def load(name, during=None):
        nonlocal acknowledged
        job = Meanwhile(during, options.seconds / 3) if during else None
        turn = server.load(options)
        over = time.monotonic()
        if job:
            row.update({f"{name}: {what}": value for what, value in job.end().items()})
            row[f"{name}: ms that it ended before its load"] = (over - job.ended) * 1000
        if "failure" in turn:
            row["failures"].append(f"{name}: {turn['failure']}")
            return None
        acknowledged += turn["events"]
        return turn

    try:
        if has_history:
            server.run("import", options.history, "--url", server.url)
            row["history, events"] = sum(shard["position"] for shard in server.ask("GET", "/v1/shards")["shards"])
        load("warming up")
        before = load("before")
        joined = load("joins", lambda: server.await_job("POST", "/v1/shards"))
        between = load("between")
        drained = load("drained", lambda: server.await_job("DELETE", "/v1/shards/1"))
        ends = time.monotonic() + options.seconds
        changed = load("again and again", lambda: server.change_again_and_again(ends))
        compared(row, "joins", before, joined)
        compared(row, "drained", between, drained)
        if before:
            row["appends/s before"] = before["events_per_second"]
        if before and changed:
            row["again and again: appends/s"] = changed["events_per_second"]
            row["again and again: p99 against before, times"] = changed["p99_us"] / before["p99_us"]
        row.update(server.change_without_load())
        if not row["failures"]:
            difference = acknowledged - server.count_appended()
            row["acknowledged, and not in the log"] = max(difference, 0)
            row["in the log, and not acknowledged"] = max(-difference, 0)
    finally:
        server.stop()
    return row


def compared(row, name, before, during):
    if not before or not during:
        return
    row[f"{name}: appends/s of its load"] = during["events_per_second"]
    row[f"{name}: p99 before, ms"] = before["p99_us"] / 1000
    row[f"{name}: p99 of its load, ms"] = during["p99_us"] / 1000
    row[f"{name}: p99 against before, times"] = during["p99_us"] / before["p99_us"]
    row[f"{name}: longest append before, ms"] = before["max_us"] / 1000
    row[f"{name}: longest append of its load, ms"] = during["max_us"] / 1000


def reading(options, folder):
    server = Server(options.factum, folder, FOUR, {})
    try:
        names = [f"read-{number}" for number in range(400)]
        for name in names:
            server.append(name, EVENTS)
        homes = {name: server.ask("GET", f"/v1/shards/locate/{name}")["shard"] for name in names}
        server.await_job("POST", "/v1/shards")
        moved = [name for name in names if server.ask("GET", f"/v1/shards/locate/{name}")["shard"] != homes[name]]
        stayed = [name for name in names if name not in moved][: len(moved)]
        half = len(moved) // 2
        for name in moved[half:]:
            server.append(name, EVENTS)
        for name in stayed[half:]:
            server.append(name, EVENTS)
        kinds = {
            f"never moved, {EVENTS} events": (stayed[:half], EVENTS),
            f"moved, {EVENTS} events, all on the old shard": (moved[:half], EVENTS),
            f"never moved, {2 * EVENTS} events": (stayed[half:], 2 * EVENTS),
            f"moved, {EVENTS} events on the old shard and {EVENTS} on the new one": (moved[half:], 2 * EVENTS),
        }
        times = {kind: [] for kind in kinds}
        client = server.connect()
        for number in range(options.requests + WARM_UP):
            for kind in random.Random(number).sample(list(kinds), len(kinds)):
                streams, count = kinds[kind]
                path = f"/v1/streams/{streams[number % half]}/events"
                started = time.perf_counter()
                client.request("GET", path)
                answer = client.getresponse()
                body = answer.read()
                took = time.perf_counter() - started
                if number >= WARM_UP:
                    times[kind].append(took * 1e6)
                elif [event["version"] for event in json.loads(body)["events"]] != list(range(1, count + 1)):
                    raise SystemExit(f"{path} was answered {answer.status}: {body[:500]}")
    finally:
        server.stop()
    print(f"{len(moved)} of {len(names)} streams moved\n\n| | µs a request, median | p99 |\n|---|---|---|")
    for kind, all_times in times.items():
        p99 = statistics.quantiles(all_times, n=100)[98]
        print(f"| {kind} | {statistics.median(all_times):.0f} | {p99:.0f} |")


QUERIES = {
    "count by type": "select type, count(*) as n from events group by type order by type",
    "count all": "select count(*) as n from events",
    "one stream": "select count(*) as n from events where stream = 'account-77'",
    "newest 10": "select stream, version from events order by recorded_at desc, shard limit 10",
}


def sql(options, folder):
    servers = {way: Server(options.factum, folder / way[0], words, {}) for way, words in [("1 shard", LOCAL), ("4 shards", FOUR)]}
    try:
        lines = folder / "events.ndjson"
        with open(lines, "w") as file:
            for number in range(options.events):
                data = {"amount": number % 1000, "fill": "x" * 150}
                event = {"stream": f"account-{number % 50_000}", "type": f"Type{number % 8}", "data": data}
                file.write(json.dumps(event) + "\n")
        times = {(way, name): [] for way in servers for name in QUERIES}
        answers = {}
        for server in servers.values():
            server.run("import", lines, "--url", server.url)
        clients = {way: server.connect() for way, server in servers.items()}
        for number in range(options.rounds + 2):
            for way, name in random.Random(number).sample(list(times), len(times)):
                started = time.perf_counter()
                clients[way].request("POST", "/v1/sql", json.dumps({"query": QUERIES[name]}), {"content-type": "application/json"})
                answer = clients[way].getresponse()
                body = answer.read()
                took = time.perf_counter() - started
                rows = json.loads(body).get("rows")
                if answer.status != 200 or name != "newest 10" and answers.setdefault(name, rows) != rows:
                    raise SystemExit(f"{name}: {body[:300]}")
                if number >= 2:
                    times[way, name].append(took * 1000)
    finally:
        for server in servers.values():
            server.stop()
    print(f"{options.events:,} events, ms\n\n| | 1 shard | 4 shards | 4 against 1 |\n|---|---|---|---|")
    for name in QUERIES:
        one, four = times["1 shard", name], times["4 shards", name]
        ratios = spread([four / one for one, four in zip(one, four)], "{:.2f}")
        print(f"| {name} | {spread(one, '{:.1f}')} | {spread(four, '{:.1f}')} | {ratios} |")


def elsewhere(options, folder):
    far = [Server(options.factum, folder / f"far{number}", LOCAL, {}) for number in range(2)]
    front = Server(options.factum, folder / "front", [word for server in far for word in ("--shard-url", server.url)], {})
    own = Server(options.factum, folder / "own", ["--shards", "3"], {})
    measured = {"own": [], "front": []}
    try:
        for number in range(options.rounds + 1):
            for way in random.Random(number).sample(list(measured), 2):
                others = sum(server.processor_seconds() for server in far)
                turn = (front if way == "front" else own).load(options)
                turn["server_us"] += (sum(server.processor_seconds() for server in far) - others) / turn["events"] * 1e6
                if number > 0:
                    measured[way].append(turn)
    finally:
        for server in [front, own, *far]:
            server.stop()
    print("| 3 shards | appends/s | of its own shards | p50 ms | p99 ms | µs of all servers an append |\n|---|---|---|---|---|---|")
    for way, name in [("own", "all its own"), ("front", "two of them at other servers")]:
        turns = measured[way]
        ratios = [100 * turn["events_per_second"] / other["events_per_second"] for turn, other in zip(turns, measured["own"])]
        cells = [
            spread([turn["events_per_second"] for turn in turns], "{:,.0f}"),
            spread(ratios, "{:.0f} %"),
            spread([turn["p50_us"] / 1000 for turn in turns], "{:.2f}"),
            spread([turn["p99_us"] / 1000 for turn in turns], "{:.1f}"),
            spread([turn["server_us"] for turn in turns], "{:.1f}"),
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


# Of a stream before anything moves.
EVENTS = 10
WARM_UP = 200


def spread(values, form):
    middle, least, most = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least} to {most})"


class Meanwhile(threading.Thread):
    """Does something after a while, and keeps what it tells."""

    def __init__(self, act, seconds):
        super().__init__(daemon=True)
        self.act, self.seconds, self.told, self.failure, self.ended = act, seconds, {}, None, None
        self.start()

    def run(self):
        time.sleep(self.seconds)
        try:
            self.told = self.act()
        # A thread would end in silence, also by SystemExit.
        except BaseException as failure:
            self.failure = failure
        self.ended = time.monotonic()

    def end(self):
        self.join()
        if self.failure:
            raise self.failure
        return self.told


class Server:
    def __init__(self, factum, data, words, environment):
        data.mkdir(parents=True)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("FACTUM_")}
        self.factum = factum
        self.process = subprocess.Popen(
            [factum, "serve", "--listen", "127.0.0.1:0", "--data", data, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**self.environment, **environment},
        )
        self.url = self.process.stdout.readline().strip().removeprefix("factum ready on ")
        if not self.url.startswith("http"):
            raise SystemExit(f"the server did not start: {self.url!r}")

    def run(self, *words):
        return subprocess.run([self.factum, *words], check=True, capture_output=True, text=True, env=self.environment)

    def load(self, options):
        """What the load tells, with microseconds of processor time that the server took for each append; or the failure that ended it."""
        words = ["bench", "append", "--json", "--url", self.url, "--clients", str(options.clients), "--seconds", str(options.seconds)]
        before = self.processor_seconds()
        try:
            told = json.loads(self.run(*words).stdout.splitlines()[-1])
        except subprocess.CalledProcessError as error:
            return {"failure": error.stderr.strip()}
        return {**told, "server_us": (self.processor_seconds() - before) / told["events"] * 1e6}

    def connect(self):
        return http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60)

    def ask(self, method, path, body=None, accept="application/json"):
        client = self.connect()
        headers = {"accept": accept} if body is None else {"accept": accept, "content-type": "application/json"}
        client.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = client.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path} was answered {answer.status}: {text.decode()}")
        return json.loads(text) if accept == "application/json" else text

    def append(self, stream, count):
        events = [{"type": "Measured", "data": {"fill": "x" * 245}}] * count
        self.ask("POST", f"/v1/streams/{stream}/events", {"events": events})

    def await_job(self, method, path):
        """Asks for a change of the shards, and tells of it when it is over."""
        started = time.monotonic()
        job = self.ask(method, path)
        answered = time.monotonic()
        # Ends with the job.
        told = self.ask("GET", f"/v1/jobs/{job['id']}", accept="text/event-stream").decode()
        ended = time.monotonic()
        job = json.loads([line for line in told.splitlines() if line.startswith("data: ")][-1].removeprefix("data: "))
        if job["state"] != "done":
            raise SystemExit(f"a change did not end well: {job}")
        return {
            "ms until the request was answered": (answered - started) * 1000,
            "ms from then to the end of the job": (ended - answered) * 1000,
            "share of the slots moved, %": job["moved_fraction"] * 100,
        }

    def change_again_and_again(self, ends):
        """Lets a shard join and drains it, until the time is over."""
        changes = 0
        while time.monotonic() < ends:
            newcomer = len(self.ask("GET", "/v1/shards")["shards"])
            self.await_job("POST", "/v1/shards")
            self.await_job("DELETE", f"/v1/shards/{newcomer}")
            changes += 2
        return {"changes in one load": changes}

    def change_without_load(self):
        """Drains the third shard when nothing else goes on. It has a part of all history, and nothing new has to be zeroed for it."""
        # What is written behind a load has time to end.
        time.sleep(2)
        before, written = self.ask("GET", "/v1/shards")["shards"], self.written_bytes()
        took = self.await_job("DELETE", "/v1/shards/2")["ms from then to the end of the job"]
        after, written = self.ask("GET", "/v1/shards")["shards"], self.written_bytes() - written
        gained = sum(shard["position"] for shard in after) - sum(shard["position"] for shard in before)
        return {
            "without a load: events on the shard that is drained": before[2]["position"],
            "without a load: ms of the job": took,
            "without a load: records that all logs gained": gained,
            "without a load: bytes that the server wrote, to sockets too": written,
        }

    def written_bytes(self):
        # wchar: what was given to all system calls that write.
        lines = pathlib.Path(f"/proc/{self.process.pid}/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["wchar"])

    def count_appended(self):
        """How many events of the load the log has, read as a whole; none of them twice."""
        seen, path = set(), "/v1/events?limit=10000"
        client = self.connect()
        while True:
            client.request("GET", path)
            page = json.loads(client.getresponse().read())
            if not page["events"]:
                return len(seen)
            for event in page["events"]:
                if event["stream"].startswith("bench-"):
                    if (event["stream"], event["version"]) in seen:
                        raise SystemExit(f"the log has version {event['version']} of {event['stream']} twice")
                    seen.add((event["stream"], event["version"]))
            path = f"/v1/events?limit=10000&after={page['cursor']}"

    def processor_seconds(self):
        # Behind the name, which may hold anything but ends with the last parenthesis: utime and stime are the 14th and 15th of all.
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)


if __name__ == "__main__":
    main()

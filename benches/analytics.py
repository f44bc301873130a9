#!/usr/bin/env python3
"""How fast does SQL answer over Parquet and over the log, against DuckDB on the same files; and how small are the files?

    cargo build --release
    target/readers/bin/python benches/analytics.py target/release/factum --events 10000000

Makes events of the real ones (tests/data) by repetition with shifted ids and streams, imports them into a server of its own, exports them, and
asks both engines the same questions, in turn, several times each. Prints a table. `tests/run.sh` makes the environment with DuckDB.
"""

import argparse
import gzip
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid

import duckdb

SOURCE = pathlib.Path(__file__).parent.parent / "tests/data/domestic-declarations.ndjson.gz"
# The same words for both: what differs is how microseconds are had.
QUERIES = {
    "count by type": "select type, count(*) from {t} group by type order by type",
    "sum, min, max of a double by type": "select type, sum(amount), min(amount), max(amount) from {t} group by type order by type",
    "by month and role, filtered": "select date_trunc('month', occurred_at) as month, role, count(*), sum(amount) from {t} "
    "where type in ('DeclarationSubmitted', 'PaymentHandled') group by month, role order by month, role",
    "streams that were rejected": "select count(distinct stream) from {t} where type = 'DeclarationRejected'",
    "largest 10": "select stream, version, amount from {t} where amount is not null order by amount desc, stream, version limit 10",
    "two events of each stream": "select count(*), avg(days) from (select stream, max({us}) - min({us}) as days from {t} "
    "where type in ('DeclarationSubmitted', 'PaymentHandled') group by stream) as s",
    "window: from event to event": "select max(step), avg(step) from (select {us} - lag({us}) over (partition by stream order by version) as step from {t}) as s",
}
# As many are put into Postgres: what an event takes there does not depend on how many there are.
POSTGRES_ROWS = 1_000_000
# Over the log, which has no columns to read by themselves: three of them are asked for.
LOG_QUERY = "select type, count(*), max(version), max(occurred_at) from events group by type order by type"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("factum", help="the binary, built with --release")
    arguments.add_argument("--events", type=int, default=10_000_000)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--folder", help="where data goes [default: a temporary folder, removed at the end]")
    arguments.add_argument("--postgres", help="the folder with initdb and postgres, to compare what rows take there")
    options = arguments.parse_args()
    folder = pathlib.Path(options.folder or tempfile.mkdtemp(prefix="factum-bench-"))
    server = Server(options.factum, folder / "data")
    try:
        raw = load(options, server)
        files, rows = export(server)
        print(f"\n| query over {rows:,} rows in {len(files)} Parquet files | Factum | DuckDB | ratio |\n|---|---|---|---|", flush=True)
        ratios = [compare(name, query, server, files, options.runs) for name, query in QUERIES.items()]
        print(f"\nratio, geometric mean {statistics.geometric_mean(ratios):.2f}, largest {max(ratios):.2f}")
        parquet = sum(os.path.getsize(file) for file in files)
        print(f"\nbytes an event: Parquet {parquet / rows:.1f}, the JSON lines that were imported {raw / rows:.1f}", flush=True)
        if options.postgres:
            postgres(options, server, min(rows, POSTGRES_ROWS), folder)
        log(server, rows, options.runs)
    finally:
        server.stop()
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)


class Server:
    """A server of its own, on a free port."""

    def __init__(self, binary, data):
        self.binary = binary
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--data", str(data)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().strip().removeprefix("factum ready on ")

    def call(self, method, path, body=None, headers=()):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **dict(headers)}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers, method=method)) as answer:
            return json.load(answer)

    def sql(self, query):
        return self.call("POST", "/v1/sql", {"query": query})["rows"]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def load(options, server):
    """Imports the events; how many bytes of JSON they were."""
    lines = [json.loads(line) for line in gzip.open(SOURCE)]
    started = time.monotonic()
    command = [server.binary, "import", "-", "--url", server.url]
    importing = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    raw = made = 0
    for copy in range(-(-options.events // len(lines))):
        out = []
        for event in lines[: options.events - made]:
            made += 1
            number = int(event["stream"].rpartition("-")[2]) + copy * 1_000_000
            shifted = {**event, "stream": f"declaration-{number}", "id": str(uuid.UUID(int=uuid.UUID(event["id"]).int ^ (copy << 64)))}
            out.append(json.dumps(shifted, separators=(",", ":")).encode() + b"\n")
        raw += sum(map(len, out))
        importing.stdin.write(b"".join(out))
    importing.stdin.close()
    if importing.wait() != 0:
        sys.exit("the import failed")
    print(f"{made:,} events made and imported in {time.monotonic() - started:.0f} s", flush=True)
    return raw


def export(server):
    """Exports everything; the files, and how many rows they have."""
    started = time.monotonic()
    server.call("PUT", "/v1/exports/bench", {"flush_seconds": 1})
    while True:
        try:
            status = server.call("POST", "/v1/exports/bench/flush", headers={"Prefer": "wait=60"})
        except urllib.error.HTTPError as error:
            sys.exit(error.read().decode())
        if status["lag_events"] == 0:
            break
    took = time.monotonic() - started
    rows = sum(file["rows"] for file in status["files"])
    print(f"{rows:,} events exported in {took:.1f} s: {rows / took:,.0f} events/s", flush=True)
    # Merges go on for a while; files that are being merged would be gone under the readers.
    known = None
    while known != (known := sorted(file["url"] for file in server.call("GET", "/v1/exports/bench")["files"])):
        time.sleep(20)
    return [url.removeprefix("file://") for url in known], rows


def compare(name, query, server, files, runs):
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    connection.execute(f"create view lake as select * from read_parquet({files!r}, hive_partitioning = true, union_by_name = true)")
    factum = query.format(t="exports.bench", us="cast(occurred_at as bigint)")
    other = query.format(t="lake", us="epoch_us(occurred_at)")
    times = {"factum": [], "duckdb": []}
    for run in range(runs + 1):
        for engine, ask in (("factum", lambda: server.sql(factum)), ("duckdb", lambda: connection.execute(other).fetchall())):
            started = time.monotonic()
            rows = ask()
            # The first run fills the caches of both.
            if run > 0:
                times[engine].append(time.monotonic() - started)
            else:
                times[engine + " rows"] = len(rows)
    assert times["factum rows"] == times["duckdb rows"], (name, times)
    own, other = statistics.median(times["factum"]), statistics.median(times["duckdb"])
    print(f"| {name} | {own * 1000:.0f} ms | {other * 1000:.0f} ms | {own / other:.2f} |", flush=True)
    return own / other


def log(server, rows, runs):
    """The same engine over the log alone."""
    times = []
    # Without the export nothing but the log is left to be read.
    urllib.request.urlopen(urllib.request.Request(f"{server.url}/v1/exports/bench?files=true", method="DELETE"))
    for _ in range(runs):
        started = time.monotonic()
        server.sql(LOG_QUERY)
        times.append(time.monotonic() - started)
    took = statistics.median(times)
    print(f"\n`{LOG_QUERY}`: {took:.2f} s, {rows / took:,.0f} events/s")


def postgres(options, server, rows, folder):
    """The same rows in a table of Postgres with the keys that an event store needs."""
    programs, place = pathlib.Path(options.postgres), folder / "postgres"
    place.mkdir()
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(place, "postgres")
        os.chmod(folder, 0o755)
    run = lambda *words, **more: subprocess.run([*as_user, *map(str, words)], check=True, stdout=subprocess.DEVNULL, **more)
    run(programs / "initdb", "-D", place / "data", "-A", "trust")
    start = f"-c listen_addresses= -c unix_socket_directories={place} -c fsync=off -c max_wal_size=8GB"
    run(programs / "pg_ctl", "-D", place / "data", "-o", start, "-w", "-l", place / "log", "start")
    try:
        psql = lambda query, **more: subprocess.run([*as_user, programs / "psql", "-h", place, "-d", "postgres", "-qAtc", query], check=True, **more)
        psql(
            "create table events (id uuid primary key, stream text not null, version bigint not null, type text not null, schema_version int not null, "
            "data jsonb, metadata jsonb, occurred_at timestamptz not null, recorded_at timestamptz not null, position bigint not null unique, unique (stream, version))"
        )
        query = "select id, stream, version, type, schema_version, data, metadata, occurred_at, recorded_at, position from events " f"where position <= {rows}"
        csv = subprocess.Popen([server.binary, "sql", "--format", "csv", query, "--url", server.url], stdout=subprocess.PIPE)
        psql("copy events from stdin with (format csv, header)", stdin=csv.stdout)
        sizes = psql("select pg_table_size('events'), pg_indexes_size('events')", stdout=subprocess.PIPE, text=True).stdout.strip().split("|")
        heap, index = (int(size) / rows for size in sizes)
        print(f"Postgres: {heap:.0f} heap + {index:.0f} index = {heap + index:.0f} bytes an event", flush=True)
    finally:
        run(programs / "pg_ctl", "-D", place / "data", "-m", "immediate", "stop")


if __name__ == "__main__":
    main()

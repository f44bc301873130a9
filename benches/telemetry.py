#!/usr/bin/env python3
"""What do authentication, measurements, the log and traces cost? Appends at 64 clients against servers that differ in nothing else, in turn.

    cargo build --release
    python3 benches/telemetry.py target/release/factum --rounds 10 --seconds 5

Starts one server for each way, on folders of their own, and lets `factum bench append` load them one after the other, round by round and in
another order each time, so that what else the machine does hits all of them alike. Prints the median of each, and of the ratios to the first
within a round: of appends a second, which the load has its part in, and of the processor time that the server takes for each append. Traces
go to a collector in this process that takes everything and keeps nothing; it runs on the same processors.

A request with a token is three times as long as one without. What that costs whoever sends it, and the server that reads it, is told apart
from what it costs to find out whose it is: one server without authentication is sent a token all the same.
"""

import argparse
import http.server
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import threading

# The level of the log is that of a server in use, unless it is to be silent.
OFF = {"FACTUM_TELEMETRY__METRICS": "false", "FACTUM_LOG": "off"}
ON = {"FACTUM_TELEMETRY__METRICS": "true", "FACTUM_LOG": "info"}
# The load brings a token of the client that stands in the settings.
SECRET = "a secret of the settings"
AUTH = {"FACTUM_AUTH__ENABLED": "true", "FACTUM_AUTH__BOOTSTRAP_CLIENT_ID": "root"}
UNASKED = "nothing, and a token that nobody looks at"


def ways(collector):
    # As JSON, so that spans can be counted without being parsed.
    traced = {**ON, "FACTUM_TELEMETRY__OTLP_ENDPOINT": collector, "FACTUM_TELEMETRY__OTLP_PROTOCOL": "http/json"}
    return {
        "nothing": OFF,
        UNASKED: OFF,
        "authentication": {**OFF, **AUTH},
        "measurements and log": ON,
        "and 1 % of traces": {**traced, "FACTUM_TELEMETRY__SAMPLE": "0.01"},
        "and all traces": {**traced, "FACTUM_TELEMETRY__SAMPLE": "1"},
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("factum", help="the binary, built with --release")
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument("--seconds", type=int, default=5, help="of load in each turn")
    arguments.add_argument("--clients", type=int, default=64)
    arguments.add_argument("--only", type=int, help="so many of the ways, from the first on [default: all]")
    arguments.add_argument("--folder", help="where data goes [default: a temporary folder, removed at the end]")
    options = arguments.parse_args()
    folder = pathlib.Path(options.folder or tempfile.mkdtemp(prefix="factum-bench-"))
    collector = Collector()
    servers = {}
    try:
        for number, (way, environment) in enumerate(list(ways(collector.url).items())[: options.only]):
            servers[way] = Server(options.factum, folder / str(number), environment)
        # A token of the same length, and of no use there.
        if "authentication" in servers:
            servers[UNASKED].environment = servers["authentication"].environment
        measured = {way: [] for way in servers}
        for number in range(options.rounds + 1):
            # The first round warms up, and does not count.
            for way in random.Random(number).sample(list(servers), len(servers)):
                turn = servers[way].load(options)
                if number > 0:
                    measured[way].append(turn)
        report(measured, collector.spans)
    finally:
        for server in servers.values():
            server.stop()
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)


def report(measured, spans):
    print("| | appends/s, median | of the first, median (from, to) | µs of the server an append, median | of the first, median (from, to) |")
    print("|---|---|---|---|---|")
    for way, turns in measured.items():
        rates, times = ([compared(turns, measured["nothing"], index) for index in (0, 1)])
        print(f"| {way} | {rates[0]:,.0f} | {rates[1]} | {times[0]:.1f} | {times[1]} |")
    print(f"\nspans that the collector took: {spans:,}")


def compared(turns, first, index):
    """The median, and in words how it compares with the first way within the same round."""
    ratios = [one[index] / other[index] for one, other in zip(turns, first)]
    words = f"{statistics.median(ratios):.1%} ({min(ratios):.0%} to {max(ratios):.0%})"
    return statistics.median(turn[index] for turn in turns), words


class Server:
    def __init__(self, factum, data, environment):
        is_guarded = "FACTUM_AUTH__ENABLED" in environment
        if is_guarded:
            secret = data.with_suffix(".secret")
            secret.write_text(SECRET)
            environment = {**environment, "FACTUM_AUTH__BOOTSTRAP_CLIENT_SECRET_FILE": str(secret)}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FACTUM_")}
        self.factum = factum
        self.process = subprocess.Popen(
            [factum, "serve", "--listen", "127.0.0.1:0", "--data", data],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**clean, **environment},
        )
        self.url = self.process.stdout.readline().strip().removeprefix("factum ready on ")
        if not self.url.startswith("http"):
            raise SystemExit(f"the server did not start: {self.url!r}")
        self.environment = {**clean, "FACTUM_TOKEN": self.token(clean)} if is_guarded else clean

    def token(self, clean):
        words = [self.factum, "token", "--client", "root", "--url", self.url]
        asked = subprocess.run(words, check=True, capture_output=True, text=True, env={**clean, "FACTUM_CLIENT_SECRET": SECRET})
        return asked.stdout.strip()

    def load(self, options):
        """Appends a second, and microseconds of processor time that the server took for each."""
        words = ["bench", "append", "--json", "--url", self.url, "--clients", str(options.clients), "--seconds", str(options.seconds)]
        before = self.processor_seconds()
        done = subprocess.run([self.factum, *words], check=True, capture_output=True, text=True, env=self.environment)
        took = self.processor_seconds() - before
        told = json.loads(done.stdout.splitlines()[-1])
        return told["events_per_second"], took / told["events"] * 1e6

    def processor_seconds(self):
        # Behind the name, which may hold anything but ends with the last parenthesis: utime and stime are the 14th and 15th of all.
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)


class Collector:
    def __init__(self):
        outer = self
        self.spans = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                # Counted, and not parsed: what a collector does is not ours to measure.
                outer.spans += body.count(b'"spanId"') - body.count(b'"links":[{')
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()


if __name__ == "__main__":
    main()

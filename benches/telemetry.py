#!/usr/bin/env python3
"""What do authentication, measurements, the log and traces cost? Appends at 64 clients against servers that differ in nothing else, in turn.

    cargo build --release
    python3 benches/telemetry.py target/release/factum --rounds 10 --seconds 5

Starts one server for each way, on folders of their own, and lets `factum bench append` load them one after the other, round by round and in
another order each time, so that what else the machine does hits all of them alike. Prints the median of each, and of the ratios to the first
within a round. Traces go to a collector in this process that takes everything and keeps nothing; it runs on the same processors.
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


def ways(collector):
    # As JSON, so that spans can be counted without being parsed.
    traced = {**ON, "FACTUM_TELEMETRY__OTLP_ENDPOINT": collector, "FACTUM_TELEMETRY__OTLP_PROTOCOL": "http/json"}
    return {
        "nothing": OFF,
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
    arguments.add_argument("--folder", help="where data goes [default: a temporary folder, removed at the end]")
    options = arguments.parse_args()
    folder = pathlib.Path(options.folder or tempfile.mkdtemp(prefix="factum-bench-"))
    collector = Collector()
    servers = {}
    try:
        for number, (way, environment) in enumerate(ways(collector.url).items()):
            servers[way] = Server(options.factum, folder / str(number), environment)
        rates = {way: [] for way in servers}
        for number in range(options.rounds + 1):
            # The first round warms up, and does not count.
            for way in random.Random(number).sample(list(servers), len(servers)):
                rate = servers[way].load(options)
                if number > 0:
                    rates[way].append(rate)
        report(rates, collector.spans)
    finally:
        for server in servers.values():
            server.stop()
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)


def report(rates, spans):
    base = rates["nothing"]
    print("| | appends/s, median | of the first, median | from | to |\n|---|---|---|---|---|")
    for way, measured in rates.items():
        ratios = [one / other for one, other in zip(measured, base)]
        middle = statistics.median(ratios)
        print(f"| {way} | {statistics.median(measured):,.0f} | {middle:.1%} | {min(ratios):.1%} | {max(ratios):.1%} |")
    print(f"\nspans that the collector took: {spans:,}")


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
        """Appends a second."""
        words = ["bench", "append", "--json", "--url", self.url, "--clients", str(options.clients), "--seconds", str(options.seconds)]
        done = subprocess.run([self.factum, *words], check=True, capture_output=True, text=True, env=self.environment)
        return json.loads(done.stdout.splitlines()[-1])["events_per_second"]

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

"""A collector of others: takes OTLP over HTTP and gRPC, and reads it with the messages that OpenTelemetry itself publishes.

Its first line says where it listens. Each further line is a request: how it came, what it was of, and the message as JSON.
"""

import base64
import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

REQUESTS = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
}
IDS = ("traceId", "spanId", "parentSpanId")
lock = threading.Lock()


def with_ids(value, turn):
    """OTLP writes ids in JSON as hexadecimal digits, where protobuf's own JSON has base64."""
    if isinstance(value, dict):
        return {key: turn(inner) if key in IDS else with_ids(inner, turn) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_ids(inner, turn) for inner in value]
    return value


def to_base64(digits):
    return base64.b64encode(bytes.fromhex(digits)).decode()


def to_hex(text):
    return base64.b64decode(text).hex()


def say(line):
    with lock:
        print(json.dumps(line), flush=True)


def took(transport, signal, message):
    document = json_format.MessageToDict(message)
    say({"transport": transport, "signal": signal, "message": with_ids(document, to_hex)})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        signal = self.path.removeprefix("/v1/")
        try:
            message = REQUESTS[signal]()
            kind = self.headers["content-type"]
            if kind == "application/x-protobuf":
                message.ParseFromString(body)
            elif kind == "application/json":
                json_format.ParseDict(with_ids(json.loads(body), to_base64), message)
            else:
                raise ValueError(f"content-type {kind}")
            took({"application/x-protobuf": "http/protobuf", "application/json": "http/json"}[kind], signal, message)
            status = 200
        except Exception as error:
            say({"error": repr(error), "path": self.path, "body": body.hex()})
            status = 400
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def servicer(base, signal, response):
    class Servicer(base):
        def Export(self, request, context):
            took("grpc", signal, request)
            return response()

    return Servicer()


def main():
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(
        servicer(trace_service_pb2_grpc.TraceServiceServicer, "traces", trace_service_pb2.ExportTraceServiceResponse), server
    )
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(
        servicer(metrics_service_pb2_grpc.MetricsServiceServicer, "metrics", metrics_service_pb2.ExportMetricsServiceResponse), server
    )
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(
        servicer(logs_service_pb2_grpc.LogsServiceServicer, "logs", logs_service_pb2.ExportLogsServiceResponse), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say({"http": http.server_address[1], "grpc": port})
    # It ends with the test: then nobody holds its stdin open.
    sys.stdin.read()
    server.stop(None)


main()

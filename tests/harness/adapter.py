"""Lets PostHog's SDK test harness (github.com/PostHog/posthog-sdk-test-harness) drive the real program.

The harness captures single events; this program sends sessions. So each captured event becomes a turn of a session, and `flush`
sends that session with `posthog-llma send`. The harness's server knows `/i/v1/analytics/events`; what is meant for
`/i/v1/ai/events` is handed on to it, since both have the same contract. `--lane` says which routes the server is to have.

    python3 adapter.py --program target/debug/posthog-llma --lane v1 --port 8080
    posthog-test-harness run --adapter-url http://localhost:8080 --sdk-type server
"""

import argparse
import gzip
import json
import os
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROUTES = {
    "v1": {"/i/v1/ai/events": "/i/v1/analytics/events"},
    "ai": {"/i/v0/ai/batch/": "/i/v0/ai/batch/"},
    "batch": {"/batch/": "/batch/"},
}
CAPABILITIES = {"v1": ["capture_v1", "encoding_gzip"], "ai": ["capture_ai_v0"], "batch": ["capture_v0", "encoding_gzip"]}


class Adapter:
    def __init__(self, program, lane):
        self.program, self.lane, self.lock = program, lane, threading.Lock()
        self.reset()

    def reset(self):
        with self.lock:
            self.settings, self.pending = {}, []
            self.captured = self.sent = self.retries = 0
            self.error, self.requests = None, []
            self.home = tempfile.TemporaryDirectory()
            # Each session has a home of its own; the compiled code in the cache is for all. A key has 32 bytes.
            key = os.path.join(self.home.name, ".config/posthog-llma/code.key")
            os.makedirs(os.path.dirname(key))
            with open(key, "w") as file:
                file.write("the compiled code of the harness")

    # A session whose turns are the captured events.

    def transcript(self):
        path = os.path.join(self.home.name, f"{len(self.requests):08}-0000-4000-8000-000000000000.jsonl")
        # A trace is an event, too: of several events it is the last one.
        turns = self.pending if len(self.pending) == 1 else self.pending[:-1]
        with open(path, "w") as file:
            for number, event in enumerate(turns):
                at = event.get("timestamp") or datetime.now(timezone.utc).isoformat()
                at = datetime.fromisoformat(at.replace("Z", "+00:00")).astimezone(timezone.utc).isoformat(timespec="milliseconds")
                at = at.replace("+00:00", "Z")
                key = f"{self.captured:04}{number:04}"
                common = {"timestamp": at, "version": "2.1.330"}
                prompt = {"role": "user", "content": event.get("event", "")}
                answer = {"id": f"msg_01{key:0>20}", "role": "assistant", "model": "claude-opus-5-5", "stop_reason": "end_turn",
                          "content": [{"type": "text", "text": "answer"}], "usage": {"input_tokens": 1, "output_tokens": 1}}
                for kind, message in (("user", prompt), ("assistant", answer)):
                    line = {"type": kind, "uuid": f"{key}-{kind}", "promptId": key, "message": message, **common}
                    file.write(json.dumps(line) + "\n")
        return path

    def environment(self):
        first = self.pending[0]
        environment = {
            "HOME": self.home.name, "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1",
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", os.path.join(tempfile.gettempdir(), "harness-cache")),
            "POSTHOG_API_KEY": self.settings.get("api_key", "phc_test_key"), "POSTHOG_HOST": self.own_origin,
            "POSTHOG_LLMA_DISTINCT_ID": first.get("distinct_id", ""),
        }
        if first.get("properties"):
            environment["POSTHOG_LLMA_CUSTOM_PROPERTIES"] = json.dumps(first["properties"])
        return {name: value for name, value in environment.items() if value}

    def capture(self, event):
        self.pending.append(event)
        self.captured += 1
        converted = subprocess.run([self.program, "convert", self.transcript()], env=self.environment(), capture_output=True, text=True)
        events = [json.loads(line) for line in converted.stdout.splitlines()]
        if not events:
            return {"success": False, "error": converted.stderr}
        return {"success": True, "uuid": events[max(len(events) - 2, 0)]["uuid"]}

    def flush(self):
        if not self.pending:
            return {"success": True, "events_flushed": 0}
        retries = str(self.settings.get("max_retries", 3))
        command = [self.program, "send", self.transcript(), "--json", "--retries", retries]
        sent = subprocess.run(command, env=self.environment(), capture_output=True, text=True)
        report = json.loads(sent.stdout or "{}")
        self.error = report.get("error") or (sent.stderr.strip() or None)
        count = sum(report.get(kind, 0) for kind in ("generations", "spans", "traces"))
        self.sent += count
        self.pending = []
        return {"success": True, "events_flushed": count}

    # What the program sends is handed on to the harness's server, on the routes that it is to have.

    def hand_on(self, path, headers, body):
        route = ROUTES[self.lane].get(path)
        if route is None:
            return 404, {}, b""
        headers = {name: value for name, value in headers.items() if name.lower() not in ("host", "connection")}
        request = urllib.request.Request(self.settings["host"].rstrip("/") + route, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request) as answer:
                status, said, text = answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            status, said, text = error.code, dict(error.headers), error.read()
        batch = json.loads(gzip.decompress(body))["batch"]
        attempt = int(headers.get("posthog-attempt", 0)) - 1 if self.lane == "v1" else sum(
            1 for earlier in self.requests if earlier["uuid_list"] == [event["uuid"] for event in batch])
        self.retries += attempt > 0
        self.requests.append({"timestamp_ms": int(time.time() * 1000), "status_code": status, "retry_attempt": attempt,
                              "event_count": len(batch), "uuid_list": [event["uuid"] for event in batch]})
        kept = {name: value for name, value in said.items() if name.lower() in ("content-type", "retry-after")}
        return status, kept, text

    def state(self):
        return {"pending_events": len(self.pending), "total_events_captured": self.captured, "total_events_sent": self.sent,
                "total_retries": self.retries, "last_error": self.error, "requests_made": self.requests}


def handler(adapter):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, status, headers, body):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def say(self, value, status=200):
            self.answer(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

        def do_GET(self):
            if self.path.startswith("/health"):
                self.say({"sdk_name": "posthog-llma", "sdk_version": "0.1.0", "adapter_version": "1.0.0",
                          "capabilities": CAPABILITIES[adapter.lane]})
            else:
                self.say(adapter.state())

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.split("?")[0]
            if path.startswith(("/i/", "/batch")):
                return self.answer(*adapter.hand_on(path, self.headers, body))
            said = json.loads(body or "{}")
            if path == "/init":
                adapter.reset()
                adapter.settings = said
                return self.say({"success": True})
            if path in ("/capture", "/capture_ai"):
                return self.say(adapter.capture(said))
            if path == "/flush":
                return self.say(adapter.flush())
            if path == "/reset":
                adapter.reset()
                return self.say({"success": True})
            return self.say({"success": False, "error": "it evaluates no flags"}, 404)

    return Handler


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", required=True)
    arguments.add_argument("--lane", choices=ROUTES, default="v1")
    arguments.add_argument("--port", type=int, default=8080)
    arguments = arguments.parse_args()
    adapter = Adapter(os.path.abspath(arguments.program), arguments.lane)
    adapter.own_origin = f"http://127.0.0.1:{arguments.port}"
    ThreadingHTTPServer(("127.0.0.1", arguments.port), handler(adapter)).serve_forever()


if __name__ == "__main__":
    main()

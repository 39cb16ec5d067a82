"""Everything at once against `chiasm serve`: accepted traffic beyond its capacity, and bad requests.

    python mixed.py CHIASM RUN [SECONDS [ARGUMENT ...]]

CHIASM is the program and RUN a run with a modality `text`; 600 seconds when not given. Further arguments are
those of `chiasm serve`. Needs the standard library and Linux. First ten seconds with two connections measure
the rate. Then so many connections send valid requests that the queue is always full, while others send requests
that must be refused: broken JSON, another media type, wrong types, unknown models, bodies that are too large,
bodies that never arrive, and bytes that are no HTTP. At the end SIGTERM comes while requests are under way.
Prints statuses by kind, quantiles, processor time and the largest memory.
"""

import collections
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

WORDS = "red blue green small large tiny circle square ring star above below left right".split()
#: What each kind of bad request must be answered with.
EXPECTED = {
    "broken JSON": {400},
    "media type": {415},
    "wrong type": {400},
    "no such model": {404},
    "no such route": {404},
    "wrong method": {405},
    "too many items": {400, 413},
    "too large": {413},
    "slow body": {408},
    "no HTTP": {400, None},
}


class Server:
    """The server under test, and what it took."""

    def __init__(self, program, run, more):
        command = [program, "serve", f"run={run}", "--port", "0", "--timeout", "10", "--max-queue", "256"]
        self.process = subprocess.Popen(
            [*command, "--max-body", "1", "--allow-changed", *more], stdout=subprocess.PIPE, text=True
        )
        for line in self.process.stdout:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found[1])
                break
        else:
            raise SystemExit("the server did not start")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def memory(self):
        """Returns the memory in use and the largest so far, in MiB."""
        with open(f"/proc/{self.process.pid}/status") as file:
            status = dict(line.split(":", 1) for line in file)
        return [int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")]

    def seconds(self):
        """Returns the processor time so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def embeddings(texts, model="run"):
    return json.dumps({"model": model, "input": texts, "encoding_format": "base64"})


def text(rng):
    return " ".join(rng.choices(WORDS, k=5))


def post(connection, body, path="/v1/embeddings", kind="application/json", method="POST"):
    connection.request(method, path, body, {"Content-Type": kind})
    answer = connection.getresponse()
    answer.read()
    return answer.status


class Load:
    """Threads that send requests until `end`."""

    def __init__(self, port, seconds):
        self.port, self.end = port, time.monotonic() + seconds
        self.lock = threading.Lock()
        self.statuses = collections.defaultdict(collections.Counter)
        self.times, self.texts, self.failures = [], 0, []

    def run(self, valid, bad, items):
        threads = [threading.Thread(target=self.valid, args=(at, items)) for at in range(valid)]
        threads += [threading.Thread(target=self.bad, args=(at,)) for at in range(bad)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.times.sort()
        return self

    def quantile(self, share):
        return self.times[min(int(share * len(self.times)), len(self.times) - 1)] * 1e3

    def valid(self, seed, items):
        rng = random.Random(seed)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while time.monotonic() < self.end:
            count = rng.choice(items)
            body = embeddings([text(rng) for _ in range(count)])
            began = time.monotonic()
            try:
                status = post(connection, body)
            except (OSError, http.client.HTTPException) as error:
                with self.lock:
                    self.failures.append(repr(error))
                connection.close()
                continue
            with self.lock:
                self.statuses["valid"][status] += 1
                if status == 200:
                    self.times.append(time.monotonic() - began)
                    self.texts += count
            if status == 429:
                time.sleep(0.02)

    def bad(self, seed):
        rng = random.Random(seed)
        kinds = list(EXPECTED)
        while time.monotonic() < self.end:
            kind = rng.choice(kinds)
            status = refused(self.port, kind, rng)
            with self.lock:
                self.statuses[kind][status] += 1
                if status not in EXPECTED[kind] | {429, 503}:
                    self.failures.append(f"{kind}: {status}")
            time.sleep(0.05)


def refused(port, kind, rng):
    """Sends a bad request. Returns the status, or None if the connection was closed without one."""
    if kind in ("slow body", "no HTTP"):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
            head = "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            sent = f'{head}Content-Length: 100\r\n\r\n{{"model"'.encode()
            try:
                raw.sendall(sent if kind == "slow body" else rng.randbytes(100) + b"\r\n\r\n")
                answer = raw.recv(100)
            except ConnectionError:
                return None
            return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    good = embeddings([text(rng)])
    arguments = {
        "broken JSON": (good[: rng.randrange(1, len(good) - 1)],),
        "media type": (good, "/v1/embeddings", "text/plain"),
        "wrong type": (json.dumps({"model": "run", "input": rng.choice([3, {"a": 1}, [[None]]])}),),
        "no such model": (embeddings(["a"], "nobody"),),
        "no such route": (good, "/v2/nothing"),
        "wrong method": (None, "/v1/embeddings", "application/json", "DELETE"),
        "too many items": (embeddings(["a"] * 5000),),
        "too large": (embeddings(["a" * (2 << 20)]),),
    }[kind]
    try:
        return post(connection, *arguments)
    except ConnectionError:
        # the server may close a connection whose body it will not read
        return 413 if kind == "too large" else None
    finally:
        connection.close()


def main():
    program, run = sys.argv[1:3]
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 600
    server = Server(program, run, sys.argv[4:])
    load = Load(server.port, min(10, seconds)).run(2, 0, [32])
    print(f"two connections, 32 texts each: {load.texts / min(10, seconds):.0f} texts/s")
    start, used = server.memory()[0], server.seconds()
    load = Load(server.port, seconds).run(48, 4, [1, 8, 32])
    used = server.seconds() - used
    print(
        f"{seconds:.0f} s of mixed load: {load.texts / seconds:.0f} texts/s, "
        f"{load.texts / used:.0f} per second of the server's processor time; "
        f"p50 {load.quantile(0.5):.0f} ms, p99 {load.quantile(0.99):.0f} ms of the accepted"
    )
    for kind, counts in load.statuses.items():
        print(f"  {kind}: {dict(counts)}")
    print(f"failures: {collections.Counter(load.failures)}")
    print("memory before, after and largest: {:.0f}, {:.0f} and {:.0f} MiB".format(start, *server.memory()))
    last = Load(server.port, 3)
    thread = threading.Thread(target=last.run, args=(8, 0, [32]))
    thread.start()
    time.sleep(1)
    server.process.send_signal(signal.SIGTERM)
    print(f"SIGTERM: code {server.process.wait(30)}; answers around it {dict(last.statuses['valid'])}")
    thread.join()


if __name__ == "__main__":
    main()

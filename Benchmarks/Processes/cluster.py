"""cluster.py BIN WORK PART…: measures a cluster of real processes; prints rows of a markdown table.

The parts are applied, failover and memory; see ../cluster.
"""
import os
import sys
import threading
import time

from processes import Caller, Cluster, Forwarder, answer_of, free_ports, in_threads

BIN, WORK = sys.argv[1], sys.argv[2]
WORKERS = int(os.environ.get("WORKERS", 20))
ROUNDS = int(os.environ.get("ROUNDS", 200))
DEVICES = int(os.environ.get("DEVICES", 10000))
CLIENTS = 16


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def row(what, figures):
    print(f"| {what} | {figures} |", flush=True)


def milliseconds(values):
    return (
        f"p50 {percentile(values, 0.5) * 1000:.1f} ms, p99 {percentile(values, 0.99) * 1000:.1f} ms "
        f"({len(values)} samples)"
    )


class Waiter(threading.Thread):
    """A device in a long poll at one worker: it notes when it is handed an operation."""

    def __init__(self, port, credential):
        super().__init__(daemon=True)
        self.caller = Caller(port, credential)
        self.seen = {}
        self.is_over = False
        self.start()

    def run(self):
        results = []
        while not self.is_over:
            body = {"results": results} if results else {"wait": 20}
            answer = self.caller.call("POST", "/device/v1/exchange", body)
            now = time.monotonic()
            results = [answer_of(one) for one in answer["operations"]]
            for one in answer["operations"]:
                self.seen.setdefault(one["code"], now)


def applied():
    """From the call that publishes a revision until a device that waits at a worker is handed it."""
    cluster = Cluster(BIN, f"{WORK}/applied", WORKERS)
    try:
        cluster.start_manager()
        cluster.start_workers()
        admin = cluster.admin()
        waiters = []
        for index, port in enumerate(cluster.worker_ports):
            credential = cluster.enrol(Caller(port), f"device-{index}", "all")
            waiters.append(Waiter(port, credential))
        time.sleep(3)
        each, last = [], []
        for number in range(ROUNDS):
            code = f"round-{number}"
            began = time.monotonic()
            cluster.enqueue(admin, code, {"group": "all"})
            end = began + 60
            while not all(code in one.seen for one in waiters) and time.monotonic() < end:
                time.sleep(0.005)
            times = [one.seen[code] - began for one in waiters]
            each += times
            last.append(max(times))
            time.sleep(0.2)  # the answers are in, and every device waits again
        for one in waiters:
            one.is_over = True
        row(f"revision published → applied, on each of {WORKERS} workers", milliseconds(each))
        row(f"revision published → applied on all {WORKERS}", milliseconds(last))
    finally:
        cluster.stop()


def failover():
    """One of the manager's two addresses goes away with its connections; what is published at that moment
    comes by the other."""
    ports = free_ports(2)
    cluster = Cluster(
        BIN, f"{WORK}/failover", 1, managers=[f"http://127.0.0.1:{port}" for port in ports]
    )
    forwarders = [Forwarder(port, cluster.manager_port) for port in ports]
    try:
        cluster.start_manager()
        cluster.start_workers()
        admin = cluster.admin()
        credential = cluster.enrol(Caller(cluster.worker_ports[0]), "device", "all")
        waiter = Waiter(cluster.worker_ports[0], credential)
        time.sleep(3)
        times = []
        for number in range(min(ROUNDS, 30)):
            used = max(forwarders, key=lambda one: one.connections)
            code = f"round-{number}"
            began = time.monotonic()
            used.cut()
            cluster.enqueue(admin, code, {"group": "all"})
            while code not in waiter.seen and time.monotonic() < began + 60:
                time.sleep(0.002)
            times.append(waiter.seen[code] - began)
            used.open()
            time.sleep(1)
        waiter.is_over = True
        row("a manager's address goes away → work comes by the other", milliseconds(times))
    finally:
        cluster.stop()


def load(cluster, port):
    """Every device enrols, is handed three operations and reports them."""
    credentials = [None] * DEVICES

    def enrol(client):
        caller = Caller(port)
        for index in range(client, DEVICES, CLIENTS):
            credentials[index] = cluster.enrol(caller, f"device-{index:05}", "all")

    in_threads(CLIENTS, enrol)
    admin = cluster.admin()
    for number in range(3):
        cluster.enqueue(admin, f"load-{number}", {"group": "all"})
    time.sleep(3)
    answered = [0] * CLIENTS

    def exchange(client):
        caller = Caller(port)
        for index in range(client, DEVICES, CLIENTS):
            results = []
            while True:
                answer = caller.call(
                    "POST", "/device/v1/exchange", {"results": results}, token=credentials[index]
                )
                answered[client] += len(results)
                results = [answer_of(one) for one in answer["operations"]]
                if not results:
                    break

    in_threads(CLIENTS, exchange)
    if sum(answered) != 3 * DEVICES:
        raise RuntimeError(f"{sum(answered)} results instead of {3 * DEVICES}")
    return admin


def watched(cluster, body):
    """The largest anonymous memory of each process while body runs, and what it holds 15 s later."""
    peak = {}
    is_over = threading.Event()

    def watch():
        while not is_over.wait(0.2):
            for name in cluster.processes:
                peak[name] = max(peak.get(name, 0), cluster.memory(name))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    body()
    time.sleep(15)
    is_over.set()
    watcher.join()
    return {name: (peak[name], cluster.memory(name)) for name in cluster.processes}


def memory():
    """Anonymous memory with the same devices and the same load."""
    two = Cluster(BIN, f"{WORK}/memory", 1)
    try:
        two.start_manager()
        two.start_workers()
        idle = {name: two.memory(name) for name in two.processes}
        found = watched(two, lambda: load(two, two.worker_ports[0]))
    finally:
        two.stop()
    for name in ("worker-1", "manager-1"):
        row(
            f"anonymous memory of {name}, {DEVICES} devices through the worker",
            f"empty {idle[name]:.1f} MB, at most {found[name][0]:.1f} MB, after it {found[name][1]:.1f} MB",
        )
    one = Cluster(BIN, f"{WORK}/memory-combined", 0, combined=True)
    try:
        one.start_manager()
        combined = watched(one, lambda: load(one, one.gateway_port))["manager-1"]
    finally:
        one.stop()
    row(
        f"anonymous memory of a manager that serves {DEVICES} devices itself",
        f"at most {combined[0]:.1f} MB, after it {combined[1]:.1f} MB",
    )
    worker = found["worker-1"]
    for what, other in (("manager of its cluster", found["manager-1"]), ("manager that serves", combined)):
        row(
            f"worker / {what} (wanted: 0.6)",
            f"at most {worker[0] / other[0]:.2f}, after it {worker[1] / other[1]:.2f}",
        )


for part in sys.argv[3:]:
    {"applied": applied, "failover": failover, "memory": memory}[part]()

"""Real nodes on loopback, and calls to them: what cluster.py measures with."""
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Caller:
    """One kept connection: a caller that repeats a call whose connection was lost."""

    def __init__(self, port, token=None, timeout=60):
        self.port, self.token, self.timeout = port, token, timeout
        self.connection = None

    def call(self, method, path, body=None, key=None, token=None):
        headers = {"Content-Type": "application/json"}
        if token or self.token:
            headers["Authorization"] = "Bearer " + (token or self.token)
        if key:
            headers["Idempotency-Key"] = key
        for attempt in range(4):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection(
                        "127.0.0.1", self.port, timeout=self.timeout
                    )
                data = None if body is None else json.dumps(body)
                self.connection.request(method, path, data, headers)
                answer = self.connection.getresponse()
                content = answer.read()
                if answer.status == 503 and attempt < 3:
                    time.sleep(0.3)
                    continue
                if answer.status >= 300:
                    raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]}")
                return json.loads(content) if content else None
            except (OSError, http.client.HTTPException):
                self.connection = None
                if attempt == 3:
                    raise


class Cluster:
    """A manager, or a combined node, and workers, each a process with a directory of its own."""

    def __init__(self, bin_directory, work, workers, combined=False, managers=None):
        self.bin = bin_directory
        self.work = os.path.abspath(work)
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.work)
        ports = free_ports(workers + 2)
        self.manager_port, self.gateway_port, self.worker_ports = ports[0], ports[1], ports[2:]
        self.token = secrets.token_hex(16)
        self.secret = secrets.token_hex(16)
        self.worker_tokens = [secrets.token_hex(16) for _ in range(workers)]
        self.combined = combined
        self.managers = managers or [f"http://127.0.0.1:{self.manager_port}"]
        self.processes = {}

    def start_manager(self):
        settings = {
            "node": {"id": "manager-1", "directory": f"{self.work}/manager-1"},
            "listen": {"port": self.manager_port},
            "admin": {"token": self.token},
            "enrolment": {"secret": self.secret},
            "polling": {"frequency": 60},
            "link": {"tokens": [f"worker-{i + 1}={t}" for i, t in enumerate(self.worker_tokens)]},
            "publish": {"roots": [self.work]},
        }
        if self.combined:
            settings.update(
                profile="combined", gateway={"port": self.gateway_port}, exchange={"perMinute": 0}
            )
        self._start("manager-1", [f"{self.bin}/reeve", "manager"], settings)
        self._ready(self.manager_port)

    def start_workers(self, channels=()):
        with open(f"{self.work}/manager-1/signing-key.pub") as file:
            key = file.read().strip()
        for index, port in enumerate(self.worker_ports):
            name = f"worker-{index + 1}"
            settings = {
                "node": {"id": name, "directory": f"{self.work}/{name}"},
                "listen": {"port": port},
                "link": {"managers": self.managers, "token": self.worker_tokens[index]},
                "trust": {"keys": [key]},
                "channels": list(channels),
                "polling": {"frequency": 60},
                "exchange": {"perMinute": 0},
            }
            self._start(name, [f"{self.bin}/reeve-worker"], settings)
        for port in self.worker_ports:
            self._ready(port)

    def _start(self, name, command, settings):
        path = f"{self.work}/{name}.json"
        with open(path, "w") as file:
            json.dump(settings, file)
        with open(f"{self.work}/{name}.log", "a") as log:
            self.processes[name] = subprocess.Popen(
                command + ["--config", path, "--exit-with-parent"], stdout=log, stderr=log
            )

    def _ready(self, port):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                return Caller(port, timeout=5).call("GET", "/readyz")
            except Exception:
                time.sleep(0.1)
        raise RuntimeError(f"nobody is ready at {port}; see {self.work}")

    def admin(self):
        return Caller(self.manager_port, self.token)

    def enqueue(self, admin, code, target):
        return admin.call(
            "POST", "/admin/v1/operations", {"target": target, "code": code, "wake": "none"}, key=code
        )

    def enrol(self, caller, device, group):
        body = {"device": device, "secret": self.secret, "groups": [group]}
        return caller.call("POST", "/device/v1/enrolments", body, key=f"enrol-{device}")["credential"]

    def memory(self, name, field="RssAnon"):
        """MB of a process, as the kernel counts them."""
        with open(f"/proc/{self.processes[name].pid}/status") as file:
            for line in file:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) / 1024
        return 0.0

    def stop(self):
        for process in reversed(list(self.processes.values())):
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answer_of(operation):
    return {
        "execution": operation["execution"],
        "attempt": operation["attempt"],
        "status": "completed",
    }


def in_threads(count, body):
    """Calls body(0) … body(count - 1) at once and returns when all have."""
    failures = []

    def guarded(index):
        try:
            body(index)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Forwarder:
    """A second address of the manager, which can be taken away with all its connections."""

    def __init__(self, port, to):
        self.port, self.to = port, to
        self.sockets = []
        self.lock = threading.Lock()
        self.listener = None
        self.open()

    def open(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    @property
    def connections(self):
        with self.lock:
            return len(self.sockets)

    def cut(self):
        # A socket that somebody waits on is freed only after a shutdown.
        for one in [self.listener] + self.sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
        with self.lock:
            self.sockets = []

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                near.close()
                continue
            with self.lock:
                self.sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            one.close()
            with self.lock:
                if one in self.sockets:
                    self.sockets.remove(one)

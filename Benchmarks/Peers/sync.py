#!/usr/bin/env python3
"""sync.py REEVE DATA WORK ROUNDS CORPUS...: publishes and synchronizes each corpus with ReeveSync and
prints a table. Bytes are what the loopback interface counted, headers and both directions.
sync.py --peers FILE: prints what another bench.py measured."""
import json, os, shutil, statistics, subprocess, sys


def loopback():
    for line in open("/proc/net/dev"):
        if line.strip().startswith("lo:"):
            return int(line.split(":")[1].split()[0])


class Part:
    """A process that takes a command a line and answers with one JSON object."""

    def __init__(self, *command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("the process ended: " + " ".join(self.process.args))
        return json.loads(line)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.hear()

    def end(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait()


def same(left, right):
    return subprocess.run(["diff", "-rq", "--no-dereference", left, right],
                          capture_output=True).returncode == 0


def run(reeve, data, work, corpus):
    base = f"{work}/run"
    shutil.rmtree(base, ignore_errors=True)
    os.makedirs(base)
    manager = Part(reeve, "manager", base + "/manager", "8066")
    key = manager.hear()["key"]
    worker = Part(reeve, "worker", "http://127.0.0.1:8066", base + "/worker")
    worker.ask("trust " + key)
    steps = {}

    def sync(name, version):
        served = manager.ask("usage")["total"]
        before = loopback()
        step = worker.ask("sync")
        usage = manager.ask("usage")
        step["net"] = loopback() - before
        step["served"] = usage["total"] - served
        if not step["applied"]:
            sys.exit(f"{corpus} {name}: {step}")
        if version and not same(f"{data}/{corpus}-{version}", base + "/worker/current/"):
            sys.exit(f"{corpus} {name}: the trees differ")
        steps[name] = step

    steps["publish v1"] = manager.ask(f"publish {data}/{corpus}-v1")
    sync("first", "v1")
    steps["publish v2"] = manager.ask(f"publish {data}/{corpus}-v2")
    sync("update", "v2")
    sync("nothing new", None)
    steps["publish same"] = manager.ask(f"publish {data}/{corpus}-v2")
    steps["publish rollback"] = manager.ask("rollback 1")
    sync("rollback", "v1")
    held = manager.ask("hold")
    for place, name in (("/", "50 at once, from disk"), ("/memory", "50 at once, from memory")) * 2:
        served = manager.ask("usage")["total"]
        load = worker.ask(f"load {held['object']} {place} 50")
        load["served"] = manager.ask("usage")["total"] - served
        steps[name] = load
    worker.end()
    manager.end()
    return steps


def tar(path):
    command = f"tar -C {path} --sort=name -cf - . | zstd -q -3 | wc -c"
    return int(subprocess.run(command, shell=True, capture_output=True).stdout)


def number(value, digits=3):
    return f"{value:,.{digits}f}" if isinstance(value, float) else f"{value:,}"


def main(reeve, data, work, rounds, corpora):
    print("| corpus | step | bytes on loopback | worker CPU s | manager CPU s | seconds "
          "| peak MB of the one that works |")
    print("|--|--|--|--|--|--|--|")
    for corpus in corpora:
        runs = [run(reeve, data, work, corpus) for _ in range(rounds)]
        for name in runs[0]:
            def median(key):
                return statistics.median(r[name].get(key, 0) for r in runs)
            if name.startswith("publish"):
                note = f"bundles {number(median('full'), 0)}"
                if median("update"):
                    note += f" and {number(median('update'), 0)}"
                row = [note, "", number(median("cpu"))]
            elif name.startswith("50"):
                row = [number(int(median("received"))), number(median("cpu")),
                       number(median("served"))]
            else:
                row = [number(int(median("net"))), number(median("cpu")),
                       number(median("served"))]
            print("|", " | ".join([corpus, name, *row, number(median("wall")),
                                   number(median("peak"), 1)]), "|", flush=True)
        print(f"| {corpus} | tar, zstd -3 | {number(tar(f'{data}/{corpus}-v1'))} | | | | |")


def peers(path):
    records = [json.loads(line) for line in open(path)]
    print("\n| corpus | contender | step | bytes on loopback | worker CPU s | server CPU s |")
    print("|--|--|--|--|--|--|")
    for key in dict.fromkeys((r["corpus"], r["contender"]) for r in records):
        mine = [r for r in records if (r["corpus"], r["contender"]) == key]
        for step in ("FIRST", "DELTA", "NOOP"):
            found = [r[step] for r in mine if step in r]
            if found:
                values = [statistics.median(f[k] for f in found) for k in ("net", "ccpu", "scpu")]
                print("|", " | ".join([*key, step, number(int(values[0])), number(values[1]),
                                       number(values[2])]), "|")


if sys.argv[1] == "--peers":
    peers(sys.argv[2])
else:
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:])

"""table.py RAW: medians over the rounds, and ratios to the limit program's line of the same workload.

The ratio by rate is ours / limit in operations a second, the ratio by CPU is limit / ours in processor
time an operation: 1 is as good as the limit, more is better. Processor time depends far less on what
else the machine does; the rates of what waits for the disk depend on the disk.
"""
import statistics
import sys

FIELDS = 8
rows = {}
for line in open(sys.argv[1], encoding="utf-8"):
    fields = line.rstrip("\n").split("\t")
    if len(fields) < FIELDS:
        continue
    contender, workload, _, _, rate, processor, peak, note = fields[:FIELDS]
    rows.setdefault((workload, contender), []).append(
        (float(rate), float(processor), float(peak), note)
    )


def median(key, index):
    return statistics.median(row[index] for row in rows[key])


def limit_of(workload):
    return next((k for k in [(workload, "limit")] if k in rows), None)


print("| workload | contender | rounds | operations/s | CPU µs each | ratio by rate | ratio by CPU | peak MB | note |")
print("|--|--|--|--|--|--|--|--|--|")
for key in sorted(rows):
    workload, contender = key
    limit = limit_of(workload)
    rate, processor = median(key, 0), median(key, 1)
    ratios = ["–", "–"]
    if limit and limit != key and processor > 0:
        ratios = [
            f"{rate / median(limit, 0):.2f}",
            f"{median(limit, 1) / processor:.2f}",
        ]
    cells = [
        workload, contender, str(len(rows[key])), f"{rate:,.0f}", f"{processor:,.1f}",
        *ratios, f"{median(key, 2):.0f}", rows[key][-1][3],
    ]
    print("| " + " | ".join(cells) + " |")

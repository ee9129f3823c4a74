"""Scripts/peers io: each disk backend of Strata against fio with the same pattern, depth and sync, in alternation.

Every row is one process of each per round. A ratio of 1 means that the backend costs nothing over fio's own loop; what is
left of a ratio below 0.9 is ours to find.
"""
import json
import os
import re
import shutil
import statistics
import subprocess
import sys

FILE_BYTES = 512 << 20
LINE = re.compile(r"^(\w+)\s*:\s+([\d.]+) micros/op (\d+) ops/sec")
MUST = 0.9


def rows():
    """-> [(name, fio's options, LoadGen disk's options)]."""
    found = []
    for direct in (False, True):
        cache = "direct" if direct else "buffered"
        ours = ["--direct"] if direct else []
        read = ["--rw=randread", "--norandommap", f"--direct={int(direct)}"]
        found.append((f"{cache} random read QD1, posix", read + ["--ioengine=psync"], ["randread", "--io=posix"] + ours))
        found.append((f"{cache} random read QD32, uring", read + ["--ioengine=io_uring", "--iodepth=32"],
                      ["randread", "--io=uring", "--depth=32"] + ours))
    for state, layout in (("growing", ["--fallocate=none"]), ("preallocated", ["--fallocate=posix"]),
                          ("recycled", ["--overwrite=1"])):
        for io, engine in (("posix", "psync"), ("uring", "io_uring")):
            alone = ["--ring-alone"] if io == "uring" else []
            found.append((f"buffered append + fdatasync, {state}, {io}",
                          ["--rw=write", "--fdatasync=1", f"--ioengine={engine}"] + layout,
                          ["append", f"--file={state}", f"--io={io}"] + alone))
    for io, engine in (("posix", "psync"), ("uring", "io_uring")):
        alone = ["--ring-alone"] if io == "uring" else []
        found.append((f"direct append, durable writes, recycled, {io}",
                      ["--rw=write", "--sync=dsync", "--direct=1", "--overwrite=1", f"--ioengine={engine}"],
                      ["append", "--file=recycled", "--direct", "--dsync", f"--io={io}"] + alone))
    return found


def say(text):
    print(f"** {text}", file=sys.stderr, flush=True)


def fio(options, folder, seconds):
    """-> operations per second."""
    path = os.path.join(folder, "fio.dat")
    line = ["fio", "--name=row", f"--filename={path}", f"--size={FILE_BYTES}", "--bs=4k", f"--runtime={seconds}",
            "--time_based", "--output-format=json", "--thread"] + options
    answer = subprocess.run(line, capture_output=True, text=True, timeout=seconds + 120, check=False)
    if answer.returncode != 0:
        raise RuntimeError(f"fio: {answer.stderr.strip()[-300:]}")
    # Notes may stand before the JSON.
    job = json.loads(answer.stdout[answer.stdout.index("{"):])["jobs"][0]
    return job["read"]["iops"] + job["write"]["iops"]


def strata(loadgen, options, folder, seconds):
    """-> operations per second."""
    line = [loadgen, "disk"] + options + [f"--file-size={FILE_BYTES}", f"--seconds={seconds}", f"--folder={folder}"]
    answer = subprocess.run(line, capture_output=True, text=True, timeout=seconds + 120, check=False)
    match = LINE.match(answer.stdout)
    if answer.returncode != 0 or not match:
        raise RuntimeError(f"LoadGen: {(answer.stderr or answer.stdout).strip()[-300:]}")
    return 1e6 / float(match[2])


def measure(options, loadgen):
    """-> {name: {fio: [rate], strata: [rate]}}, rounds in alternation."""
    os.makedirs(options.folder, exist_ok=True)
    samples = {}
    chosen = rows()
    if options.rows:
        chosen = [row for row in chosen if any(word.strip() in row[0] for word in options.rows.split(";"))]
    # The pair of the second bound: the same reads without a ring.
    if not options.rows or any(row[0] == "direct random read QD32, uring" for row in chosen):
        chosen.append(("direct random read QD32, posix", None, ["randread", "--io=posix", "--depth=32", "--direct"]))
    for number in range(1, options.rounds + 1):
        for position, (name, theirs, ours) in enumerate(chosen, 1):
            folder = os.path.join(options.folder, f"peers-io-{os.getpid()}")
            pair = samples.setdefault(name, dict(fio=[], strata=[]))
            for side in ("fio", "strata") if number % 2 else ("strata", "fio"):
                shutil.rmtree(folder, ignore_errors=True)
                os.makedirs(folder)
                os.sync()
                if side == "strata":
                    pair[side].append(strata(loadgen, ours, folder, options.seconds))
                elif theirs is not None:
                    pair[side].append(fio(theirs, folder, options.seconds))
            shutil.rmtree(folder, ignore_errors=True)
            figures = " ".join(f"{side} {pair[side][-1]:,.0f}/s" for side in pair if pair[side])
            say(f"[round {number}/{options.rounds}, {position}/{len(chosen)}] {name}: {figures}")
    return samples


def summarise(samples, environment, options):
    found = []
    for name, pair in samples.items():
        row = dict(row=name, strata=spread(pair["strata"]))
        if pair["fio"]:
            row["fio"] = spread(pair["fio"])
            row["ratio"] = row["strata"]["median"] / row["fio"]["median"]
            row["must"] = MUST
        found.append(row)
    result = dict(schema="strata-peers-io/1", environment=environment, rounds=options.rounds, seconds=options.seconds,
                  rows=found)
    if "direct random read QD32, uring" in samples:
        ring = statistics.median(samples["direct random read QD32, uring"]["strata"])
        calls = statistics.median(samples["direct random read QD32, posix"]["strata"])
        result["uring_by_posix_qd32"] = ring / calls
    return result


def spread(values):
    return dict(median=statistics.median(values), min=min(values), max=max(values), samples=values)


def count(value):
    return f"{value:,.0f}".replace(",", " ")


def markdown(result):
    machine = result["environment"]
    text = "# Disk backends against fio\n\n"
    text += f"{machine['host']}: {machine['cpu']}, {machine['vcpus']} vCPU, Linux {machine['kernel']}; commit "
    text += f"{machine['commit'][:7]}{' (changed)' if machine['dirty'] else ''}; {result['rounds']} rounds of "
    text += f"{result['seconds']} s in alternation; 4 KiB, one thread; operations per second, median (lowest … highest)\n\n"
    text += "| pattern | fio | Strata | ratio | must |\n|---|---|---|---|---|\n"
    for row in result["rows"]:
        ours = row["strata"]
        figure = f"{count(ours['median'])} ({count(ours['min'])} … {count(ours['max'])})"
        if "fio" not in row:
            text += f"| {row['row']} | – | {figure} | – | – |\n"
            continue
        theirs = row["fio"]
        text += f"| {row['row']} | {count(theirs['median'])} ({count(theirs['min'])} … {count(theirs['max'])}) | {figure} "
        text += f"| **{row['ratio']:.2f}** | {row['must']}{'' if row['ratio'] >= row['must'] else ' ✗'} |\n"
    if "uring_by_posix_qd32" not in result:
        return text
    text += f"\nCold random reads at depth 32, io_uring by POSIX on one thread: **{result['uring_by_posix_qd32']:.2f}** (must 2)\n"
    return text


def prometheus(result):
    host = result["environment"]["host"]
    text = "# HELP loadgen_disk_operations_per_second Medians over the rounds.\n"
    text += "# TYPE loadgen_disk_operations_per_second gauge\n"
    for row in result["rows"]:
        for system in ("fio", "strata"):
            if system in row:
                text += f'loadgen_disk_operations_per_second{{host="{host}",pattern="{row["row"]}",system="{system}"}} '
                text += f'{row[system]["median"]}\n'
    text += "# HELP loadgen_disk_ratio Strata by fio.\n# TYPE loadgen_disk_ratio gauge\n"
    for row in result["rows"]:
        if "ratio" in row:
            text += f'loadgen_disk_ratio{{host="{host}",pattern="{row["row"]}"}} {row["ratio"]}\n'
    if "uring_by_posix_qd32" not in result:
        return text
    text += "# HELP loadgen_disk_uring_by_posix_qd32 Cold random reads, io_uring by POSIX on one thread.\n"
    text += "# TYPE loadgen_disk_uring_by_posix_qd32 gauge\n"
    return text + f'loadgen_disk_uring_by_posix_qd32{{host="{host}"}} {result["uring_by_posix_qd32"]}\n'

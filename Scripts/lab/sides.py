"""What Scripts/compare runs: sides (positions of the switches) and measurements (one fresh process, or one fresh cluster,
each; several rows come out of one). A measurement fails when the side did not run on what was asked for."""
import json
import os
import re
import shutil
import subprocess

# The same line from disk and storage: `fillseq : 1.2 micros/op 830000 ops/sec …`.
LINE = re.compile(r"^(\w+)\s*:\s+([\d.]+) micros/op (\d+) ops/sec", re.MULTILINE)
STORE = re.compile(r"^engine (\w+), allocator (\w+), disk (\w+)", re.MULTILINE)
PEAK = re.compile(r"peak memory (\d+) MiB")
SWITCHES = ("io", "allocator", "engine", "transport")
STANDARD = dict(io="posix", allocator="arena", engine="lsm", transport="tcp")
CHILD_SECONDS_MAX = 300


class Failed(Exception):
    """A measurement that gave no figure."""


def comparison(kind):
    """-> (names of sides with their switches, the baseline first; switches that the rows must depend on)."""
    if kind == "backends":
        return sides("io", ("posix", "uring"))
    if kind == "allocators":
        return sides("allocator", ("system", "arena", "jemalloc"))
    if kind == "engines":
        return sides("engine", ("lsm", "hashlog"))
    if kind == "transports":
        return sides("transport", ("tcp", "grpc"))
    if kind == "matrix":
        found = {f"{io} {allocator}": dict(STANDARD, io=io, allocator=allocator)
                 for io in ("posix", "uring") for allocator in ("arena", "jemalloc", "system")}
        return found, {"io", "allocator"}
    # A against itself: whatever differs is noise, and no verdict may come of it.
    return {"A": dict(STANDARD), "A again": dict(STANDARD)}, set(SWITCHES)


def sides(switch, words):
    return {word: dict(STANDARD, **{switch: word}) for word in words}, {switch}


def run(line, what):
    try:
        answer = subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=CHILD_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{what}: no end after {CHILD_SECONDS_MAX} s") from late
    if answer.returncode != 0:
        words = (answer.stderr.strip() or answer.stdout.strip()).splitlines()[-1:] or ["no words"]
        raise Failed(f"{what}: exit {answer.returncode}: {words[0]}")
    return answer


def disk(name, options):
    """A row of `LoadGen disk`."""
    def measure(setting, side, folder, seed):
        line = [setting.loadgen, "disk"] + options + [f"--io={side['io']}", f"--seconds={setting.seconds}", f"--seed={seed}",
                                                     f"--file-size={setting.file_bytes}", f"--folder={folder}"]
        output = run(line, name).stdout
        match = LINE.search(output)
        if not match or f"io={side['io']} " not in output:
            raise Failed(f"{name}: not run on {side['io']}: {output.strip()}")
        return {name: 1e6 / float(match[2])}
    return dict(name=name, rows=[name], depends={"io"}, measure=measure)


def storage(name, verbs, options, keys):
    """Rows of `LoadGen storage`; verbs that end in '-' are run and not counted."""
    rows = [f"{name} {verb}" for verb in verbs if not verb.endswith("-")]
    memory = f"{name} peak memory"

    def measure(setting, side, folder, seed):
        line = [setting.loadgen, "storage"] + [verb.rstrip("-") for verb in verbs] + options
        line += [f"--{switch}={side[switch]}" for switch in ("io", "allocator", "engine")]
        line += [f"--num={int(keys * setting.scale)}", f"--seed={seed}", f"--db={folder}/store", "--no-write"]
        answer = run(line, name)
        ran = STORE.search(answer.stderr)
        if not ran or ran.groups() != (side["engine"], side["allocator"], side["io"]):
            raise Failed(f"{name}: ran on {ran.groups() if ran else 'something unknown'}, not on what was asked for")
        found = {match[1]: 1e6 / float(match[2]) for match in LINE.finditer(answer.stdout) if float(match[2]) > 0}
        figures = {f"{name} {verb}": found[verb] for verb in verbs if not verb.endswith("-") and verb in found}
        peaks = [int(peak) for peak in PEAK.findall(answer.stdout)]
        if peaks:
            figures[memory] = 1 / max(max(peaks), 1)
        return figures
    return dict(name=name, rows=rows + [memory], depends={"io", "allocator", "engine"}, measure=measure)


def server(name, options, scenarios):
    """Rows of a run against three fresh server processes; ends with everything acknowledged read back after kill -9."""
    def measure(setting, side, folder, seed):
        line = [setting.loadgen, "suite", "quick", "--no-failover", f"--duration={setting.server_seconds}", f"--seed={seed}",
                f"--results={folder}"] + options
        line += [f"--{switch}={side[switch]}" for switch in SWITCHES]
        run(line, name)
        runs = [os.path.join(at, "run.json") for at, _, files in os.walk(folder) if "run.json" in files]
        if len(runs) != 1:
            raise Failed(f"{name}: no result was written")
        with open(runs[0], encoding="utf-8") as file:
            report = json.load(file)
        words = report["identity"]
        ran = dict(io=words["backend"], **{switch: words[switch] for switch in SWITCHES[1:]})
        if ran != side:
            raise Failed(f"{name}: the servers ran on {ran}, not on {side}")
        rates = {scenario["scenario"]: scenario["operations_per_second"] for scenario in report["scenarios"]}
        return {f"{name} {scenario}": rates[scenario] for scenario in scenarios}
    return dict(name=name, rows=[f"{name} {scenario}" for scenario in scenarios], depends=set(SWITCHES), measure=measure)


def measurements(kind, depends):
    """What a comparison measures: everything that the compared switches can change."""
    reads = ["randread"]
    append = ["append", "--file=recycled"]
    found = [
        disk("append, write + fdatasync", append),
        disk("append, durable write", append + ["--dsync"]),
        disk("append, durable write, direct", append + ["--dsync", "--direct"]),
        # Lone writes leave the ring alone as a rule; this row says what they would cost on it.
        disk("append, durable write through the ring", append + ["--dsync", "--ring-alone"]),
        disk("random read QD1, buffered, cold at the start", reads),
        disk("cold random read QD1, direct", reads + ["--direct"]),
        disk("random read QD32, buffered, cold at the start", reads + ["--depth=32"]),
        disk("cold random read QD32, direct", reads + ["--depth=32", "--direct"]),
    ]
    for logs in (6, 64):
        found.append(disk(f"append to {logs} logs in a turn, durable writes", append + ["--dsync", f"--logs={logs}"]))
    found.append(disk("append, write + fdatasync through the ring", append + ["--ring-alone"]))
    ordered = kind != "engines"
    small = ["--disable-wal", "--write-buffer-size=8388608", "--cache-size=8388608"]
    verbs = ["fillrandom", "flush-", "waitforcompaction-", "readrandom"]
    found.append(storage("store", verbs + (["multireadrandom", "overwrite-", "flush-", "compact"] if ordered else []), small,
                         400_000))
    if ordered:
        # Blocks that no cache holds: a hundredth of the data is read in groups of 32 keys, then all of it is compacted.
        cold = small + ["--value-size=1000", "--reads=6400"]
        found.append(storage("cold store", ["fillrandom-", "flush-", "waitforcompaction-", "overwrite-", "flush-",
                                            "waitforcompaction-", "dropcache-", "multireadrandom", "dropcache-", "compact"], cold, 400_000))
    found.append(storage("log", ["fillsync"], ["--threads=4"], 4000))
    found.append(server("server, 6 partitions,", ["--partitions=6"], ["ingest", "kv_write", "kv_read"]))
    found.append(server("server, 64 partitions,", ["--partitions=64"], ["ingest"]))
    return [one for one in found if depends & one["depends"]]


def fresh(folder):
    """An empty folder, and nothing left to write back."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.sync()

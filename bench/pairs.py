"""Measuring side by side: A B A B …, because these machines are noisy. A row's result is the median of the ratios of its pairs.

CPU is that of everything on the machine (all processes, the kernel, interrupts), from /proc/stat, while the load ran.
"""
import contextlib
import os
import signal
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e"))

from harness import Failed, Network  # noqa: E402  pylint: disable=wrong-import-position

TICKS = os.sysconf("SC_CLK_TCK")


class Options:
    """What Network wants to know; see tests/e2e/run.py."""

    def __init__(self, programs, folder):
        self.bin, self.logs, self.scheme, self.full, self.ferryd_extra = os.path.abspath(programs), folder, None, False, []
        self.libferry = None
        self.watch_every = None  # it would be measured, too

    def program(self, name):
        return os.path.join(self.bin, name)

    def run_command(self):
        return self.program("ferry")


PAIRS_OF_A_NETWORK = 2


class Sample:
    """One run: `value` in the row's unit, and how much CPU a unit of `work` (GB, requests, round trips) took."""

    def __init__(self, value, work, cpu_seconds):
        self.value = value
        self.cpu = cpu_seconds / work if work else float("nan")


def end_cleanly_on_sigterm():
    """SIGTERM ends a measurement as Ctrl-C does: namespaces and processes are removed."""
    def interrupt(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupt)


def busy_seconds():
    """CPU time that was used since boot, of all processors: everything but idle and waiting for disks (proc(5))."""
    with open("/proc/stat") as lines:
        fields = [int(n) for n in lines.readline().split()[1:]]
    user, nice, system, _, _, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / TICKS


def measured(load):
    """Runs load() -> (value, work) and adds the machine's CPU."""
    before = busy_seconds()
    value, work = load()
    return Sample(value, work, busy_seconds() - before)


def insist_on_ferry(net):
    """Nothing of what is going to be measured, or was, went over the kernel's stack."""
    for side in net.sides:
        if side.watch:
            side.watch.look()
            if seen := side.watch.unexpected(True):
                raise Failed(f"sockets of the kernel's stack on the {side.name} side: {seen[0]}")


@contextlib.contextmanager
def at_rest(net):
    """This network's ferryds stand still, also one that would never sleep (--busy-poll)."""
    ferryds = [side.ferryd.popen for side in net.sides if side.ferryd]
    for ferryd in ferryds:
        ferryd.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for ferryd in ferryds:
            ferryd.send_signal(signal.SIGCONT)


class Row:
    """One line of the table: the same load over the kernel's stack and over Ferry.

    `start(net)` starts the server; `load(net, seconds)` -> (value, work) drives it once; `check(net)` looks at what came out,
    outside of what is measured. `lower_is_better` for times. `gso_max_size` is that of Ferry's network, `kernel_gso_max_size` the reference's.
    `pinned`: the programs and the server of each end have a processor of their own, in the reference as well.
    """

    def __init__(self, name, title, stacks, start, load, unit, work_unit, goal=None, cpu_goal=None, lower_is_better=False,
                 reference=("kernel", "kernel"), ferryd_extra=(), offloads=True, check=None, scheme=None, gso_max_size=0,
                 kernel_gso_max_size=0, pinned=False):
        self.name, self.title, self.stacks, self.start, self.load = name, title, stacks, start, load
        self.unit, self.work_unit, self.goal, self.cpu_goal = unit, work_unit, goal, cpu_goal
        self.lower_is_better, self.reference = lower_is_better, reference
        self.ferryd_extra, self.offloads, self.check, self.scheme = list(ferryd_extra), offloads, check, scheme
        self.gso_max_size, self.kernel_gso_max_size, self.pinned = gso_max_size, kernel_gso_max_size, pinned


class RowResult:
    def __init__(self, row, kernel, ferry):
        self.row, self.kernel, self.ferry = row, kernel, ferry
        self.kernel_value = statistics.median(s.value for s in kernel)
        self.ferry_value = statistics.median(s.value for s in ferry)
        self.ratio = statistics.median(f.value / k.value for k, f in zip(kernel, ferry))
        self.kernel_cpu = statistics.median(s.cpu for s in kernel)
        self.ferry_cpu = statistics.median(s.cpu for s in ferry)
        self.cpu_ratio = statistics.median(f.cpu / k.cpu if k.cpu else float("nan") for k, f in zip(kernel, ferry))

    def reached(self):
        """Whether the row's goals are reached; None without goals."""
        row, marks = self.row, []
        if row.goal is not None:
            marks.append(self.ratio <= row.goal if row.lower_is_better else self.ratio >= row.goal)
        if row.cpu_goal is not None:
            marks.append(self.cpu_ratio <= row.cpu_goal)
        return all(marks) if marks else None

    def as_json(self):
        return {"name": self.row.name, "title": self.row.title, "unit": self.row.unit, "work_unit": self.row.work_unit,
                "kernel": self.kernel_value, "ferry": self.ferry_value, "ratio": self.ratio, "goal": self.row.goal,
                "kernel_cpu": self.kernel_cpu, "ferry_cpu": self.ferry_cpu, "cpu_ratio": self.cpu_ratio,
                "cpu_goal": self.row.cpu_goal, "reached": self.reached(),
                "pairs": [[k.value, f.value, k.cpu, f.cpu] for k, f in zip(self.kernel, self.ferry)]}


def measure(row, options, pairs, seconds, progress):
    """Measures one row, in turn. Networks and servers are made anew now and then, because what one of them happens to get (processors, places
    in memory) stays with it: a row has differed by a third from one network to the next. The one that is not measured is at rest."""
    kernel, ferry = [], []
    options.scheme = row.scheme
    while len(kernel) < pairs:
        options.ferryd_extra = []
        with Network(*row.reference, options, offloads=row.offloads, gso_max_size=row.kernel_gso_max_size, pinned=row.pinned) as kernel_net:
            options.ferryd_extra = row.ferryd_extra
            with Network(*row.stacks, options, offloads=row.offloads, gso_max_size=row.gso_max_size, pinned=row.pinned) as ferry_net:
                for net in (kernel_net, ferry_net):
                    row.start(net)
                    row.load(net, min(1, seconds))  # warm: caches, pools, autotuned buffers
                    insist_on_ferry(net)
                for _ in range(min(PAIRS_OF_A_NETWORK, pairs - len(kernel))):
                    progress(row, len(kernel))
                    for net, other, samples in ((kernel_net, ferry_net, kernel), (ferry_net, kernel_net, ferry)):
                        with at_rest(other):
                            samples.append(measured(lambda net=net: row.load(net, seconds)))
                        if row.check:
                            row.check(net)
                        time.sleep(0.2)
    return RowResult(row, kernel, ferry)

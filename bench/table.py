"""Results as text: a table for the terminal, one for docs/performance.md, and the machine they came from (without its name)."""
import os
import platform

CPU_SCALE = {"CPU-s/GB": 1, "CPU-µs/trip": 1e6, "CPU-µs/request": 1e6}


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown CPU")
    virtual = any("hypervisor" in line for line in open("/proc/cpuinfo") if line.startswith("flags"))
    return f"{os.cpu_count()} × {model}{' (virtual machine)' if virtual else ''}, Linux {platform.release().split('-')[0]}"


def cells(result):
    row, scale = result.row, CPU_SCALE[result.row.work_unit]
    goal = "" if row.goal is None else f"{'≤' if row.lower_is_better else '≥'} {row.goal:.1f}×"
    if row.cpu_goal is not None:
        goal += f", CPU ≤ {row.cpu_goal:.1f}×"
    reached = {None: "", True: "yes", False: "no"}[result.reached()]
    return [row.title, f"{result.kernel_value:.1f} {row.unit}", f"{result.ferry_value:.1f} {row.unit}", f"{result.ratio:.2f}×",
            f"{result.kernel_cpu * scale:.2f}", f"{result.ferry_cpu * scale:.2f} {row.work_unit}", f"{result.cpu_ratio:.2f}×",
            goal, reached]


HEAD = ["program", "kernel", "Ferry", "ratio", "CPU kernel", "CPU Ferry", "ratio", "goal", "reached"]


def terminal(results, goals=True):
    rows = [HEAD] + [cells(result) for result in results]
    if not goals:
        rows = [row[:-2] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths)))
             for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def markdown(results):
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(cells(result)) + " |" for result in results]
    return "\n".join(lines)

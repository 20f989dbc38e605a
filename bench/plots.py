"""SVG plots of what bench/passing.py measured, drawn by gnuplot(1): one for each place and quantity, a line for each scheme."""
import os
import subprocess

COLOURS = {"kernel": "#555555", "copy": "#c0392b", "shared": "#2471a3", "emulated": "#1e8449"}
PLACES = {"wire": "over the wire", "host": "on the same host"}
# (name, kind, which of (value, cpu), title, y axis)
QUANTITIES = [
    ("latency", "latency", 0, "Latency", "half round trip, µs"),
    ("throughput", "throughput", 0, "Throughput", "Gb/s"),
    ("cpu", "throughput", 1, "CPU", "CPU-s/GB"),
]


def script(file, title, y_label, schemes, machine):
    lines = [
        "set terminal svg size 720,440 font 'sans-serif,13' background '#ffffff'",
        f"set output '{file}'",
        f"set title \"{title}\\n{{/*0.8 {machine}}}\"",
        "set logscale x 2", "set logscale y 10",
        f"set xlabel 'transfer'", f"set ylabel '{y_label}'",
        "set xtics ('1 B' 1, '64 B' 64, '1 KiB' 1024, '16 KiB' 16384, '256 KiB' 262144, '4 MiB' 4194304, '64 MiB' 67108864)",
        "set grid back lc '#dddddd' lt 1", "set border 3", "set tics nomirror", "set key top left",
    ]
    parts = [f"'-' using 1:2 with linespoints lw 2 pt 7 ps 0.5 lc '{COLOURS[scheme]}' title '{scheme}'" for scheme in schemes]
    return "\n".join(lines + ["plot " + ", \\\n     ".join(parts)]) + "\n"


def draw(measured, sizes, schemes, folder, machine):
    """`measured`: {place: {(kind, size, scheme): (value, cpu)}}. Raises CalledProcessError with gnuplot's words."""
    os.makedirs(folder, exist_ok=True)
    for place, results in measured.items():
        for name, kind, which, title, y_label in QUANTITIES:
            text = script(os.path.join(folder, f"{name}-{place}.svg"), f"{title} {PLACES[place]}", y_label, schemes, machine)
            for scheme in schemes:
                text += "".join(f"{size} {results[kind, size, scheme][which]}\n" for size in sizes) + "e\n"
            subprocess.run(["gnuplot"], input=text, text=True, check=True)

#!/usr/bin/python3
"""What of the payload of unmodified programs was referred to, exchanged and copied (root): a table of ferryd's counters.

    bench/programs.py --programs BIN

Both ends run on Ferry with the scheme emulated, in namespaces of their own. "referred to": output that ferryd read where the program has it;
"received in place": input that the kernel wrote straight into the receiving program's pool; "exchanged": input whose pages changed places with the
program's, instead of being copied out of the pool.
"""
import argparse
import os
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import pairs  # noqa: E402
import rows  # noqa: E402
from harness import Network  # noqa: E402
from cases.databases import start_redis  # noqa: E402
from cases.http import random_file, start_nginx  # noqa: E402
from cases.unmodified import run_arrays  # noqa: E402


def iperf3(net):
    rows.iperf3_start(net)
    rows.iperf3("-l", "1M")(net, 2)  # the most it takes


def curl(net):
    start_nginx(net.server, net)
    random_file(net, "big", 1024)
    net.client.run(["curl", "-sS", "--fail", "-o", "/dev/null", f"http://{net.target}/big"])


def arrays(*whole):
    return lambda net: run_arrays(net, 0, 10, *whole)


def socat(net):
    random_file(net, "big", 256)
    big, got = (os.path.join(net.folder, name) for name in ("www/big", "got"))
    sink = net.server.spawn(["socat", "-u", "TCP-LISTEN:7001,reuseaddr", f"CREATE:{got}"])
    net.server.wait_listening(7001, process=sink)
    net.client.run(["socat", "-u", f"FILE:{big}", f"TCP:{net.target}:7001"])
    sink.wait(20)


def redis(net):
    start_redis(net.server, net)
    with open(net.file("value", os.urandom(32 << 20).hex()), "rb") as data:
        net.client.run(["redis-cli", "-h", net.target, "-x", "SET", "big"], stdin=data)
    for _ in range(5):
        net.client.run(["redis-cli", "-h", net.target, "--raw", "GET", "big"])


PROGRAMS = [("`iperf3 -l 1M`", iperf3), ("`curl` of 1 GB from nginx (sendfile)", curl), ("numpy, arrays of 64 MB", arrays()),
            ("numpy, received with MSG_WAITALL", arrays("whole")), ("`socat`, a file of 256 MB", socat),
            ("redis, 64 MB: one SET, five GET", redis)]


def counted(side):
    stat = side.stat()
    return {"sent": stat["server"]["forwarded_out"], "referred": stat["server"]["referenced_out"],
            "in_place": stat["server"]["received_in_place"], "swapped": stat["passing"]["swapped_in"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="folder of ferry and ferryd")
    arguments = parser.parse_args()
    pairs.end_cleanly_on_sigterm()
    print("| program | sent | referred to | received in place | exchanged |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="ferry-programs-") as folder:
        options = pairs.Options(arguments.programs, folder)
        options.scheme = "emulated"
        for title, run in PROGRAMS:
            with Network("ferry", "ferry", options) as net:
                run(net)
                sides = [counted(side) for side in (net.client, net.server)]
            total = {name: sum(side[name] for side in sides) for name in sides[0]}
            part = lambda name: f"{100 * total[name] / max(total['sent'], 1):.0f} %"  # noqa: E731
            print(f"| {title} | {total['sent'] / 1e6:.0f} MB | {part('referred')} | {part('in_place')} | {part('swapped')} |", flush=True)


if __name__ == "__main__":
    main()

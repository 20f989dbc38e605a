"""iperf3 and sockperf."""
import json
import re

from cases import CLIENT_AND_SERVER, EVERYWHERE, case
from harness import Failed

IPERF_PORT = 5201


def start_iperf3(side):
    process = side.spawn(["iperf3", "-s", "-p", str(IPERF_PORT), "--forceflush"])
    side.wait_listening(IPERF_PORT, process=process)
    return process


def iperf3_client(net, *words, seconds=2):
    result = net.client.run(["iperf3", "-c", net.target, "-p", str(IPERF_PORT), "-t", str(seconds), "-J", *words],
                            timeout=seconds + 20, check=False)
    try:
        report = json.loads(result.out)
    except ValueError:
        raise Failed(f"iperf3 {' '.join(words)}: no report\n{result.out[-500:]}{result.err[-500:]}") from None
    if result.code != 0 or "error" in report:
        raise Failed(f"iperf3 {' '.join(words)}: {report.get('error')}")
    return report["end"]


@case(EVERYWHERE, timeout=120, needs=("iperf3",))
def iperf3_tcp(net):
    start_iperf3(net.server)
    for words in ((), ("-P", "4"), ("-R",), ("-P", "4", "-R"), ("--bidir",), ("-l", "1000"), ("-w", "64K")):
        end = iperf3_client(net, *words)
        sums = [end["sum_sent"], end["sum_received"]]
        if "--bidir" in words:
            sums += [end["sum_sent_bidir_reverse"], end["sum_received_bidir_reverse"]]
        if any(part["bytes"] < 1_000_000 for part in sums):
            raise Failed(f"iperf3 {' '.join(words)} moved {[part['bytes'] for part in sums]} bytes")


case(CLIENT_AND_SERVER, timeout=120, needs=("iperf3",), link="xdp", name="iperf3-xdp")(iperf3_tcp)


@case(CLIENT_AND_SERVER, timeout=90, needs=("iperf3",))
def iperf3_udp(net):
    start_iperf3(net.server)
    for words in (("-b", "50M"), ("-b", "50M", "-R"), ("-b", "100M", "-l", "8000"), ("-b", "20M", "-P", "3")):
        end = iperf3_client(net, "-u", *words)
        if end["sum"]["bytes"] < 1_000_000 or end["sum"]["lost_percent"] > 20:
            raise Failed(f"iperf3 -u {' '.join(words)}: {end['sum']}")


@case(CLIENT_AND_SERVER, timeout=90, needs=("sockperf",))
def sockperf(net):
    for kind in ("--tcp", None):
        port = "11111" if kind else "11112"
        words = [kind] if kind else []
        server = net.server.spawn(["sockperf", "server", "-i", "0.0.0.0", "-p", port, *words])
        net.server.wait_listening(port, kind="tcp" if kind else "udp", process=server)
        for play in (["ping-pong", "-m", "64"], ["ping-pong", "-m", "1400"], ["under-load", "-m", "64", "--mps", "2000"]):
            out = net.client.run(["sockperf", *play, "-i", net.target, "-p", port, "-t", "1", *words]).out
            median = re.search(r"percentile 50\.000 =\s+([\d.]+)", out)
            if not median or float(median[1]) > 50000:
                raise Failed(f"sockperf {play[0]} {words} says:\n{out[-1500:]}")
        server.stop(2)

"""The end-to-end tests: functions of a Network, registered by @case. One file per program or theme."""
import collections

FERRY_KERNEL, KERNEL_FERRY, FERRY_FERRY, LOOPBACK, SELF = "ferry-kernel", "kernel-ferry", "ferry-ferry", "loopback", "self"
CLIENT_AND_SERVER = (FERRY_KERNEL, KERNEL_FERRY, FERRY_FERRY)
EVERYWHERE = CLIENT_AND_SERVER + (LOOPBACK, SELF)

Case = collections.namedtuple("Case", "name function stacks timeout needs serial relay bare offloads link servers engines ferryd no_sanitizer gso_max_size")
ALL = {}


def case(stacks=CLIENT_AND_SERVER, timeout=60, needs=(), serial=False, relay=None, bare=False, offloads=True, link="packet",
         name=None, servers=(), engines=1, ferryd=(), no_sanitizer=None, gso_max_size=0):
    """Registers a test. `timeout`: seconds for everything; `needs`: programs; `serial`: runs alone (it measures CPU);
    `bare`: gets the Options and makes no network; `offloads`, `link`, `gso_max_size` and `relay` as for Network;
    `servers`: foreign protocol servers of every ferryd; `engines`: how many each has; `ferryd`: more of its words;
    `no_sanitizer`: why it cannot run with a sanitized libferry."""
    def register(function):
        known = name or function.__name__.replace("_", "-")
        assert known not in ALL, known
        ALL[known] = Case(known, function, stacks, timeout, needs, serial, relay, bare, offloads, link, servers, engines, ferryd,
                          no_sanitizer, gso_max_size)
        return function
    return register

#include "server/config.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "ipc/control.h"
#include "link/open.h"
#include "server/foreign.h"

namespace ferry::server {
namespace {

using link::Outcome;

const std::vector<SettingInfo> kSettings = {
    {"link", SettingKind::list, "SPEC", "Network interface to serve: packet:IFACE, tap:NAME or xdp:IFACE"},
    {"address", SettingKind::text, "ADDRESS/LENGTH", "Ferry's IPv4 address on the link and its network, as 10.9.0.1/24"},
    {"gateway", SettingKind::text, "ADDRESS", "Router for everything outside that network"},
    {"mac", SettingKind::text, "MAC", "Ferry's own MAC address, or 'interface' to share that of the interface"},
    {"loopback", SettingKind::flag, "", "Serve 127.0.0.0/8 inside this ferryd as well"},
    {"server", SettingKind::list, "NAME", "Foreign protocol server: tcp=lwip, sctp=usrsctp"},
    {"socket", SettingKind::text, "PATH", "Control socket that clients connect to"},
    {"engines", SettingKind::number, "N", "Event loops, each with a thread and its share of the TCP flows, 1 to 8 (default 1)"},
    {"record", SettingKind::text, "FILE", "Record every input of the stack, for ferry replay"},
    {"user", SettingKind::text, "NAME", "User to become once the links are open"},
    {"group", SettingKind::text, "NAME", "Group to become (default: the user's)"},
    {"gso-max-size", SettingKind::number, "BYTES", "Size to which a packet link's interface is to take segments uncut, 65536 to 262144 (default: what it takes now)"},
    {"log-level", SettingKind::text, "LEVEL", "debug, info, warning or error"},
    {"busy-poll", SettingKind::flag, "", "Never sleep: lowest latency, one CPU always busy"},
    {"spin-us", SettingKind::number, "MICROSECONDS", "Longest spin before sleeping, 0 to 1000 (default 50)"},
    {"client-spin-us", SettingKind::number, "MICROSECONDS", "The same for clients (default 35, with busy-poll 100)"},
    {"quota-clients", SettingKind::number, "N", "Processes that may be clients at once (default 1024)"},
    {"quota-clients-per-user", SettingKind::number, "N", "The same for one user (default 512)"},
    {"quota-sockets", SettingKind::number, "N", "Sockets of one client, up to 16384 (default 4096)"},
    {"quota-sockets-per-user", SettingKind::number, "N", "Sockets of all processes of one user (default 32768)"},
    {"quota-output-mib", SettingKind::number, "MIB", "Output memory of one client, 1 to 4096 (default 64)"},
    {"quota-input-mib", SettingKind::number, "MIB", "Input memory of one client, 1 to 4096 (default 64)"},
    {"quota-region-mib", SettingKind::number, "MIB", "Size of one of a client's 16 regions for output by reference, 0 to 65536 (default 1024)"},
    {"reference-kib", SettingKind::number, "KIB", "Output that is referred to: sent at once, or in pieces from one page, 0 to 1048576 (default 0: measured)"},
    {"swap-kib", SettingKind::number, "KIB", "A huge page that receives so much is exchanged, 1 to 2048 (default 0: measured)"},
    {"pass-after", SettingKind::number, "N", "Turns of a connection between two clients before these pass bytes by themselves (default 12)"},
    {"isolate-clients", SettingKind::flag, "", "Clients of one user copy from each other like those of others: neither maps the other's large buffers"},
    {"quota-peers", SettingKind::number, "N", "Clients that one may pass bytes with by itself, 0 (never) to 16 (default 8)"},
    {"quota-staging-mib", SettingKind::number, "MIB", "Memory for data of no client yet, 1 to 4096 (default 256)"},
};

struct Reader {
  const Settings& settings;
  std::string error;  // the first

  const std::string* text(const char* name) const {
    auto it = settings.find(name);
    return it == settings.end() || it->second.empty() ? nullptr : &it->second.back();
  }
  bool flag(const char* name) {
    const std::string* t = text(name);
    if (t != nullptr && *t != "true" && *t != "false") fail(std::string(name) + " must be true or false, not '" + *t + "'");
    return t != nullptr && *t == "true";
  }
  template <typename T>
  void number(const char* name, uint64_t low, uint64_t high, T& value, uint64_t scale = 1) {
    const std::string* t = text(name);
    if (t == nullptr) return;
    uint64_t n = 0;
    auto [end, code] = std::from_chars(t->data(), t->data() + t->size(), n);
    if (code != std::errc() || end != t->data() + t->size() || n < low || n > high)
      return fail(std::string(name) + " must be a number from " + std::to_string(low) + " to " + std::to_string(high) +
                  ", not '" + *t + "'");
    value = static_cast<T>(n * scale);
  }
  void fail(std::string sentence) {
    if (error.empty()) error = std::move(sentence);
  }
};

void read_addresses(Reader& r, Config& c) {
  const std::string* address = r.text("address");
  if (!c.link.empty() && address == nullptr) return r.fail("a link needs an address, as --address 10.9.0.1/24");
  if (c.link.empty() && (address != nullptr || r.text("gateway") != nullptr || r.text("mac") != nullptr || r.text("gso-max-size") != nullptr))
    return r.fail("address, gateway, mac and gso-max-size belong to a link, but no link is given");
  if (c.link.empty()) return;
  auto prefix = parse_prefix(*address);
  if (!prefix) return r.fail("'" + *address + "' is not an IPv4 address with a prefix length, as 10.9.0.1/24");
  c.prefix = *prefix;
  wire::Ipv4Address a = c.prefix.address;
  bool reserved = c.prefix.length < 31 && (a == c.prefix.broadcast() || (a.value & ~c.prefix.mask()) == 0);
  if (a.is_any() || a.is_loopback() || a.is_multicast() || a.value >> 28 == 15 || reserved)
    return r.fail(to_string(a) + " cannot be the address of a host in that network");
  if (const std::string* gateway = r.text("gateway")) {
    c.gateway = parse_ipv4(*gateway);
    if (!c.gateway) return r.fail("'" + *gateway + "' is not an IPv4 address");
    if (!c.prefix.contains(*c.gateway) || *c.gateway == a)
      return r.fail("the gateway " + *gateway + " is not a neighbour in the network of " + *address);
  }
  if (const std::string* mac = r.text("mac")) {
    c.interface_mac = *mac == "interface";
    if (!c.interface_mac && !(c.mac = link::parse_mac(*mac)))
      return r.fail("'" + *mac + "' is not the MAC address of a single station, as 02:00:00:00:00:01");
  }
}

void read_servers(Reader& r, Config& c) {
  auto named = r.settings.find("server");
  if (named == r.settings.end()) return;
  for (const std::string& name : named->second) {
    const ForeignKind* kind = find_foreign(name);
    if (kind == nullptr) {
      std::string known;
      for (const ForeignKind& k : foreign_kinds()) known += (known.empty() ? "" : " or ") + std::string(k.name);
      return r.fail("server must be " + known + ", not '" + name + "'");
    }
    if (std::find(c.servers.begin(), c.servers.end(), name) != c.servers.end()) return r.fail("the server " + name + " is named twice");
    if (c.loopback && !kind->serves_loopback)
      return r.fail("the server " + name + " cannot serve 127.0.0.0/8: it and loopback exclude each other");
    c.servers.push_back(name);
  }
  if (!c.servers.empty() && r.text("record") != nullptr)
    r.fail("a recording needs Ferry's own protocol servers: record and server exclude each other");
}

// What all engines together may give to a client or user is divided by their number.
void read_engines(Reader& r, Config& c) {
  r.number("engines", 1, ipc::abi::kMaxEngines, c.engine.count);
  const uint32_t n = c.engine.count;
  if (n == 1) return;
  if (r.text("record") != nullptr) r.fail("a recording is of one engine: record and engines exclude each other");
  if (std::any_of(c.servers.begin(), c.servers.end(), [](const std::string& name) { return find_foreign(name)->replaces_tcp; }))
    r.fail("engines divide the flows of Ferry's own TCP: they and the server " + c.servers.front() + " exclude each other");
  Limits& l = c.engine.limits;
  l.sockets = std::max(l.sockets / n, 1u);
  l.sockets_per_uid = std::max(l.sockets_per_uid / n, 1u);
  l.stock_per_uid = std::max(l.stock_per_uid / n, 1u);
  l.staging_bytes /= n;
  l.staged_per_uid /= n;
  l.peers /= n;
}

void read_log_level(Reader& r, Config& c) {
  const std::string* level = r.text("log-level");
  if (level == nullptr) return;
  if (*level == "debug") c.log_level = port::LogLevel::debug;
  else if (*level == "info") c.log_level = port::LogLevel::info;
  else if (*level == "warning") c.log_level = port::LogLevel::warning;
  else if (*level == "error") c.log_level = port::LogLevel::error;
  else r.fail("log-level must be debug, info, warning or error, not '" + *level + "'");
}

}  // namespace

const std::vector<SettingInfo>& known_settings() { return kSettings; }

Outcome<Config> make_config(const Settings& settings) {
  Config c;
  Reader r{settings, {}};
  if (auto links = settings.find("link"); links != settings.end()) {
    if (links->second.size() > 1) r.fail("only one link is supported");
    if (!links->second.empty()) c.link = links->second.front();
    if (c.link.empty()) r.fail("the link must be named, as packet:veth0");
  }
  c.loopback = r.flag("loopback");
  if (c.link.empty() && !c.loopback) r.fail("nothing to serve: give --link with --address, or --loopback");
  read_addresses(r, c);
  read_servers(r, c);
  const std::string* path = r.text("socket");
  c.socket_path = path != nullptr ? *path : ipc::control::kDefaultSocketPath;
  if (c.socket_path.empty() || c.socket_path.size() > 107) r.fail("the path of the control socket must have 1 to 107 bytes");
  if (const std::string* t = r.text("record")) c.record_path = *t;
  if (const std::string* t = r.text("user")) c.user = *t;
  if (const std::string* t = r.text("group")) c.group = *t;
  read_log_level(r, c);
  c.engine.busy_poll = r.flag("busy-poll");
  uint64_t spin_us = 50;
  r.number("spin-us", 0, 1000, spin_us);
  c.engine.spin_max = Duration::us(static_cast<int64_t>(spin_us));
  if (c.engine.busy_poll) c.client_spin_us = 100;
  r.number("client-spin-us", 0, 1000, c.client_spin_us);
  r.number("gso-max-size", link::kUsualGsoLimit, link::kMostGsoLimit, c.gso_max_size);
  Limits& l = c.engine.limits;
  r.number("quota-clients", 1, 30000, l.clients);
  r.number("quota-clients-per-user", 1, 30000, l.clients_per_uid);
  r.number("quota-sockets", 1, ipc::abi::kMaxSockets, l.sockets);
  r.number("quota-sockets-per-user", 1, 1 << 20, l.sockets_per_uid);
  r.number("quota-output-mib", 1, 4096, l.output_bytes, 1 << 20);
  r.number("quota-input-mib", 1, 4096, l.input_bytes, 1 << 20);
  r.number("quota-region-mib", 0, 65536, l.region_bytes, 1 << 20);
  r.number("reference-kib", 0, 1 << 20, c.reference_bytes, 1 << 10);
  r.number("swap-kib", 0, 2048, c.swap_bytes, 1 << 10);
  r.number("pass-after", 0, 1000, l.pass_after);
  l.isolate_clients = r.flag("isolate-clients");
  r.number("quota-peers", 0, ipc::abi::kMaxPeerRegions, l.peers);
  r.number("quota-staging-mib", 1, 4096, l.staging_bytes, 1 << 20);
  l.staged_per_uid = l.staging_bytes / 4;
  read_engines(r, c);
  if (!r.error.empty()) return Outcome<Config>::failure(r.error);
  return c;
}

std::optional<wire::Ipv4Address> parse_ipv4(const std::string& text) {
  in_addr a{};
  if (inet_pton(AF_INET, text.c_str(), &a) != 1) return std::nullopt;
  return wire::Ipv4Address{ntohl(a.s_addr)};
}

std::optional<wire::Ipv4Prefix> parse_prefix(const std::string& text) {
  size_t slash = text.find('/');
  if (slash == std::string::npos) return std::nullopt;
  auto address = parse_ipv4(text.substr(0, slash));
  unsigned length = 0;
  const char* begin = text.data() + slash + 1;
  const char* end = text.data() + text.size();
  auto [stop, code] = std::from_chars(begin, end, length);
  if (!address || code != std::errc() || stop != end || length < 1 || length > 32) return std::nullopt;
  return wire::Ipv4Prefix{*address, static_cast<uint8_t>(length)};
}

std::string to_string(wire::Ipv4Address a) {
  in_addr n{htonl(a.value)};
  char text[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, &n, text, sizeof text);
}

}  // namespace ferry::server

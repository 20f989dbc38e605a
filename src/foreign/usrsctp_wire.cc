// usrsctp's view of the network: packets in and out, the paths between, and time. See usrsctp_server.h.
#include <usrsctp.h>

#include "foreign/usrsctp_server.h"

namespace ferry::foreign {
namespace {

constexpr Duration kTick = Duration::ms(20);
constexpr size_t kCommonHeader = 12;            // ports, verification tag, checksum
constexpr uint32_t kLargestMtu = 9000;          // a peer acknowledges every second packet: larger ones would wait for its timer
constexpr size_t kMaxPaths = 4096;
constexpr Duration kUnused = Duration::seconds(600);  // longer than any association without a socket lives
UsrsctpServer* g_server = nullptr;              // usrsctp's state is the process's, too

uint64_t key_of(wire::Ipv4Address local, wire::Ipv4Address remote) { return uint64_t{local.value} << 32 | remote.value; }

}  // namespace

Result<std::unique_ptr<UsrsctpServer>> UsrsctpServer::create() {
  if (g_server != nullptr) return Errc::already;
  std::unique_ptr<UsrsctpServer> server(new UsrsctpServer);
  g_server = server.get();
  usrsctp_init_nothreads(0, output, nullptr);
  usrsctp_sysctl_set_sctp_blackhole(0);
  usrsctp_sysctl_set_sctp_ecn_enable(0);  // marks do not reach it
  return server;
}

UsrsctpServer::~UsrsctpServer() {
  g_server = nullptr;
  for (auto& [key, path] : paths_) usrsctp_deregister_address(path.get());
  (void)usrsctp_finish();  // refused while an association lingers: its memory goes with the process
}

uint32_t UsrsctpServer::least_mtu() const {
  uint32_t least = kLargestMtu;
  for (uint32_t i = 0; i < services().network().interface_count(); ++i)
    if (uint32_t mtu = services().network().interface(i)->mtu; mtu < least) least = mtu;
  return least;
}

Path* UsrsctpServer::path_between(wire::Ipv4Address local, wire::Ipv4Address remote) {
  auto& slot = paths_[key_of(local, remote)];
  if (slot == nullptr) {
    if (paths_.size() > kMaxPaths) forget_unused_paths();
    if (paths_.size() > kMaxPaths) {
      paths_.erase(key_of(local, remote));
      return nullptr;
    }
    auto& fresh = paths_[key_of(local, remote)];
    fresh = std::make_unique<Path>();
    fresh->local = local;
    fresh->remote = remote;
    known_.insert(fresh.get());
    usrsctp_register_address(fresh.get());
    fresh->used = services().now();
    return fresh.get();
  }
  slot->used = services().now();
  return slot.get();
}

void UsrsctpServer::forget_unused_paths() {
  std::erase_if(paths_, [this](auto& entry) {
    Path* path = entry.second.get();
    if (path == nullptr || path->sockets > 0 || services().now() - path->used < kUnused) return false;
    usrsctp_deregister_address(path);
    known_.erase(path);
    return true;
  });
}

Path* UsrsctpServer::known(const void* pointer) const {
  return known_.contains(pointer) ? static_cast<Path*>(const_cast<void*>(pointer)) : nullptr;
}

bool UsrsctpServer::on_datagram(const net::Datagram& d) {
  const ByteSpan packet = d.payload();
  if (d.broadcast || packet.size() < kCommonHeader) return true;
  Path* path = path_between(d.ip.destination(), d.ip.source());
  if (path == nullptr) return true;  // too many peers: as if it were lost
  usrsctp_conninput(path, packet.data(), packet.size(), 0);
  look_at_marked();
  return true;
}

int UsrsctpServer::output(void* path, void* packet, size_t length, uint8_t tos, uint8_t) {
  if (g_server == nullptr || length < kCommonHeader) return 0;
  Path* known_path = g_server->known(path);
  if (known_path != nullptr) g_server->send_down(*known_path, ByteSpan(static_cast<const std::byte*>(packet), length), tos);
  return 0;  // what cannot be sent is lost
}

void UsrsctpServer::send_down(Path& path, ByteSpan bytes, uint8_t tos) {
  path.used = services().now();
  auto to = services().network().find_path(path.remote, path.local);
  if (!to) return;
  buf::Packet& packet = services().packet();
  net::Network::begin(packet);
  copy_bytes(packet.append_header(kCommonHeader), bytes.first(kCommonHeader));
  packet.tail = bytes.subspan(kCommonHeader);
  packet.payload_length = static_cast<uint32_t>(packet.tail.size());
  const net::Ipv4Header header{path.local, path.remote, IPPROTO_SCTP, tos, 64, false};
  (void)services().network().send(services().now(), *to, header, packet);
}

void UsrsctpServer::keep_ticking() {
  if (!tick_.is_never()) return;
  tick_ = services().now() + kTick;
  ticked_ = services().now();
}

void UsrsctpServer::on_timer() {
  const int64_t elapsed_ms = (services().now() - ticked_).count_ms();
  if (elapsed_ms > 0) {
    ticked_ = ticked_ + Duration::ms(elapsed_ms);
    usrsctp_handle_timers(static_cast<uint32_t>(elapsed_ms));
    look_at_marked();
  }
  tick_ = associations_ > 0 || services().now() < linger_until_ ? services().now() + kTick : Instant::never();
}

}  // namespace ferry::foreign

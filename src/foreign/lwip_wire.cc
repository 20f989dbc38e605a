// lwIP's view of the network: what comes for TCP goes into ip4_input, and what a netif is to output goes down to Ferry's IPv4. See
// lwip_server.h.
#include <lwip/init.h>
#include <lwip/ip4.h>
#include <lwip/pbuf.h>
#include <lwip/priv/tcp_priv.h>

#include <algorithm>
#include <utility>
#include <cstdlib>

#include "foreign/lwip_server.h"
#include "foreign/lwip_values.h"
#include "wire/checksum.h"

namespace ferry::foreign {
namespace {

constexpr size_t kPartBytes = 32 * 1024, kPartHeaderRoom = 60;
constexpr Duration kTick = Duration::ms(TCP_TMR_INTERVAL);
// Of the netif that packets leave by: of the reserved class E, so that no destination is lwIP's own (its loopback needs a thread).
constexpr uint32_t kExitAddress = 0xf0000001;
LwipServer* g_server = nullptr;  // lwIP's state is the process's, too

ip4_addr_t ip4(uint32_t host_order) { return ip4_addr_t{lwip_htonl(host_order)}; }

err_t no_setup(netif*) { return ERR_OK; }

}  // namespace

Result<std::unique_ptr<LwipServer>> LwipServer::create() {
  if (g_server != nullptr) return Errc::already;
  std::unique_ptr<LwipServer> server(new LwipServer);
  g_server = server.get();
  return server;
}

// The stack has gone before. Without the way out lwIP's last resets go nowhere; sockets that were closed and waited for lwIP are the only
// ones left.
LwipServer::~LwipServer() {
  for (LwipSocket* s : closing_) {
    let_go(*s);
    delete s;
  }
  if (exit_.output != nullptr) netif_remove(&exit_);
  while (tcp_active_pcbs != nullptr) tcp_abort(tcp_active_pcbs);
  for (auto& n : addresses_) netif_remove(n.get());
}

void LwipServer::attach(stack::Services& services) {
  ProtocolServer::attach(services);
  srand(static_cast<unsigned>(services.rng().next()));  // lwIP's only chance: where its search for ports begins
  lwip_init();
  const ip4_addr_t address = ip4(kExitAddress), mask = ip4(0xffffffff), none = ip4(0);
  netif_add(&exit_, &address, &mask, &none, this, no_setup, ip4_input);
  exit_.name[0] = 'f', exit_.name[1] = 'x';
  exit_.output = output_callback;
  exit_.mtu = 1500;
  netif_set_up(&exit_);
  netif_set_link_up(&exit_);
  netif_set_default(&exit_);
}

// lwIP takes packets for addresses of netifs only. These are up, but without link: so nothing is routed to them.
Errc LwipServer::serve_address(wire::Ipv4Address address) {
  if (address.is_loopback()) return Errc::net_unreachable;
  for (const auto& n : addresses_)
    if (netif_ip4_addr(n.get())->addr == lwip_htonl(address.value)) return Errc::ok;
  auto n = std::make_unique<netif>();
  const ip4_addr_t own = ip4(address.value), mask = ip4(0xffffffff), none = ip4(0);
  if (netif_add(n.get(), &own, &mask, &none, this, no_setup, ip4_input) == nullptr) return Errc::too_many;
  n->output = output_callback;
  netif_set_up(n.get());
  addresses_.push_back(std::move(n));
  for (uint32_t i = 0; i < services().network().interface_count(); ++i) {
    const uint32_t mtu = services().network().interface(i)->mtu;
    if (mtu < exit_.mtu) exit_.mtu = static_cast<u16_t>(mtu);
  }
  return Errc::ok;
}

// RFC 1122 section 4.2.2.13: a SYN beyond what was received ends a TIME_WAIT. lwIP answers it with an acknowledgement for two minutes, so
// that a client which uses its ports again would wait.
void LwipServer::end_time_wait(const net::Datagram& d, const wire::TcpView& tcp) {
  if ((tcp.flags() & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN) return;
  for (tcp_pcb* p = tcp_tw_pcbs; p != nullptr; p = p->next) {
    if (p->local_port != tcp.destination_port() || p->remote_port != tcp.source_port()) continue;
    if (from_lwip(p->local_ip) != d.ip.destination() || from_lwip(p->remote_ip) != d.ip.source()) continue;
    if (tcp.sequence() - tcp::SeqNum(p->rcv_nxt) > 0) tcp_abort(p);
    return;
  }
}

// lwIP counts a packet's bytes by 16 bits: what is longer (and still to be cut into segments) comes in parts.
bool LwipServer::on_datagram(const net::Datagram& d) {
  ++services().counters().tcp_segments_in;
  const ByteSpan segment = d.payload();
  if (d.broadcast) return services().counters().drop(Drop::tcp_broadcast), true;
  auto tcp = wire::TcpView::parse(segment);
  if (!tcp) return services().counters().drop(Drop::tcp_malformed), true;
  if (serve_address(d.ip.destination()) != Errc::ok) return services().counters().drop(Drop::tcp_no_socket), true;
  end_time_wait(d, *tcp);
  if (wire::kIpv4HeaderBytes + segment.size() <= UINT16_MAX) return give_to_lwip(d, segment), true;
  std::vector<std::byte> part(kPartHeaderRoom + kPartBytes);
  const ByteSpan headers = segment.first(tcp->header_length());
  for (ByteSpan left = tcp->payload(); !left.empty();) {
    const ByteSpan now = left.first(std::min<size_t>(left.size(), kPartBytes));
    left = left.subspan(now.size());
    const MutableByteSpan bytes = MutableByteSpan(part).first(headers.size() + now.size());
    copy_bytes(bytes, headers);
    copy_bytes(bytes.subspan(headers.size()), now);
    const auto offset = static_cast<uint32_t>(now.data() - tcp->payload().data());
    store_be32(bytes, 4, load_be32(headers, 4) + offset);
    if (!left.empty()) store_u8(bytes, 13, static_cast<uint8_t>(load_u8(headers, 13) & ~(TCP_FIN | TCP_PSH)));
    give_to_lwip(d, bytes);
  }
  return true;
}

// A copy for lwIP, which changes headers in place. Whoever below us has trusted a checksum has left it out: it is made here.
void LwipServer::give_to_lwip(const net::Datagram& d, ByteSpan segment) {
  wire::Ipv4Fields ip;
  ip.tos = d.ip.tos();
  ip.ttl = d.ip.ttl();
  ip.protocol = wire::kProtocolTcp;
  ip.source = d.ip.source();
  ip.destination = d.ip.destination();
  const size_t total = wire::kIpv4HeaderBytes + segment.size();
  ip.total_length = static_cast<uint16_t>(total);
  pbuf* p = pbuf_alloc(PBUF_LINK, ip.total_length, PBUF_RAM);
  if (p == nullptr) return services().counters().drop(Drop::tcp_no_memory);
  MutableByteSpan out(static_cast<std::byte*>(p->payload), total);
  ip.emit(out);
  copy_bytes(out.subspan(wire::kIpv4HeaderBytes), segment);
  if (d.checksum_trusted()) {
    MutableByteSpan tcp = out.subspan(wire::kIpv4HeaderBytes);
    store_be16(tcp, wire::kTcpChecksumOffset, 0);
    auto sum = wire::pseudo_header(ip.source, ip.destination, wire::kProtocolTcp, static_cast<uint32_t>(tcp.size()));
    sum.add(tcp);
    store_be16(tcp, wire::kTcpChecksumOffset, sum.finish());
    services().counters().payload_bytes_summed += tcp.size();
  }
  services().counters().payload_bytes_copied += segment.size();
  if (tick_.is_never()) tick_ = services().now() + kTick;
  in_input_ = true;
  if (ip4_input(p, &exit_) != ERR_OK) pbuf_free(p);
  in_input_ = false;
  if (std::exchange(close_waits_, false)) pump_closing();
}

err_t LwipServer::output_callback(netif* exit, pbuf* p, const ip4_addr_t*) {
  static_cast<LwipServer*>(exit->state)->send_down(p);
  return ERR_OK;
}

// `p`: an IPv4 packet, in one piece (the package is built so). A refusal below is a loss.
void LwipServer::send_down(pbuf* p) {
  if (p->len != p->tot_len) return;
  auto ip = wire::Ipv4View::parse(ByteSpan(static_cast<const std::byte*>(p->payload), p->len));
  if (!ip) return;
  auto tcp = wire::TcpView::parse(ip->payload());
  if (!tcp) return;
  auto path = services().network().find_path(ip->destination(), ip->source());
  if (!path) return;
  buf::Packet& packet = services().packet();
  net::Network::begin(packet);
  copy_bytes(packet.append_header(tcp->header_length()), ip->payload().first(tcp->header_length()));
  packet.tail = tcp->payload();
  packet.payload_length = static_cast<uint32_t>(packet.tail.size());
  net::Ipv4Header header{ip->source(), ip->destination(), wire::kProtocolTcp, ip->tos(), ip->ttl(), true};
  ++services().counters().tcp_segments_out;
  (void)services().network().send(services().now(), *path, header, packet);
}

Instant LwipServer::next_deadline() const { return tick_; }

void LwipServer::pump_closing() {
  const std::vector<LwipSocket*> waiting = closing_;
  for (LwipSocket* s : waiting)
    if (std::find(closing_.begin(), closing_.end(), s) != closing_.end()) pump(*s);
}

// lwIP counts in ticks: they come as long as it has a connection, and only then.
void LwipServer::on_timer() {
  tcp_tmr();
  pump_closing();
  const std::vector<LwipSocket*> late = late_;
  for (LwipSocket* s : late)
    if (std::find(late_.begin(), late_.end(), s) != late_.end()) offer_late(*s);
  tick_ = !late_.empty() || tcp_active_pcbs != nullptr || tcp_tw_pcbs != nullptr ? services().now() + kTick : Instant::never();
}

}  // namespace ferry::foreign

// ARP on one link: the moves of neighbours, requests and answers.
#include "net/arp.h"

#include "wire/ethernet.h"

namespace ferry::net {
namespace {

// Turns a copied frame back into a packet whose payload is `tail`.
void unpack(WaitingFrame& frame, buf::Packet& packet) {
  const ByteSpan bytes = frame.bytes();
  copy_bytes(packet.append_header(frame.header_length), bytes.first(frame.header_length));
  packet.tail = bytes.subspan(frame.header_length);
  packet.payload_length = static_cast<uint32_t>(packet.tail.size());
  packet.offload = frame.offload;
}

void set_destination(buf::Packet& frame, const wire::MacAddress& mac) {
  wire::store_mac(MutableByteSpan(frame.headers), 0, mac);
}

}  // namespace

void Arp::start(Instant now, bool probe) {
  if (interface_.quiet) return;
  guard_.start(now, probe);
  run_guard(now);
  update_deadline();
}

Status Arp::send(Instant now, wire::Ipv4Address address, buf::Packet& frame, const buf::Memory& memory) {
  Neighbor* n = table_.find(address);
  if (n == nullptr) {
    n = table_.add(address);
    if (n == nullptr) {
      counters_.drop(Drop::arp_queue_full);
      return Errc::no_buffers;
    }
    ask(now, *n);
  } else if (n->state == NeighborState::failed) {
    if (now < n->deadline) {
      counters_.drop(Drop::arp_unresolved);
      return Errc::host_unreachable;
    }
    n->state = NeighborState::incomplete;
    n->requests = 0;
    ask(now, *n);
  }
  table_.touch(*n);
  if (n->state == NeighborState::incomplete) {
    Status queued = table_.enqueue(*n, frame, memory);
    if (queued)
      counters_.payload_bytes_copied += frame.payload_length;
    else
      counters_.drop(Drop::arp_queue_full);
    return queued;
  }
  if (n->state == NeighborState::reachable && now - n->confirmed >= kReachableTime) n->state = NeighborState::stale;
  if (n->state == NeighborState::stale) {
    n->state = NeighborState::probing;
    n->requests = 0;
    ask(now, *n);
  }
  set_destination(frame, n->mac);
  return host_.transmit(interface_.link, frame);
}

// Sends the next request of a round. A neighbour that we knew is asked directly first (RFC 1122 section 2.3.2.1 (2)), the last
// time everybody: its hardware may have changed.
void Arp::ask(Instant now, Neighbor& n) {
  const bool direct = n.state == NeighborState::probing && n.requests + 1 < kMaxRequests;
  wire::ArpFields request;
  request.operation = wire::kArpRequest;
  request.sender_mac = interface_.mac;
  request.sender_ip = interface_.prefix.address;
  request.target_ip = n.address;
  ++n.requests;
  table_.start_timer(n, now + kRequestInterval);
  deadline_ = earlier(deadline_, n.deadline);
  ++counters_.arp_requests_out;
  emit(request, direct ? n.mac : wire::MacAddress::broadcast());
}

void Arp::on_packet(Instant now, ByteSpan payload) {
  ++counters_.arp_in;
  auto arp = wire::ArpView::parse(payload);
  if (!arp) return counters_.drop(Drop::arp_malformed);
  const wire::MacAddress mac = arp->sender_mac();
  const wire::Ipv4Address ip = arp->sender_ip();
  const wire::Ipv4Address own = interface_.prefix.address;
  if (mac == interface_.mac) return counters_.drop(Drop::ethernet_loop);
  if (mac.is_group() || mac.is_zero()) return counters_.drop(Drop::arp_sender);
  if (interface_.quiet && (ip == own || ip.is_any())) return counters_.drop(Drop::arp_not_ours);

  const bool probes_for_ours = ip.is_any() && arp->target_ip() == own && arp->operation() == wire::kArpRequest;
  if (ip == own || (probes_for_ours && !guard_.usable())) {
    ++counters_.arp_conflicts;
    switch (guard_.on_conflict(now)) {
      case AddressGuard::Verdict::lost: host_.on_address(interface_.link, false, mac); break;
      case AddressGuard::Verdict::defend: announce(); break;
      case AddressGuard::Verdict::none: break;
    }
    update_deadline();
    return;
  }
  const bool for_us = arp->target_ip() == own && address_usable();
  if (!ip.is_any()) {
    if (!interface_.prefix.contains(ip) || is_broadcast(interface_, ip)) return counters_.drop(Drop::arp_sender);
    // RFC 826: update what is known; add only those who speak to us.
    Neighbor* n = table_.find(ip);
    if (n == nullptr && for_us && arp->operation() == wire::kArpRequest) n = table_.add(ip);
    if (n != nullptr) learn(now, *n, *arp);
    if (n == nullptr && !for_us) return counters_.drop(Drop::arp_not_ours);
  }
  if (for_us && !interface_.quiet && arp->operation() == wire::kArpRequest) {
    wire::ArpFields reply;
    reply.operation = wire::kArpReply;
    reply.sender_mac = interface_.mac;
    reply.sender_ip = own;
    reply.target_mac = mac;
    reply.target_ip = ip;
    ++counters_.arp_replies_out;
    emit(reply, mac);
  }
  update_deadline();
}

// What an answer or a question from a neighbour tells. Only an answer to what we asked proves that it hears us: anything else with
// a new address leaves the entry to be checked when it is used (as RFC 4861 section 7.2.5 does with what was not solicited).
void Arp::learn(Instant now, Neighbor& n, const wire::ArpView& arp) {
  const bool asked = n.state == NeighborState::incomplete || n.state == NeighborState::probing;
  const bool answer = asked && arp.operation() == wire::kArpReply && arp.target_ip() == interface_.prefix.address;
  const bool moved = !n.has_mac() || n.mac != arp.sender_mac();
  if (!answer && !moved) return;
  n.mac = arp.sender_mac();
  n.requests = 0;
  n.failed_rounds = 0;
  n.confirmed = now;
  n.state = answer ? NeighborState::reachable : NeighborState::stale;
  table_.stop_timer(n);
  flush(n);
}

void Arp::doubt(Instant now, wire::Ipv4Address address) {
  Neighbor* n = table_.find(address);
  if (n == nullptr || n->state != NeighborState::reachable || now - n->confirmed < kRequestInterval) return;
  n->state = NeighborState::stale;
}

void Arp::flush(Neighbor& n) {
  while (WaitingFrame* frame = table_.dequeue(n)) {
    buf::Packet packet;
    unpack(*frame, packet);
    set_destination(packet, n.mac);
    (void)host_.transmit(interface_.link, packet);  // a refusal is a loss like any other
    NeighborTable::release(frame);
  }
}

void Arp::on_timer(Instant now) {
  if (now < deadline_) return;
  run_guard(now);
  List<Neighbor, TimerTag>& timed = table_.timed();
  // Who is told of a failure may send to others and so change the list: begin again after each.
  for (Neighbor* n = timed.front(); n != nullptr;) {
    if (n->deadline > now) {
      n = timed.next(*n);
    } else if (n->requests < kMaxRequests) {
      ask(now, *n);
      n = timed.next(*n);
    } else {
      fail(now, *n);
      n = timed.front();
    }
  }
  update_deadline();
}

// A neighbour that had answered before is asked again at the next use; one that never did is left alone for a while.
void Arp::fail(Instant now, Neighbor& n) {
  const bool knew = n.state == NeighborState::probing;
  table_.stop_timer(n);
  n.state = NeighborState::failed;
  n.deadline = now;
  if (!knew) {
    Duration hold = kRequestInterval;
    for (uint8_t i = 0; i < n.failed_rounds && hold < kMaxHoldDown; ++i) hold = hold * 2;
    n.deadline = now + hold;
    if (n.failed_rounds < 8) ++n.failed_rounds;
  }
  List<WaitingFrame> lost;  // the entry itself may be gone after the first call below
  while (WaitingFrame* frame = table_.dequeue(n)) lost.push_back(*frame);
  while (WaitingFrame* frame = lost.pop_front()) {
    counters_.drop(Drop::arp_unresolved);
    host_.on_unresolved(now, interface_.link, frame->bytes());
    NeighborTable::release(frame);
  }
}

void Arp::run_guard(Instant now) {
  bool became_usable = false;
  const AddressGuard::Action action = guard_.next(now, rng_, became_usable);
  if (action == AddressGuard::Action::announce) announce();
  if (action == AddressGuard::Action::probe) {
    wire::ArpFields probe;
    probe.operation = wire::kArpRequest;
    probe.sender_mac = interface_.mac;
    probe.target_ip = interface_.prefix.address;
    ++counters_.arp_requests_out;
    emit(probe, wire::MacAddress::broadcast());
  }
  if (became_usable) host_.on_address(interface_.link, true, interface_.mac);
}

void Arp::announce() {
  wire::ArpFields announcement;
  announcement.operation = wire::kArpRequest;
  announcement.sender_mac = interface_.mac;
  announcement.sender_ip = announcement.target_ip = interface_.prefix.address;
  ++counters_.arp_requests_out;
  emit(announcement, wire::MacAddress::broadcast());
}

void Arp::emit(const wire::ArpFields& fields, const wire::MacAddress& destination) {
  buf::Packet packet;
  wire::EthernetFields{destination, interface_.mac, wire::kEtherArp}.emit(
      packet.append_header(wire::EthernetFields::size()));
  fields.emit(packet.append_header(wire::ArpFields::size()));
  (void)host_.transmit(interface_.link, packet);
}

void Arp::update_deadline() {
  deadline_ = guard_.deadline();
  List<Neighbor, TimerTag>& timed = table_.timed();
  for (Neighbor* n = timed.front(); n != nullptr; n = timed.next(*n)) deadline_ = earlier(deadline_, n->deadline);
}

}  // namespace ferry::net

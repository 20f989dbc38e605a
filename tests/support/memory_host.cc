// The regions and their rules; see memory_host.h.
#include "support/memory_host.h"

#include <algorithm>

namespace ferry::support {

buf::IoDesc MemoryHost::Region::append(buf::RegionId id, ByteSpan data, State state) {
  const buf::IoDesc d{bytes.size(), static_cast<uint32_t>(data.size()), id};
  bytes.insert(bytes.end(), data.begin(), data.end());
  states.insert(states.end(), data.size(), state);
  return d;
}

bool MemoryHost::Region::all(const buf::IoDesc& d, State state) const {
  return has(d) && std::all_of(states.begin() + static_cast<std::ptrdiff_t>(d.offset),
                               states.begin() + static_cast<std::ptrdiff_t>(d.offset + d.length),
                               [&](uint8_t s) { return s == state; });
}

void MemoryHost::Region::mark(const buf::IoDesc& d, State state) {
  std::fill_n(states.begin() + static_cast<std::ptrdiff_t>(d.offset), d.length, state);
  if (state == kFree || state == kDiscarded)
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(d.offset), d.length, std::byte{0xdd});
}

void MemoryHost::fault(const std::string& text) const {
  if (faults_.size() < 20) faults_.push_back(text);
}

buf::IoDesc MemoryHost::provide(stack::Owner owner, ByteSpan bytes) {
  const buf::IoDesc d = output_.append(kOutput, bytes, kLive);
  if (!d.empty()) pending_[owner].push_back(d);
  return d;
}

void MemoryHost::withdraw(stack::Owner owner) {
  auto& queue = pending_[owner];
  if (queue.empty()) return;
  output_.mark(queue.back(), kFree);
  queue.pop_back();
}

uint64_t MemoryHost::outstanding(stack::Owner owner) const {
  const auto it = pending_.find(owner);
  uint64_t n = 0;
  if (it != pending_.end())
    for (const buf::IoDesc& d : it->second) n += d.length;
  return n;
}

uint64_t MemoryHost::total_outstanding() const {
  uint64_t n = 0;
  for (const auto& [owner, queue] : pending_) n += outstanding(owner);
  return n;
}

std::vector<std::byte> MemoryHost::take(stack::Owner owner, size_t limit) {
  std::vector<std::byte> out;
  auto& queue = inbox_[owner];
  while (limit > 0 && !queue.empty()) {
    buf::IoDesc& d = queue.front();
    const auto n = static_cast<uint32_t>(std::min<size_t>(limit, d.length));
    const auto from = input_.bytes.begin() + static_cast<std::ptrdiff_t>(d.offset);
    out.insert(out.end(), from, from + n);
    limit -= n;
    d = d.without_prefix(n);
    if (d.empty()) queue.pop_front();
  }
  return out;
}

uint64_t MemoryHost::unread(stack::Owner owner) const {
  const auto it = inbox_.find(owner);
  uint64_t n = 0;
  if (it != inbox_.end())
    for (const buf::IoDesc& d : it->second) n += d.length;
  return n;
}

ByteSpan MemoryHost::read(const buf::IoDesc& d) const {
  if (d.region == kOutput) {
    if (!output_.all(d, kLive)) {
      fault("output read after it was completed");
      return {};
    }
    return ByteSpan(output_.bytes).subspan(d.offset, d.length);
  }
  if (d.region == kInput && input_.has(d)) return ByteSpan(input_.bytes).subspan(d.offset, d.length);
  fault("read of an unknown region");
  return {};
}

MutableByteSpan MemoryHost::write(const buf::IoDesc& d) {
  if (d.region == kInput && input_.has(d)) return MutableByteSpan(input_.bytes).subspan(d.offset, d.length);
  fault("write to a region that is not input");
  return {};
}

std::vector<std::byte> MemoryHost::gather(const buf::Packet& packet) {
  std::vector<std::byte> frame;
  frame.reserve(packet.frame_length());
  const auto add = [&](ByteSpan s) { frame.insert(frame.end(), s.begin(), s.end()); };
  add(packet.header_bytes());
  for (uint32_t i = 0; i < packet.part_count; ++i) add(read(packet.parts[i]));
  add(packet.tail);
  if (frame.size() != packet.frame_length()) fault("packet's length is not the sum of its parts");
  return frame;
}

Status MemoryHost::transmit(stack::LinkIndex link, const buf::Packet& packet) {
  if (!transmit_hook) return {};
  return transmit_hook(link, gather(packet), packet.offload);
}

Result<buf::IoDesc> MemoryHost::place(stack::Owner owner, ByteSpan payload) {
  if (owner == 0) fault("payload placed for nobody");
  if (payload.empty()) fault("nothing placed");
  if (refuse_place && refuse_place()) return Errc::no_buffers;
  placed_ += payload.size();
  return input_.append(kInput, payload, kPlaced);
}

void MemoryHost::discard(stack::Owner, const buf::IoDesc& d) {
  if (d.region != kInput || !input_.all(d, kPlaced)) return fault("discard of what is not placed");
  input_.mark(d, kDiscarded);
  placed_ -= d.length;
}

void MemoryHost::deliver(stack::Owner owner, const buf::IoDesc& d) {
  if (d.region != kInput || !input_.all(d, kPlaced)) return fault("delivery of what is not placed");
  input_.mark(d, kDelivered);
  placed_ -= d.length;
  inbox_[owner].push_back(d);
}

Status MemoryHost::deliver_datagram(stack::Owner owner, const stack::DatagramInfo& info, ByteSpan payload) {
  return datagram_hook ? datagram_hook(owner, info, payload) : Status{};
}

Status MemoryHost::deliver_message(stack::Owner owner, const stack::MessageInfo& info, ByteSpan payload) {
  return message_hook ? message_hook(owner, info, payload) : Status(Errc::not_supported);
}

void MemoryHost::deliver_icmp_error(stack::Owner owner, const stack::IcmpError& error) {
  if (icmp_hook) icmp_hook(owner, error);
}

void MemoryHost::on_completed(stack::Owner owner, uint32_t bytes) {
  auto& queue = pending_[owner];
  while (bytes > 0) {
    if (queue.empty()) return fault("more completed than was sent");
    buf::IoDesc& d = queue.front();
    const uint32_t n = std::min(bytes, d.length);
    output_.mark(d.prefix(n), kFree);
    d = d.without_prefix(n);
    bytes -= n;
    if (d.empty()) queue.pop_front();
  }
}

void MemoryHost::on_events(stack::Owner owner, uint32_t events) {
  if (owner == 0) fault("events for nobody");
  if (events_hook) events_hook(owner, events);
}

stack::Owner MemoryHost::on_incoming(stack::Owner listener, stack::SocketId child, const wire::Endpoint& local,
                                     const wire::Endpoint& remote) {
  return incoming_hook ? incoming_hook(listener, child, local, remote) : 0;
}

void MemoryHost::on_acceptable(stack::Owner listener) {
  if (acceptable_hook) acceptable_hook(listener);
}

}  // namespace ferry::support

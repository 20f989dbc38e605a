// Reading and writing the IPv4 header.
#include "wire/ipv4.h"

#include "wire/checksum.h"

namespace ferry::wire {
namespace {

constexpr uint8_t kOptionEnd = 0, kOptionNop = 1, kOptionLooseRoute = 131, kOptionStrictRoute = 137;

// The total length of a packet whose header lies within `bytes`, with a version and a header length that can be; 0: it is malformed.
// `available`: bytes of the packet that there are, here or elsewhere.
size_t packet_length(ByteSpan bytes, size_t available, bool uncut) {
  if (bytes.size() < kIpv4HeaderBytes || load_u8(bytes, 0) >> 4 != 4) return 0;
  const size_t header = size_t{load_u8(bytes, 0)} % 16 * 4;
  if (header < kIpv4HeaderBytes || header > bytes.size()) return 0;
  const size_t total = load_be16(bytes, 2);
  if (total == 0 && uncut && available > UINT16_MAX) return available;
  return total >= header ? total : 0;
}

}  // namespace

Result<Ipv4View> Ipv4View::parse(ByteSpan bytes, bool uncut) {
  const size_t total = packet_length(bytes, bytes.size(), uncut);
  if (total == 0 || total > bytes.size()) return Errc::malformed;
  return Ipv4View(bytes.first(total));
}

Result<Ipv4View> Ipv4View::parse_detached(ByteSpan bytes, size_t detached, bool uncut) {
  const size_t total = packet_length(bytes, bytes.size() + detached, uncut);
  if (total == 0 || total != bytes.size() + detached) return Errc::malformed;
  return Ipv4View(bytes);
}

Result<Ipv4View> Ipv4View::parse_quoted(ByteSpan bytes) {
  const size_t total = packet_length(bytes, bytes.size(), false);
  if (total == 0) return Errc::malformed;
  return Ipv4View(total < bytes.size() ? bytes.first(total) : bytes);
}

bool Ipv4View::checksum_ok() const { return wire::checksum_ok(Checksum(), header()); }

bool Ipv4View::has_source_route() const {
  const ByteSpan options = option_bytes();
  for (size_t at = 0; at < options.size();) {
    const uint8_t type = load_u8(options, at);
    if (type == kOptionEnd) return false;
    if (type == kOptionNop) {
      ++at;
      continue;
    }
    if (type == kOptionLooseRoute || type == kOptionStrictRoute || at + 1 >= options.size()) return true;
    const size_t length = load_u8(options, at + 1);
    if (length < 2 || length > options.size() - at) return true;
    at += length;
  }
  return false;
}

Result<Ipv4Fields> Ipv4Fields::parse(const Ipv4View& view) {
  Ipv4Fields f;
  f.tos = view.tos();
  f.total_length = view.total_length();
  f.identification = view.identification();
  f.dont_fragment = view.dont_fragment();
  f.more_fragments = view.more_fragments();
  f.fragment_offset = static_cast<uint16_t>(view.fragment_offset());
  f.ttl = view.ttl();
  f.protocol = view.protocol();
  f.source = view.source();
  f.destination = view.destination();
  return f;
}

void Ipv4Fields::emit(MutableByteSpan out) const {
  const uint16_t flags = static_cast<uint16_t>((dont_fragment ? 0x4000 : 0) | (more_fragments ? 0x2000 : 0));
  store_u8(out, 0, 0x45);
  store_u8(out, 1, tos);
  store_be16(out, 2, total_length);
  store_be16(out, 4, identification);
  store_be16(out, 6, static_cast<uint16_t>(flags | fragment_offset / 8));
  store_u8(out, 8, ttl);
  store_u8(out, 9, protocol);
  store_be16(out, 10, 0);
  store_be32(out, 12, source.value);
  store_be32(out, 16, destination.value);
  Checksum sum;
  sum.add(out.first(kIpv4HeaderBytes));
  store_be16(out, 10, sum.finish());
}

}  // namespace ferry::wire

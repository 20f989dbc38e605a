// Reading and writing the Ethernet header.
#include "wire/ethernet.h"

namespace ferry::wire {

MacAddress load_mac(ByteSpan s, size_t at) {
  MacAddress mac;
  for (size_t i = 0; i < 6; ++i) mac.octets[i] = load_u8(s, at + i);
  return mac;
}

void store_mac(MutableByteSpan s, size_t at, const MacAddress& mac) {
  for (size_t i = 0; i < 6; ++i) store_u8(s, at + i, mac.octets[i]);
}

Result<EthernetView> EthernetView::parse(ByteSpan frame) {
  if (frame.size() < kEthernetHeaderBytes) return Errc::malformed;
  return EthernetView(frame);
}

Result<EthernetFields> EthernetFields::parse(const EthernetView& view) {
  return EthernetFields{view.destination(), view.source(), view.type()};
}

void EthernetFields::emit(MutableByteSpan out) const {
  store_mac(out, 0, destination);
  store_mac(out, 6, source);
  store_be16(out, 12, type);
}

}  // namespace ferry::wire

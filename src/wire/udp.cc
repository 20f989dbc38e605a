// Reading and writing the UDP header.
#include "wire/udp.h"

namespace ferry::wire {

Result<UdpView> UdpView::parse(ByteSpan segment) {
  if (segment.size() < kUdpHeaderBytes) return Errc::malformed;
  const size_t length = load_be16(segment, 4);
  if (length < kUdpHeaderBytes || length > segment.size()) return Errc::malformed;
  return UdpView(segment.first(length));
}

Result<UdpFields> UdpFields::parse(const UdpView& view) {
  return UdpFields{view.source_port(), view.destination_port(), view.length(), view.checksum()};
}

void UdpFields::emit(MutableByteSpan out) const {
  store_be16(out, 0, source_port);
  store_be16(out, 2, destination_port);
  store_be16(out, 4, length);
  store_be16(out, kUdpChecksumOffset, checksum);
}

}  // namespace ferry::wire

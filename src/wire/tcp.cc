// Reading and writing the TCP header.
#include "wire/tcp.h"

namespace ferry::wire {

Result<TcpView> TcpView::parse(ByteSpan segment) {
  if (segment.size() < kTcpHeaderBytes) return Errc::malformed;
  const TcpView view(segment);
  if (view.header_length() < kTcpHeaderBytes || view.header_length() > segment.size()) return Errc::malformed;
  return view;
}

Result<TcpFields> TcpFields::parse(const TcpView& view) {
  auto options = TcpOptions::parse(view.option_bytes());
  if (!options) return options.error();
  TcpFields f;
  f.source_port = view.source_port();
  f.destination_port = view.destination_port();
  f.sequence = view.sequence();
  f.acknowledgment = view.acknowledgment();
  f.flags = view.flags();
  f.window = view.window();
  f.checksum = view.checksum();
  f.urgent_pointer = view.urgent_pointer();
  f.options = *options;
  return f;
}

void TcpFields::emit(MutableByteSpan out) const {
  const size_t length = size();
  FERRY_ASSERT(length <= kTcpMaxHeaderBytes && length <= out.size());
  store_be16(out, 0, source_port);
  store_be16(out, 2, destination_port);
  store_be32(out, 4, sequence.value());
  store_be32(out, 8, acknowledgment.value());
  store_u8(out, 12, static_cast<uint8_t>(length / 4 << 4));
  store_u8(out, 13, flags);
  store_be16(out, 14, window);
  store_be16(out, kTcpChecksumOffset, checksum);
  store_be16(out, 18, urgent_pointer);
  options.emit(out.subspan(kTcpHeaderBytes, length - kTcpHeaderBytes));
}

}  // namespace ferry::wire

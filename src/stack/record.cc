// Reading and writing of records; see record.h.
#include "stack/record.h"

namespace ferry::stack {

void RecordWriter::number(uint64_t v, size_t bytes) {
  if (!ok_ || out_.size() - used_ < bytes) {
    ok_ = false;
    return;
  }
  for (size_t i = 0; i < bytes; ++i) out_[used_++] = std::byte{static_cast<uint8_t>(v >> (8 * i))};
}

void RecordWriter::head(SocketType type, RecordKind kind) {
  u32(kRecordMagic);
  u16(kRecordVersion);
  u8(static_cast<uint8_t>(type));
  u8(static_cast<uint8_t>(kind));
}

void RecordWriter::address(const wire::IpAddress& a) {
  for (uint8_t octet : a.octets) u8(octet);
}

void RecordWriter::options(const tcp::UserOptions& o) {
  u8(static_cast<uint8_t>(o.no_delay | o.cork << 1 | o.keep_alive << 2));
  u8(o.keep_count);
  u8(o.syn_count);
  u8(static_cast<uint8_t>(o.congestion));
  u16(o.keep_idle_s);
  u16(o.keep_interval_s);
  u16(o.max_segment);
  u16(static_cast<uint16_t>(o.linger2_s));
  u32(o.user_timeout_ms);
  u32(o.receive_buffer);
  u32(o.send_buffer);
  u32(o.window_clamp);
  u32(o.not_sent_low_water);
}

uint64_t RecordReader::number(size_t bytes) {
  if (!ok_ || in_.size() - used_ < bytes) {
    ok_ = false;
    return 0;
  }
  uint64_t v = 0;
  for (size_t i = 0; i < bytes; ++i) v |= std::to_integer<uint64_t>(in_[used_++]) << (8 * i);
  return v;
}

wire::IpAddress RecordReader::any_address() {
  wire::IpAddress a;
  for (uint8_t& octet : a.octets) octet = u8();
  return a;
}

wire::Endpoint RecordReader::any_endpoint() {
  wire::Endpoint e;
  e.address = any_address();
  e.port = u16();
  return e;
}

wire::IpAddress RecordReader::address() {
  const wire::IpAddress a = any_address();
  if (!a.is_v4()) ok_ = false;  // later versions will know more
  return a;
}

wire::Endpoint RecordReader::endpoint() {
  wire::Endpoint e;
  e.address = address();
  e.port = u16();
  return e;
}

tcp::UserOptions RecordReader::options() {
  tcp::UserOptions o;
  const auto take = [&](tcp::Option option, int64_t value, int64_t unset) {
    if (value != unset && !tcp::store_option(o, option, value)) ok_ = false;
  };
  const uint8_t flags = u8();
  o.no_delay = (flags & 1) != 0;
  o.cork = (flags & 2) != 0;
  o.keep_alive = (flags & 4) != 0;
  take(tcp::Option::keep_count, u8(), o.keep_count);
  take(tcp::Option::syn_count, u8(), o.syn_count);
  take(tcp::Option::congestion, u8(), static_cast<int64_t>(o.congestion));
  take(tcp::Option::keep_idle, u16(), o.keep_idle_s);
  take(tcp::Option::keep_interval, u16(), o.keep_interval_s);
  take(tcp::Option::max_segment, u16(), 0);
  take(tcp::Option::linger2, static_cast<int16_t>(u16()), 0);
  take(tcp::Option::user_timeout, u32(), 0);
  // Buffers were clamped when they were set (and doubled where the option doubles): the stored values count, not the asked ones.
  o.receive_buffer = u32();
  o.send_buffer = u32();
  take(tcp::Option::window_clamp, u32(), 0);
  take(tcp::Option::not_sent_low_water, u32(), 0);
  if (o.receive_buffer > (1u << 30) || o.send_buffer > (1u << 30)) ok_ = false;
  return o;
}

}  // namespace ferry::stack

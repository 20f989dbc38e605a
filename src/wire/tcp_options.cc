// Reading and writing TCP options. The order and padding written are the usual ones (RFC 7323 appendix A), so that 32-bit values
// are aligned and an established connection's header is always NOP NOP timestamps [NOP NOP SACK].
#include "wire/tcp_options.h"

namespace ferry::wire {
namespace {

enum Kind : uint8_t { kEnd = 0, kNop = 1, kMss = 2, kWindowScale = 3, kSackPermitted = 4, kSack = 5, kTimestamps = 8 };

constexpr size_t kMssBytes = 4, kWindowScaleBytes = 3, kSackPermittedBytes = 2, kTimestampsBytes = 10, kSackBlockBytes = 8;

void take(TcpOptions& o, uint8_t kind, ByteSpan value) {
  switch (kind) {
    case kMss:
      if (value.size() == kMssBytes - 2) o.mss = load_be16(value, 0);
      break;
    case kWindowScale:
      // Beyond 127 would look absent; the clamp to 14 is tcp/'s.
      if (value.size() == kWindowScaleBytes - 2)
        o.window_scale = static_cast<int8_t>(load_u8(value, 0) > 127 ? 127 : load_u8(value, 0));
      break;
    case kSackPermitted:
      if (value.empty()) o.sack_permitted = true;
      break;
    case kTimestamps:
      if (value.size() != kTimestampsBytes - 2) break;
      o.has_timestamps = true;
      o.ts_value = load_be32(value, 0);
      o.ts_echo = load_be32(value, 4);
      break;
    case kSack:
      if (value.empty() || value.size() % kSackBlockBytes != 0) break;
      o.sack_count = 0;  // of several such options, the last counts
      o.sacks = {};
      for (size_t at = 0; at < value.size() && o.sack_count < o.sacks.size(); at += kSackBlockBytes)
        o.sacks[o.sack_count++] = {SeqNum(load_be32(value, at)), SeqNum(load_be32(value, at + 4))};
      break;
    default: break;
  }
}

size_t timestamps_size(const TcpOptions& o) {
  if (!o.has_timestamps) return 0;
  return o.sack_permitted ? kTimestampsBytes : kTimestampsBytes + 2;  // SACK permitted takes the place of two NOPs
}

}  // namespace

Result<TcpOptions> TcpOptions::parse(ByteSpan bytes) {
  TcpOptions o;
  for (size_t at = 0; at < bytes.size();) {
    const uint8_t kind = load_u8(bytes, at);
    if (kind == kEnd) break;
    if (kind == kNop) {
      ++at;
      continue;
    }
    if (at + 1 >= bytes.size()) return Errc::malformed;
    const size_t length = load_u8(bytes, at + 1);
    if (length < 2 || length > bytes.size() - at) return Errc::malformed;
    take(o, kind, bytes.subspan(at + 2, length - 2));
    at += length;
  }
  return o;
}

size_t TcpOptions::size() const {
  size_t n = 0;
  if (mss != 0) n += kMssBytes;
  if (sack_permitted) n += has_timestamps ? kSackPermittedBytes : kSackPermittedBytes + 2;
  n += timestamps_size(*this);
  if (window_scale >= 0) n += kWindowScaleBytes + 1;
  if (sack_count > 0) n += 4 + kSackBlockBytes * sack_count;
  return n;
}

void TcpOptions::emit(MutableByteSpan out) const {
  size_t at = 0;
  const auto u8 = [&](uint8_t v) { store_u8(out, at++, v); };
  const auto u16 = [&](uint16_t v) { store_be16(out, at, v), at += 2; };
  const auto u32 = [&](uint32_t v) { store_be32(out, at, v), at += 4; };
  if (mss != 0) u8(kMss), u8(kMssBytes), u16(mss);
  if (sack_permitted) {
    if (!has_timestamps) u8(kNop), u8(kNop);
    u8(kSackPermitted), u8(kSackPermittedBytes);
  }
  if (has_timestamps) {
    if (!sack_permitted) u8(kNop), u8(kNop);
    u8(kTimestamps), u8(kTimestampsBytes), u32(ts_value), u32(ts_echo);
  }
  if (window_scale >= 0) u8(kNop), u8(kWindowScale), u8(kWindowScaleBytes), u8(static_cast<uint8_t>(window_scale));
  if (sack_count > 0) {
    u8(kNop), u8(kNop), u8(kSack), u8(static_cast<uint8_t>(2 + kSackBlockBytes * sack_count));
    for (uint8_t i = 0; i < sack_count; ++i) u32(sacks[i].left.value()), u32(sacks[i].right.value());
  }
}

uint8_t TcpOptions::limit_sacks(uint8_t wanted) {
  sack_count = 0;
  const size_t others = size();
  size_t fit = others + 4 < kMaxBytes ? (kMaxBytes - others - 4) / kSackBlockBytes : 0;
  if (fit > wanted) fit = wanted;
  if (fit > sacks.size()) fit = sacks.size();
  return sack_count = static_cast<uint8_t>(fit);
}

}  // namespace ferry::wire

// Records of sockets: what Stack::save() writes and restore() reads. Versioned, without pointers, little-endian by construction.
//
//   magic u32 | version u16 | type u8 (SocketType: says whose) | kind u8 | what its server writes (port_record.h; tcp/record.h)
//
// Owns: the byte order and bounds of reading and writing, the kinds. Does not own: what is saved (ProtocolServer::save, restore).
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/time.h"
#include "stack/stack.h"
#include "tcp/options.h"
#include "wire/address.h"

namespace ferry::stack {

inline constexpr uint32_t kRecordMagic = 0x4b434f53;  // "SOCK"
inline constexpr uint16_t kRecordVersion = 3;

enum class RecordKind : uint8_t { tcp_plain = 1, tcp_listener, tcp_connecting, tcp_connection, datagram, time_wait };

// Writes to a span; after an overflow ok() is false and nothing more is written.
class RecordWriter {
 public:
  explicit RecordWriter(MutableByteSpan out) : out_(out) {}
  // What every record begins with.
  void head(SocketType type, RecordKind kind);
  void u8(uint8_t v) { number(v, 1); }
  void u16(uint16_t v) { number(v, 2); }
  void u32(uint32_t v) { number(v, 4); }
  void u64(uint64_t v) { number(v, 8); }
  void instant(Instant t) { u64(static_cast<uint64_t>(t.ns())); }
  void address(const wire::IpAddress& a);
  void endpoint(const wire::Endpoint& e) { address(e.address), u16(e.port); }
  void options(const tcp::UserOptions& o);
  // The room that is left; advance() says how much of it was used.
  MutableByteSpan rest() { return out_.subspan(used_); }
  void advance(size_t n) { used_ += n; }
  bool ok() const { return ok_; }
  size_t used() const { return used_; }

 private:
  void number(uint64_t v, size_t bytes);
  MutableByteSpan out_;
  size_t used_ = 0;
  bool ok_ = true;
};

// Reads from a span; past the end ok() is false and everything reads as 0.
class RecordReader {
 public:
  explicit RecordReader(ByteSpan in) : in_(in) {}
  uint8_t u8() { return static_cast<uint8_t>(number(1)); }
  uint16_t u16() { return static_cast<uint16_t>(number(2)); }
  uint32_t u32() { return static_cast<uint32_t>(number(4)); }
  uint64_t u64() { return number(8); }
  Instant instant() { return Instant::from_ns(static_cast<int64_t>(u64())); }
  wire::IpAddress address();  // what is not IPv4 makes ok() false
  wire::Endpoint endpoint();
  // As address() and endpoint(), of any family.
  wire::IpAddress any_address();
  wire::Endpoint any_endpoint();
  // Values out of range make ok() false.
  tcp::UserOptions options();
  ByteSpan rest() const { return in_.subspan(used_); }
  void skip_rest() { used_ = in_.size(); }
  bool ok() const { return ok_; }
  // Read without error and to the end.
  bool complete() const { return ok_ && used_ == in_.size(); }

 private:
  uint64_t number(size_t bytes);
  ByteSpan in_;
  size_t used_ = 0;
  bool ok_ = true;
};

}  // namespace ferry::stack

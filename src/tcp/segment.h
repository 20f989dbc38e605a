// TCP segments as values between tcp/ and stack/: what arrived, and what is to be sent.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "buf/io_desc.h"
#include "wire/seq_num.h"
#include "wire/tcp_options.h"

namespace ferry::tcp {

using wire::SeqNum;
using wire::SackBlock;

enum Flag : uint8_t { kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32, kEce = 64, kCwr = 128 };

// Options of RFC 9293, 7323 and 2018, parsed or to be written.
using Options = wire::TcpOptions;

struct InputSegment {
  SeqNum seq, ack;
  uint8_t flags = 0;
  uint16_t window = 0;           // as on the wire, unscaled
  uint16_t urgent_pointer = 0;
  Options options;
  ByteSpan payload;
  uint16_t gso_size = 0;         // payload bytes per wire segment when the link merged several (GRO), else 0
  uint8_t ecn = 0;               // the IP header's ECN field
};

struct OutputSegment {
  static constexpr size_t kMaxParts = 17;  // as buf::Packet
  SeqNum seq, ack;
  uint8_t flags = 0;
  uint16_t window = 0;
  uint16_t urgent_pointer = 0;
  Options options;
  std::array<buf::IoDesc, kMaxParts> parts;
  uint16_t part_count = 0;
  uint32_t payload_length = 0;
  uint16_t mss = 0;              // payload bytes per wire segment; above it the link segments (GSO)
  uint8_t ecn = 0;               // to put into the IP header
};

}  // namespace ferry::tcp

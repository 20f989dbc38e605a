// Does in software what a network card or the kernel does by GRO, for links where nobody did: puts the consecutive TCP segments of a
// connection that came in one batch together as one super-segment, so that everything behind it works once instead of forty times.
// The reverse of segment.h. No payload is copied: it stays in the frames, which must outlast the batch.
//
// Only what could have come in one piece is joined: IPv4 without options or fragments, TCP data with ACK and nothing else but PSH or
// FIN, which end it; next in sequence, all of one size but the last; everything else of the headers the same: addresses, ports, TOS, TTL,
// DF, acknowledgement, window, option bytes (so also the timestamps). The IP identification is not kept: nothing is forwarded. A
// segment whose checksum is wrong is never joined, and goes on as it is. Order within a connection is kept; between connections
// it may change. Single-threaded, deterministic.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "buf/packet.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace ferry::link {

// A frame as it came, and its TCP payload.
struct JoinedPiece {
  buf::Frame frame;
  ByteSpan payload;
};

// Several segments as one. Valid during the call.
struct Joined {
  buf::Frame head;        // the headers of the whole, in front of its payload; its checksum counts as verified (needs_checksum)
  std::span<const JoinedPiece> pieces;
  uint32_t payload_length = 0;  // of all pieces; with the IP header at most 65,535
};

class JoinedSink {
 public:
  // A frame that was not joined to another.
  virtual void on_single(const buf::Frame& frame) = 0;
  virtual void on_joined(const Joined& joined) = 0;

 protected:
  ~JoinedSink() = default;
};

class SegmentJoiner {
 public:
  static constexpr size_t kGroups = 8;   // connections at once; beyond it the oldest super-segment goes on as it is
  static constexpr size_t kPieces = 64;  // of one super-segment

  explicit SegmentJoiner(JoinedSink& sink) : sink_(sink), groups_(kGroups) {}

  // Passes the frame on now, or with others by flush() at the latest. Its bytes must stay as they are until then.
  void add(const buf::Frame& frame);
  // Passes on what is held. To be called at the end of a batch, before the memory of its frames is used again.
  void flush();
  bool empty() const { return used_ == 0; }

  // Payload bytes read to verify checksums that the link had not.
  uint64_t bytes_summed() const { return bytes_summed_; }

 private:
  // A frame's headers, once it is known that there is TCP over IPv4 in it.
  struct Segment {
    ByteSpan headers;  // Ethernet, IPv4, TCP
    ByteSpan payload;
    size_t transport = 0;     // offset of the TCP header
    uint32_t sequence = 0;
    uint8_t flags = 0;
    bool plain = false;       // may be part of a super-segment
  };
  struct Group {
    Segment first;
    uint32_t next_sequence = 0;
    uint32_t payload_length = 0;
    uint8_t last_flags = 0;
    size_t count = 0;
    std::array<JoinedPiece, kPieces> pieces;
  };

  static bool look(const buf::Frame& frame, Segment& s);
  static bool same_flow(const Segment& a, const Segment& b);
  static bool ends_group(const Group& g, const Segment& s);
  static bool continues(const Group& g, const Segment& s);
  bool verify(buf::Frame& frame, const Segment& s);
  bool append(Group& g, const buf::Frame& frame, const Segment& s);
  void begin(const buf::Frame& frame, const Segment& s);
  void close(size_t index);
  void pass(Group& g);

  JoinedSink& sink_;
  std::vector<Group> groups_;
  std::array<uint8_t, kGroups> order_{0, 1, 2, 3, 4, 5, 6, 7};  // the used ones, oldest first; behind them the free ones
  size_t used_ = 0;
  uint64_t bytes_summed_ = 0;
};

}  // namespace ferry::link

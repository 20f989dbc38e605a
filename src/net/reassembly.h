// Putting fragments together (RFC 791 section 3.2, RFC 815, RFC 1122 section 3.3.2, RFC 3168 section 5.3 for ECN).
//
// Bounded in datagrams, bytes, pieces per datagram and time. Overlapping fragments give up the whole datagram, and what comes
// later of it, as RFC 5722 has it for IPv6; an exact repetition is no overlap.
// Owns: the bytes of unfinished datagrams and of the last finished one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/counters.h"
#include "base/list.h"
#include "base/time.h"
#include "net/interface.h"
#include "wire/ipv4.h"

namespace ferry::net {

class Reassembler {
 public:
  static constexpr uint32_t kMaxDatagrams = 64;          // unfinished
  static constexpr uint32_t kMaxBytes = 4u << 20;        // of their buffers
  static constexpr uint32_t kMaxRanges = 32;             // separate pieces of one datagram
  static constexpr Duration kTimeout = Duration::seconds(30);

  explicit Reassembler(Counters& counters) : counters_(counters) {}
  ~Reassembler();
  Reassembler(const Reassembler&) = delete;
  Reassembler& operator=(const Reassembler&) = delete;

  // Takes a copy of a fragment. Returns the datagram when this completes it: an unfragmented header in front of the payload,
  // valid until the next call. Everything unusable is counted in `counters`.
  std::optional<wire::Ipv4View> add(Instant now, LinkIndex link, const wire::Ipv4View& fragment);

  // Gives up what has waited too long. For each such datagram of which the beginning has arrived, calls
  // visit(LinkIndex, const wire::Ipv4View& beginning).
  template <typename Visit>
  void expire(Instant now, Visit&& visit) {
    while (Partial* p = expired(now)) {
      if (std::optional<wire::Ipv4View> beginning = first_fragment(*p)) visit(p->link, *beginning);
      counters_.drop(Drop::fragment_timeout);
      remove(*p);
    }
  }
  Instant next_deadline() const { return partials_.empty() ? Instant::never() : partials_.front()->deadline; }
  uint32_t datagrams() const { return count_; }
  uint32_t bytes() const { return bytes_; }

 private:
  struct Range {
    uint32_t begin = 0, end = 0;  // of the payload
  };
  // A datagram in the making. Buffer: room for the header, which ends at kHeaderRoom, then the payload.
  struct Partial : ListNode<Partial> {
    LinkIndex link = 0;
    wire::Ipv4Address source, destination;
    uint16_t identification = 0;
    uint8_t protocol = 0;
    uint8_t ecn_seen = 0;          // bit n: a fragment had ECN field n
    bool poisoned = false;         // overlap seen: everything is dropped until the deadline
    uint8_t header_length = 0;     // 0: the first fragment is missing
    uint32_t first_length = 0;     // payload bytes of the first fragment
    uint32_t total = 0;            // payload bytes; 0: the last fragment is missing
    std::byte* buffer = nullptr;
    uint32_t capacity = 0;         // payload bytes that fit
    Instant deadline;
    uint32_t range_count = 0;
    std::array<Range, kMaxRanges> ranges;  // disjoint, not adjoining, rising
  };
  static constexpr uint32_t kHeaderRoom = 64;

  enum class Fit : uint8_t { fresh, repeated, overlap, too_many };

  Partial* find(LinkIndex link, const wire::Ipv4View& fragment);
  Partial* start(Instant now, LinkIndex link, const wire::Ipv4View& fragment);
  Partial* expired(Instant now);
  bool reserve(Partial& p, uint32_t payload_bytes);
  void release_buffer(Partial& p);
  Fit insert(Partial& p, Range r, ByteSpan bytes);
  void poison(Partial& p, Drop reason);
  std::optional<wire::Ipv4View> finish(Partial& p);
  std::optional<wire::Ipv4View> first_fragment(const Partial& p) const;
  void remove(Partial& p);
  void release_finished();

  Counters& counters_;
  List<Partial> partials_;  // oldest first
  uint32_t count_ = 0;
  uint32_t bytes_ = 0;
  std::byte* finished_ = nullptr;
};

}  // namespace ferry::net

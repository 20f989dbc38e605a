// A connection in TIME_WAIT, reduced to what RFC 9293 section 3.10.7.4 still needs of it: about a hundred bytes instead of a
// Connection. Also the rules for taking its addresses again early (RFC 1122 section 4.2.2.13, RFC 6191).
//
// Owns: those values and the verdict on segments. Does not own: the timer, sending (the caller emits what `answer` holds).
#pragma once

#include <cstdint>

#include "base/time.h"
#include "tcp/segment.h"
#include "wire/address.h"

namespace ferry::tcp {

class TimeWait {
 public:
  static constexpr Duration kDuration = Duration::seconds(60);  // Linux's; RFC 9293 3.4.2 asks for 2 MSL = 4 minutes

  enum class Verdict : uint8_t {
    drop,    // nothing to do
    answer,  // send `answer`
    closed,  // reset by the peer: forget it
    reopen,  // a SYN that may open a new connection: forget it, treat the SYN as a listener does, with an iss of next_iss() or later
  };

  wire::Endpoint local, remote;
  SeqNum snd_nxt, rcv_nxt;
  uint32_t rcv_wnd = 0;           // unscaled bytes
  uint16_t window_field = 0;      // as last sent
  bool timestamps = false;
  uint32_t timestamp_offset = 0, ts_recent = 0;
  Instant ts_recent_at;
  Instant expires;
  Instant last_answer = Instant::from_ns(INT64_MIN / 2);

  // `expires` may be extended (the peer's FIN again restarts the wait).
  Verdict on_segment(Instant now, const InputSegment& segment, OutputSegment& answer);
  // May an active open take these addresses (RFC 6191 section 2: with timestamps, after a second)?
  bool may_reopen_actively(Instant now) const { return timestamps && now - ts_recent_at >= Duration::seconds(1); }
  // An initial sequence number beyond everything that this connection sent.
  SeqNum next_iss() const { return snd_nxt + 65537; }

 private:
  void fill_ack(Instant now, OutputSegment& answer) const;
};

// Our timestamp clock: milliseconds, per connection shifted (RFC 7323 section 5.4).
constexpr uint32_t timestamp_value(Instant now, uint32_t offset) { return static_cast<uint32_t>(now.ms()) + offset; }

}  // namespace ferry::tcp

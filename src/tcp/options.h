// What the owner of a connection can set, with the defaults and bounds of Linux's tcp(7), socket(7).
//
// Owns: the value set and its validation. Does not own: numbers of setsockopt (client/), socket-level options that TCP does not
// see (stack/).
#pragma once

#include <cstdint>

#include "base/result.h"
#include "tcp/cc/cc.h"

namespace ferry::tcp {

enum class Option : uint8_t {
  no_delay = 1,         // 0/1: RFC 9293 3.7.4 Nagle off
  cork,                 // 0/1: hold partial segments, at most 200 ms
  keep_alive,           // 0/1
  keep_idle,            // seconds, 1..32767
  keep_interval,        // seconds, 1..32767
  keep_count,           // 1..127
  user_timeout,         // ms, RFC 5482; 0: by number of retransmissions
  max_segment,          // bytes, 88..32767; before the handshake
  quick_ack,            // 0/1: not sticky, as Linux's
  receive_buffer,       // bytes; switches autotuning off
  send_buffer,          // bytes; switches autotuning off
  syn_count,            // SYN retransmissions, 1..127
  congestion,           // cc::Algorithm
  linger2,              // seconds in FIN_WAIT_2 after close; 0: default 60; negative: none
  window_clamp,         // bytes: bound of the advertised window; 0: none
  not_sent_low_water,   // bytes: `writable` and send_space() only while less than this is unsent; 0: none
};

// A plain value: listeners hand theirs on to accepted connections.
struct UserOptions {
  bool no_delay = false;
  bool cork = false;
  bool keep_alive = false;
  uint8_t keep_count = 9;
  uint8_t syn_count = 6;
  cc::Algorithm congestion = cc::Algorithm::cubic;
  uint16_t keep_idle_s = 7200;
  uint16_t keep_interval_s = 75;
  uint16_t max_segment = 0;        // 0: by the interface
  int16_t linger2_s = 0;           // 0: default
  uint32_t user_timeout_ms = 0;
  uint32_t receive_buffer = 0;     // 0: autotuned
  uint32_t send_buffer = 0;        // 0: autotuned
  uint32_t window_clamp = 0;
  uint32_t not_sent_low_water = 0;
};

// Stores `value` for `option`. Errc::invalid when out of range, Errc::no_protocol_option for an unknown option.
// Buffer sizes are clamped to sane bounds instead of refused, as SO_RCVBUF does.
Status store_option(UserOptions& options, Option option, int64_t value);

}  // namespace ferry::tcp

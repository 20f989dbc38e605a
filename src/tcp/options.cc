#include "tcp/options.h"

#include "tcp/limits.h"

namespace ferry::tcp {
namespace {

// Stores `value` if it is within [low, high].
template <typename T>
Status store_within(T& to, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) return Errc::invalid;
  to = static_cast<T>(value);
  return {};
}

uint32_t clamp_buffer(int64_t value, uint32_t most) {
  if (value < kMinBuffer) return kMinBuffer;
  return value > most ? most : static_cast<uint32_t>(value);
}

}  // namespace

Status store_option(UserOptions& o, Option option, int64_t value) {
  switch (option) {
    case Option::no_delay: o.no_delay = value != 0; return {};
    case Option::cork: o.cork = value != 0; return {};
    case Option::keep_alive: o.keep_alive = value != 0; return {};
    case Option::quick_ack: return {};
    case Option::keep_idle: return store_within(o.keep_idle_s, value, 1, 32767);
    case Option::keep_interval: return store_within(o.keep_interval_s, value, 1, 32767);
    case Option::keep_count: return store_within(o.keep_count, value, 1, 127);
    case Option::user_timeout: return store_within(o.user_timeout_ms, value, 0, INT32_MAX);
    case Option::max_segment:
      if (value == 0) {
        o.max_segment = 0;
        return {};
      }
      return store_within(o.max_segment, value, kMinMss, 32767);
    case Option::receive_buffer: o.receive_buffer = clamp_buffer(value, kMaxReceiveBuffer); return {};
    case Option::send_buffer: o.send_buffer = clamp_buffer(value, kMaxSendBuffer); return {};
    case Option::syn_count: return store_within(o.syn_count, value, 1, 127);
    case Option::congestion:
      if (value != static_cast<int64_t>(cc::Algorithm::newreno) && value != static_cast<int64_t>(cc::Algorithm::cubic)) {
        return Errc::invalid;
      }
      o.congestion = static_cast<cc::Algorithm>(value);
      return {};
    case Option::linger2: return store_within(o.linger2_s, value < 0 ? -1 : value, -1, 120);
    case Option::window_clamp: return store_within(o.window_clamp, value, 0, INT32_MAX);
    case Option::not_sent_low_water: return store_within(o.not_sent_low_water, value, 0, INT32_MAX);
  }
  return Errc::no_protocol_option;
}

}  // namespace ferry::tcp

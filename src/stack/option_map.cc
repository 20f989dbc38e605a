// The correspondence of option numbers; see option_map.h.
#include "stack/option_map.h"

namespace ferry::stack {

bool to_tcp_option(Option option, tcp::Option& out) {
  switch (option) {
    case Option::no_delay: out = tcp::Option::no_delay; return true;
    case Option::cork: out = tcp::Option::cork; return true;
    case Option::keep_alive: out = tcp::Option::keep_alive; return true;
    case Option::keep_idle: out = tcp::Option::keep_idle; return true;
    case Option::keep_interval: out = tcp::Option::keep_interval; return true;
    case Option::keep_count: out = tcp::Option::keep_count; return true;
    case Option::user_timeout: out = tcp::Option::user_timeout; return true;
    case Option::max_segment: out = tcp::Option::max_segment; return true;
    case Option::quick_ack: out = tcp::Option::quick_ack; return true;
    case Option::receive_buffer: out = tcp::Option::receive_buffer; return true;
    case Option::send_buffer: out = tcp::Option::send_buffer; return true;
    case Option::syn_count: out = tcp::Option::syn_count; return true;
    case Option::congestion: out = tcp::Option::congestion; return true;
    case Option::linger2: out = tcp::Option::linger2; return true;
    case Option::window_clamp: out = tcp::Option::window_clamp; return true;
    case Option::not_sent_low_water: out = tcp::Option::not_sent_low_water; return true;
    default: return false;
  }
}

Result<int64_t> read_tcp_option(const tcp::UserOptions& o, Option option) {
  switch (option) {
    case Option::no_delay: return int64_t{o.no_delay};
    case Option::cork: return int64_t{o.cork};
    case Option::keep_alive: return int64_t{o.keep_alive};
    case Option::keep_idle: return int64_t{o.keep_idle_s};
    case Option::keep_interval: return int64_t{o.keep_interval_s};
    case Option::keep_count: return int64_t{o.keep_count};
    case Option::user_timeout: return int64_t{o.user_timeout_ms};
    case Option::max_segment: return int64_t{o.max_segment};
    case Option::quick_ack: return int64_t{1};
    case Option::receive_buffer: return int64_t{o.receive_buffer};
    case Option::send_buffer: return int64_t{o.send_buffer};
    case Option::syn_count: return int64_t{o.syn_count};
    case Option::congestion: return static_cast<int64_t>(o.congestion);
    case Option::linger2: return int64_t{o.linger2_s};
    case Option::window_clamp: return int64_t{o.window_clamp};
    case Option::not_sent_low_water: return int64_t{o.not_sent_low_water};
    default: return Errc::no_protocol_option;
  }
}

}  // namespace ferry::stack

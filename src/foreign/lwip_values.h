// lwIP's addresses, error numbers and states as Ferry's, and back.
#pragma once

#include <lwip/err.h>
#include <lwip/ip_addr.h>
#include <lwip/tcpbase.h>

#include "base/result.h"
#include "tcp/state.h"
#include "wire/address.h"

namespace ferry::foreign {

inline ip_addr_t to_lwip(wire::Ipv4Address address) {
  ip_addr_t a{};
  ip_addr_set_ip4_u32_val(a, lwip_htonl(address.value));
  return a;
}

inline wire::Ipv4Address from_lwip(const ip_addr_t& address) { return {lwip_ntohl(ip4_addr_get_u32(ip_2_ip4(&address)))}; }

constexpr Errc to_errc(err_t error) {
  switch (error) {
    case ERR_OK: return Errc::ok;
    case ERR_MEM:
    case ERR_BUF: return Errc::no_memory;
    case ERR_TIMEOUT: return Errc::timed_out;
    case ERR_RTE: return Errc::net_unreachable;
    case ERR_INPROGRESS: return Errc::in_progress;
    case ERR_WOULDBLOCK: return Errc::again;
    case ERR_USE: return Errc::address_in_use;
    case ERR_ALREADY: return Errc::already;
    case ERR_ISCONN: return Errc::is_connected;
    case ERR_CONN: return Errc::not_connected;
    case ERR_ABRT: return Errc::timed_out;  // lwIP gave up: it says so after its last retransmission
    case ERR_RST: return Errc::reset;
    default: return Errc::invalid;
  }
}

constexpr tcp::State to_state(tcp_state state) {
  switch (state) {
    case LISTEN: return tcp::State::listen;
    case SYN_SENT: return tcp::State::syn_sent;
    case SYN_RCVD: return tcp::State::syn_received;
    case ESTABLISHED: return tcp::State::established;
    case FIN_WAIT_1: return tcp::State::fin_wait_1;
    case FIN_WAIT_2: return tcp::State::fin_wait_2;
    case CLOSE_WAIT: return tcp::State::close_wait;
    case CLOSING: return tcp::State::closing;
    case LAST_ACK: return tcp::State::last_ack;
    case TIME_WAIT: return tcp::State::time_wait;
    default: return tcp::State::closed;
  }
}

}  // namespace ferry::foreign

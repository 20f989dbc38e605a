// The states of a TCP connection and which may follow which (RFC 9293 section 3.3.2, figure 5).
//
//                      open_passive                open_active
//        (stack's listener) |     CLOSED --------------------.
//                           v                                v
//                     SYN_RECEIVED <------- SYN ------- SYN_SENT
//                      |        | ACK                        | SYN+ACK
//                close |        '-----> ESTABLISHED <--------'
//                      v           close |     | FIN
//                 FIN_WAIT_1 <-----------'     '-----> CLOSE_WAIT
//              ACK |      | FIN                          | close
//                  v      '------> CLOSING               v
//              FIN_WAIT_2            | ACK            LAST_ACK
//              FIN |                 v                   | ACK
//                  '----------> TIME_WAIT --(60 s)--> CLOSED
//
// Owns: the names, the numbers (those of Linux's TCP_INFO, which programs see), the table. Does not own: what happens on a change.
#pragma once

#include <cstdint>

namespace ferry::tcp {

enum class State : uint8_t {
  established = 1,
  syn_sent = 2,
  syn_received = 3,
  fin_wait_1 = 4,
  fin_wait_2 = 5,
  time_wait = 6,
  closed = 7,
  close_wait = 8,
  last_ack = 9,
  listen = 10,  // never a Connection's; here because ss(8) and TCP_INFO number it
  closing = 11,
};

// "established", for logs and tests.
const char* state_name(State s);

// Whether a connection may go from `from` to `to`. CLOSED can follow every state (reset, abort, timeout).
bool legal_transition(State from, State to);

}  // namespace ferry::tcp

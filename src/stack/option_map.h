// The options of a socket that are its connection's: from the stack's numbers to tcp's, and back to values.
#pragma once

#include "stack/stack.h"
#include "tcp/options.h"

namespace ferry::stack {

// False: not an option of TCP.
bool to_tcp_option(Option option, tcp::Option& out);
// Errc::no_protocol_option for what is not an option of TCP. quick_ack reads as 1: it does not stay.
Result<int64_t> read_tcp_option(const tcp::UserOptions& options, Option option);

}  // namespace ferry::stack

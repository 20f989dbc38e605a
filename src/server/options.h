// setsockopt and getsockopt in Linux's numbers (socket(7), ip(7), tcp(7)) to the options of the stack. What is the client's own
// business (SO_RCVTIMEO, IP_PKTINFO, …) does not come here.
#pragma once

#include "ipc/control.h"
#include "server/protocols.h"
#include "server/socket.h"

namespace ferry::server {

// Errc::no_protocol_option for what Ferry does not have, invalid for a value that is too short or out of range.
Status set_option(Protocols& protocols, Socket& socket, const ipc::control::Request& request);
// Fills data, data_length and value of the reply.
Status get_option(Protocols& protocols, Socket& socket, const ipc::control::Request& request, ipc::control::Reply& reply);

}  // namespace ferry::server

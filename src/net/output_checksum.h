// Finishing transport checksums for links that cannot, and for fragments. Reads the whole payload: counted.
#pragma once

#include "base/counters.h"
#include "base/result.h"
#include "buf/packet.h"

namespace ferry::net {

// Completes `packet.offload`'s checksum in place and clears the request; does nothing when there is none. The field holds the
// pseudo-header's sum. A result of 0 is written as 0xffff, which is the same number and which UDP needs (RFC 768).
// Errc::invalid: payload that cannot be read, or offsets outside the headers; the packet cannot be sent.
Status complete_checksum(buf::Packet& packet, const buf::Memory& memory, Counters& counters);

}  // namespace ferry::net

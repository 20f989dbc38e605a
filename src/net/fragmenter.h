// Cutting an outgoing datagram into fragments (RFC 791 section 3.2) without copying payload: every fragment refers to its part of
// the descriptors.
#pragma once

#include <cstdint>

#include "buf/packet.h"

namespace ferry::net {

// Appends bytes [offset, offset + length) of `from`'s IP payload (what follows `skip` header bytes: the transport header, then
// parts, then tail) to `to`. False: they do not exist.
bool append_slice(buf::Packet& to, const buf::Packet& from, uint32_t skip, uint32_t offset, uint32_t length);

}  // namespace ferry::net

// From the core's error codes to errno (errno(3)); with preload/ and kmod/ the only places that know both.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace ferry::client {

// The positive errno of a code; 0 for Errc::ok. Codes come out of shared memory: unknown numbers give EIO.
int to_errno(Errc code);
inline int to_errno(uint32_t code) { return to_errno(static_cast<Errc>(code < 256 ? code : 255)); }

}  // namespace ferry::client

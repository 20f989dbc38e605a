// For packets that refer to no client memory: all their bytes are in Packet::headers and Packet::tail.
#pragma once

#include "buf/io_desc.h"

namespace ferry::link {

class NoMemory final : public buf::Memory {
 public:
  ByteSpan read(const buf::IoDesc&) const override { return {}; }
  MutableByteSpan write(const buf::IoDesc&) override { return {}; }
};

}  // namespace ferry::link

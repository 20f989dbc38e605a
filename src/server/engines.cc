#include "server/engines.h"

#include "server/engine.h"

namespace ferry::server {

bool Engines::pass_frame(uint32_t to, stack::LinkIndex link, const buf::Frame& frame) {
  if (atomic_add(passing_, 1u) >= kMostPassing) {
    atomic_add(passing_, ~0u);
    return false;
  }
  std::vector<std::byte> copy(frame.bytes.begin(), frame.bytes.end());
  post(to, [this, link, bytes = std::move(copy), offload = frame.offload](Engine& engine) {
    atomic_add(passing_, ~0u);
    engine.take_frame(link, {ByteSpan(bytes), offload});
  });
  return true;
}

bool Engines::show_frame(link::Direction direction, std::vector<std::byte> frame) {
  if (atomic_add(passing_, 1u) >= kMostPassing) {
    atomic_add(passing_, ~0u);
    return false;
  }
  post(0, [this, direction, bytes = std::move(frame)](Engine& engine) {
    atomic_add(passing_, ~0u);
    const ByteSpan piece(bytes);
    engine.captures().record(direction, {&piece, 1});
  });
  return true;
}

}  // namespace ferry::server

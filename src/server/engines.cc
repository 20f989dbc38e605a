#include "server/engines.h"

#include "server/engine.h"

namespace ferry::server {

template <typename F>
bool Engines::post_frame(uint32_t to, F task) {
  if (atomic_add(passing_, 1u) >= kMostPassing) {
    atomic_add(passing_, ~0u);
    return false;
  }
  post(to, [this, work = std::move(task)](Engine& engine) {
    atomic_add(passing_, ~0u);
    work(engine);
  });
  return true;
}

bool Engines::pass_frame(uint32_t to, stack::LinkIndex link, const buf::Frame& frame) {
  std::vector<std::byte> copy(frame.bytes.begin(), frame.bytes.end());
  return post_frame(to, [link, bytes = std::move(copy), offload = frame.offload](Engine& engine) {
    engine.take_frame(link, {ByteSpan(bytes), offload});
  });
}

bool Engines::show_frame(link::Direction direction, std::vector<std::byte> frame) {
  return post_frame(0, [direction, bytes = std::move(frame)](Engine& engine) {
    const ByteSpan piece(bytes);
    engine.captures().record(direction, {&piece, 1});
  });
}

}  // namespace ferry::server

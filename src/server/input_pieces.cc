#include "server/input_pieces.h"

#include <algorithm>

#include "base/atomics.h"
#include "server/client_regions.h"

namespace ferry::server {
namespace abi = ipc::abi;
namespace {

abi::InputPiece load_piece(const abi::InputPiece& shared) {
  uint64_t words[sizeof shared / 8];
  for (size_t i = 0; i < sizeof words / 8; ++i) words[i] = load_relaxed(reinterpret_cast<const uint64_t*>(&shared)[i]);
  abi::InputPiece copy;
  __builtin_memcpy(&copy, words, sizeof copy);
  return copy;
}

}  // namespace

bool InputPieces::take(const ClientRegions& regions, const abi::SocketShared& s) {
  const uint16_t produced = load_acquire(s.input_produced);
  const auto lent = static_cast<uint16_t>(produced - taken_), held = static_cast<uint16_t>(taken_ - done_);
  if (lent > abi::kInputPieces - held) return false;
  for (; taken_ != produced; ++taken_) {
    const abi::InputPiece piece = load_piece(s.input[taken_ % abi::kInputPieces]);
    const buf::IoDesc memory = regions.locate_input(piece);
    if (memory.empty() || piece.position + memory.length < piece.position) return false;
    pieces_[taken_ % abi::kInputPieces] = {piece.position, memory, 0, false};
  }
  return true;
}

bool InputPieces::is_withdrawn(const abi::SocketShared& s, uint16_t index) {
  return static_cast<int16_t>(load_relaxed(s.input_withdrawn) - index) > 0;
}

buf::IoDesc InputPieces::room(const abi::SocketShared& s, uint64_t position, uint32_t length) const {
  for (uint16_t i = done_; i != taken_; ++i) {
    const Piece& p = pieces_[i % abi::kInputPieces];
    if (p.stopped || position < p.position || position - p.position >= p.memory.length) continue;
    const auto at = static_cast<uint32_t>(position - p.position);
    if (length > p.memory.length - at || is_withdrawn(s, i)) return {};
    return p.memory.without_prefix(at).prefix(length);
  }
  return {};
}

void InputPieces::finish(abi::SocketShared& s, uint64_t delivered, uint64_t read) {
  if (empty()) return;
  const uint16_t before = done_;
  for (; done_ != taken_; ++done_) {
    Piece& p = pieces_[done_ % abi::kInputPieces];
    const uint64_t end = p.position + p.memory.length;
    if (!p.stopped && (delivered >= end || is_withdrawn(s, done_))) {
      p.stopped = true;
      p.stop = std::min(delivered, end);
    }
    if (!p.stopped || read < p.stop) break;
  }
  if (done_ != before) store_release(s.input_done, uint32_t{done_});
}

}  // namespace ferry::server

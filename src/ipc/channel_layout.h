// Where things are in a channel's memfd, making one (server) and mapping one (client).
//
// Owns: the arithmetic of offsets, the sealed memfd, the mapping. Does not own: what the words mean (ipc/abi.h).
// Trust: every byte of the mapping, the header included, can be written by the client. The server therefore keeps the layout in
// private memory (ChannelMap::layout()) and never reads an offset, a size or an index of its own back from the mapping.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "ipc/abi.h"
#include "ipc/descriptor_ring.h"
#include "ipc/owned_fd.h"

namespace ferry::ipc {

// What the server decides per client. Memory is taken only as pages are touched.
struct ChannelConfig {
  uint32_t max_sockets = 4096;                 // 1 … abi::kMaxSockets
  uint32_t max_queues = abi::kMaxQueues;       // 1 … abi::kMaxQueues
  uint32_t engines = 1;                        // 1 … abi::kMaxEngines
  uint64_t output_size = uint64_t{64} << 20;   // bytes, a multiple of abi::kPageSize
  uint64_t input_size = uint64_t{64} << 20;
};

struct ChannelLayout {
  uint32_t max_sockets = 0;
  uint32_t max_queues = 0;
  uint32_t engines = 0;
  uint64_t queues_offset = 0;
  uint64_t sockets_offset = 0;
  PoolArea output;
  PoolArea input;
  uint64_t total_size = 0;

  // What one of the engines gives out: of the slots, and of the input pool.
  struct SlotRange {
    uint32_t first, count;
  };
  SlotRange slots_of(uint32_t engine) const { return {engine * (max_sockets / engines), max_sockets / engines}; }
  PoolArea input_of(uint32_t engine) const;

  // Offsets for a configuration; Errc::invalid if a number is out of range.
  static Result<ChannelLayout> of(const ChannelConfig& config);
  // The layout that a header states, each word loaded once. Errc::version_mismatch: not this ABI version or other structure
  // sizes; Errc::malformed: no channel, or parts that overlap, are misaligned or leave the `file_size` bytes of the memfd.
  static Result<ChannelLayout> read(const abi::ChannelHeader& header, uint64_t file_size);
};

// A mapped channel; unmapped and closed on destruction.
class ChannelMap {
 public:
  ChannelMap() = default;
  ChannelMap(ChannelMap&& other) noexcept;
  ChannelMap& operator=(ChannelMap&& other) noexcept;
  ~ChannelMap() { reset(); }

  // Server: a new memfd (close-on-exec, sealed against growing and shrinking), mapped, with a filled header and all else zero.
  // Errc::invalid for the configuration, Errc::no_memory if the kernel refuses.
  static Result<ChannelMap> create(const ChannelConfig& config);
  // Client: maps what it received and validates the header. Takes the descriptor in every case. Errors of
  // ChannelLayout::read; Errc::malformed also for a memfd that is not sealed against shrinking; Errc::no_memory.
  static Result<ChannelMap> open(OwnedFd memfd);

  bool mapped() const { return base_ != nullptr; }
  const ChannelLayout& layout() const { return layout_; }
  // The memfd: to send to the client; -1 after close_fd().
  int fd() const { return fd_.get(); }
  void close_fd() { fd_.reset(); }
  // Unmaps now. Whoever abandons a mapping that no longer exists in this process (after fork) calls forget() instead.
  void reset();
  void forget();

  std::byte* base() const { return base_; }
  abi::ChannelHeader& header() const { return *reinterpret_cast<abi::ChannelHeader*>(base_); }
  // queue < layout().max_queues; slot < layout().max_sockets.
  abi::EventQueue& queue(uint32_t queue) const { return queues()[queue]; }
  abi::EventQueue* queues() const { return reinterpret_cast<abi::EventQueue*>(base_ + layout_.queues_offset); }
  abi::SocketShared& socket(uint32_t slot) const {
    return reinterpret_cast<abi::SocketShared*>(base_ + layout_.sockets_offset)[slot];
  }
  // The bytes of a range that has been checked against layout().output or .input.
  MutableByteSpan bytes(uint64_t offset, uint64_t length) const { return {base_ + offset, length}; }

 private:
  OwnedFd fd_;
  std::byte* base_ = nullptr;
  ChannelLayout layout_;
};

}  // namespace ferry::ipc

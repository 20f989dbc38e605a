// One AF_XDP socket on one receive queue of an interface (Documentation/networking/af_xdp.rst): memory for frames that ferryd shares with
// the kernel alone, and the four rings through which chunks of it go there and back.
//
//   fill -->  kernel  --> receive --> [held until release()] --> fill      send --> kernel --> completion --> send
//
// Owns: the socket, the memory, the rings. Half of the chunks are for receiving, half for sending. What the kernel writes into a ring is
// believed: it is the kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "link/fd.h"
#include "link/interface.h"

namespace ferry::link {

struct XdpOptions {
  enum class Copy : uint8_t { best, copy, zerocopy };
  Copy copy = Copy::best;       // best: without a copy where the driver can
  uint32_t queues = 0;          // receive queues that are served, from 0 on; 0: all of the interface
  bool large_frames = false;    // frames of several chunks (XDP_USE_SG, Linux 6.6)
};

class XdpQueue {
 public:
  static constexpr uint32_t kHeadroom = 256;       // of every received chunk, the kernel's (XDP_PACKET_HEADROOM)
  static constexpr uint32_t kChunkBytes = 4096;    // a page: what a chunk can be at most
  static constexpr uint32_t kSmallChunkBytes = 2048;
  static constexpr uint32_t kRingSlots = 2048;

  struct Received {
    ByteSpan bytes;
    bool more = false;  // the frame goes on in the next piece
  };

  static Outcome<std::unique_ptr<XdpQueue>> open(const Interface& interface, uint32_t queue, const XdpOptions& options, uint32_t chunk_bytes);
  ~XdpQueue();
  XdpQueue(const XdpQueue&) = delete;
  XdpQueue& operator=(const XdpQueue&) = delete;

  int fd() const { return fd_.get(); }
  bool zero_copy() const { return zero_copy_; }
  uint32_t chunk_bytes() const { return chunk_; }

  // The oldest piece received; false: none. Its bytes are valid until release().
  bool next(Received& piece);
  // Gives the chunks of all pieces back to be filled.
  void release();

  // Room for pieces of a frame to be sent; false: there is none now.
  bool has_room(uint32_t pieces);
  // The chunk that the next push() sends. has_room() has been asked.
  MutableByteSpan room() const;
  void push(uint32_t length, bool more);
  // Makes the kernel send what was pushed. May take several calls' worth of work.
  void kick();
  bool wants_write() const { return full_; }

  // Frames that the kernel dropped for want of chunks or room, since the beginning.
  uint64_t dropped() const;

 private:
  struct Ring {
    std::byte* map = nullptr;
    size_t map_bytes = 0;
    uint32_t* producer = nullptr;
    uint32_t* consumer = nullptr;
    uint32_t* flags = nullptr;
    std::byte* slots = nullptr;
    uint32_t at = 0;  // our side's index
  };

  XdpQueue(Fd fd, uint32_t chunk_bytes) : fd_(std::move(fd)), chunk_(chunk_bytes) {}
  std::string set_up(const Interface& interface, uint32_t queue, const XdpOptions& options);
  std::string map_rings();
  void fill(uint64_t chunk);
  void reclaim();

  Fd fd_;
  uint32_t chunk_;
  bool zero_copy_ = false, full_ = false;
  std::byte* memory_ = nullptr;
  Ring fill_, receive_, send_, completion_;
  std::vector<uint64_t> held_;   // received, not released; offsets of chunks
  std::vector<uint64_t> free_;   // to send from
};

}  // namespace ferry::link

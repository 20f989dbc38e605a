// The mapped receive ring of a packet socket (Documentation/networking/packet_mmap.rst, TPACKET_V2), used in an uncommon way: slots
// are small, and a frame that does not fit one is *also* queued whole on the socket (PACKET_COPY_THRESH). So small frames cost no
// system call, an empty ring is seen without one, and a large frame shows its headers first and is then received, by one
// recvmsg(2), to wherever it belongs. Chosen by measurement: docs/performance/links.md.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "link/outcome.h"
#include "link/vnet_header.h"

namespace ferry::link {

class PacketRing {
 public:
  static constexpr uint32_t kSlotBytes = 2048;

  // A received frame, or the head of one that is queued whole on the socket.
  struct Slot {
    ByteSpan bytes;        // what is in the ring
    uint32_t length = 0;   // of the whole frame
    VnetHeader vnet;
    bool queued = false;   // the whole frame is the next one in the socket's queue
    bool cut = false;      // longer than the ring's slot, and the queue had no room: lost
    bool losing = false;   // the kernel dropped frames before this one: ask for statistics
  };

  // Sets up and maps a ring of at least `slots` slots on a packet socket that is not bound yet and has PACKET_VNET_HDR.
  static Outcome<PacketRing> map(int fd, uint32_t slots);
  PacketRing(PacketRing&& other) noexcept;
  PacketRing& operator=(PacketRing&&) = delete;
  ~PacketRing();

  // The oldest frame that was not passed over; false when there is none. Its bytes are valid until release().
  bool front(Slot& slot) const;
  void pass_over();
  // Gives the slots that were passed over back to the kernel.
  void release();

 private:
  PacketRing(std::byte* memory, size_t bytes, uint32_t slots) : memory_(memory), bytes_(bytes), slots_(slots) {}
  std::byte* memory_;
  size_t bytes_;
  uint32_t slots_;
  uint32_t at_ = 0;
  uint32_t held_ = 0;  // slots before at_ that were passed over and not released
};

}  // namespace ferry::link

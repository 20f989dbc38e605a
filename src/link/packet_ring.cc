#include "link/packet_ring.h"

#include <linux/if_packet.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/atomics.h"

namespace ferry::link {
namespace {
constexpr uint32_t kBlockBytes = 64 << 10;
constexpr uint32_t kSlotsPerBlock = kBlockBytes / PacketRing::kSlotBytes;
}  // namespace

Outcome<PacketRing> PacketRing::map(int fd, uint32_t slots) {
  const auto fail = [](const char* what) {
    return Outcome<PacketRing>::failure(std::string(what) + ": " + std::strerror(errno));
  };
  const int version = TPACKET_V2, copy = 1;
  if (::setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) != 0) return fail("PACKET_VERSION");
  if (::setsockopt(fd, SOL_PACKET, PACKET_COPY_THRESH, &copy, sizeof copy) != 0) return fail("PACKET_COPY_THRESH");
  tpacket_req request{};
  request.tp_block_size = kBlockBytes;
  request.tp_block_nr = std::clamp<uint32_t>((slots + kSlotsPerBlock - 1) / kSlotsPerBlock, 1, 2048);
  request.tp_frame_size = kSlotBytes;
  request.tp_frame_nr = request.tp_block_nr * kSlotsPerBlock;
  if (::setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) != 0) return fail("PACKET_RX_RING");
  const size_t bytes = size_t{kBlockBytes} * request.tp_block_nr;
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (p == MAP_FAILED) {
    auto failure = fail("mmap of the ring");
    const tpacket_req none{};  // leave the socket as it was, so that it can be used without a ring
    ::setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &none, sizeof none);
    return failure;
  }
  return PacketRing(static_cast<std::byte*>(p), bytes, request.tp_frame_nr);
}

PacketRing::PacketRing(PacketRing&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)), bytes_(other.bytes_), slots_(other.slots_), at_(other.at_), held_(other.held_) {}

PacketRing::~PacketRing() {
  if (memory_ != nullptr) ::munmap(memory_, bytes_);
}

bool PacketRing::front(Slot& slot) const {
  if (held_ == slots_) return false;
  std::byte* raw = memory_ + size_t{at_} * kSlotBytes;
  const auto& header = *reinterpret_cast<const tpacket2_hdr*>(raw);
  const uint32_t status = load_acquire(header.tp_status);
  if ((status & TP_STATUS_USER) == 0) return false;
  slot.length = header.tp_len;
  slot.bytes = ByteSpan(raw + header.tp_mac, header.tp_snaplen);
  std::memcpy(&slot.vnet, raw + header.tp_mac - sizeof(VnetHeader), sizeof(VnetHeader));
  slot.queued = (status & TP_STATUS_COPY) != 0;
  slot.cut = !slot.queued && header.tp_snaplen < header.tp_len;
  slot.losing = (status & TP_STATUS_LOSING) != 0;
  return true;
}

void PacketRing::pass_over() {
  ++held_;
  at_ = at_ + 1 == slots_ ? 0 : at_ + 1;
}

void PacketRing::release() {
  for (uint32_t slot = (at_ + slots_ - held_) % slots_; held_ > 0; --held_, slot = slot + 1 == slots_ ? 0 : slot + 1) {
    auto& header = *reinterpret_cast<tpacket2_hdr*>(memory_ + size_t{slot} * kSlotBytes);
    store_release(header.tp_status, uint32_t{TP_STATUS_KERNEL});
  }
}

}  // namespace ferry::link

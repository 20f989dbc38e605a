#include "link/xdp_queue.h"

#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/atomics.h"
#include "link/xdp_filter.h"

namespace ferry::link {
namespace {

constexpr uint32_t kMask = XdpQueue::kRingSlots - 1;
constexpr uint32_t kChunks = 2 * XdpQueue::kRingSlots;
constexpr uint16_t kUseSg = 1 << 4;        // XDP_USE_SG, Linux 6.6
constexpr uint32_t kContinued = 1 << 0;    // XDP_PKT_CONTD, the same
constexpr int kMostKicks = 128;            // the kernel sends some 32 frames a call

}  // namespace

Outcome<std::unique_ptr<XdpQueue>> XdpQueue::open(const Interface& interface, uint32_t queue, const XdpOptions& options, uint32_t chunk_bytes) {
  using Result = Outcome<std::unique_ptr<XdpQueue>>;
  Fd fd(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!fd.ok() && errno == EAFNOSUPPORT) return Result::failure("this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS)");
  if (!fd.ok()) return Result::failure(explain_xdp("open an AF_XDP socket"));
  std::unique_ptr<XdpQueue> q(new XdpQueue(std::move(fd), chunk_bytes));
  if (auto error = q->set_up(interface, queue, options); !error.empty()) return Result::failure(error);
  return q;
}

XdpQueue::~XdpQueue() {
  for (Ring* r : {&fill_, &receive_, &send_, &completion_})
    if (r->map != nullptr) ::munmap(r->map, r->map_bytes);
  if (memory_ != nullptr) ::munmap(memory_, size_t{kChunks} * chunk_);
}

std::string XdpQueue::set_up(const Interface& interface, uint32_t queue, const XdpOptions& options) {
  void* memory = ::mmap(nullptr, size_t{kChunks} * chunk_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) return explain_xdp("get memory for frames");
  memory_ = static_cast<std::byte*>(memory);
  xdp_umem_reg umem{};
  umem.addr = reinterpret_cast<uint64_t>(memory_);
  umem.len = uint64_t{kChunks} * chunk_;
  umem.chunk_size = chunk_;
  if (::setsockopt(fd(), SOL_XDP, XDP_UMEM_REG, &umem, sizeof umem) != 0) {
    if (errno == ENOBUFS) return "the frames of an AF_XDP socket need " + std::to_string(umem.len >> 20) + " MiB of locked memory: raise the limit (ulimit -l)";
    return explain_xdp("register memory for frames");
  }
  const int slots = kRingSlots;
  for (const int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING})
    if (::setsockopt(fd(), SOL_XDP, ring, &slots, sizeof slots) != 0) return explain_xdp("make the rings of an AF_XDP socket");
  if (auto error = map_rings(); !error.empty()) return error;
  for (uint64_t i = 0; i < kRingSlots; ++i) {
    fill(i * chunk_);
    free_.push_back((kRingSlots + i) * chunk_);
  }
  store_release(*fill_.producer, fill_.at);

  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_ifindex = static_cast<uint32_t>(interface.index);
  address.sxdp_queue_id = queue;
  address.sxdp_flags = XDP_USE_NEED_WAKEUP;
  if (options.copy == XdpOptions::Copy::copy) address.sxdp_flags |= XDP_COPY;
  if (options.copy == XdpOptions::Copy::zerocopy) address.sxdp_flags |= XDP_ZEROCOPY;
  if (options.large_frames) address.sxdp_flags |= kUseSg;
  if (::bind(fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const std::string which = "queue " + std::to_string(queue) + " of " + interface.name;
    if (errno == EBUSY) return which + " is in use by another AF_XDP socket";
    if (errno == EOPNOTSUPP && options.copy == XdpOptions::Copy::zerocopy)
      return "the driver of " + interface.name + " cannot do without a copy (leave \"zerocopy\" out)";
    if (errno == EINVAL && options.large_frames)
      return "frames of more than a page need Linux 6.6 with AF_XDP; make the MTU of " + interface.name + " smaller";
    return explain_xdp("bind an AF_XDP socket to " + which);
  }
  xdp_options got{};
  socklen_t length = sizeof got;
  zero_copy_ = ::getsockopt(fd(), SOL_XDP, XDP_OPTIONS, &got, &length) == 0 && (got.flags & XDP_OPTIONS_ZEROCOPY) != 0;
  return {};
}

std::string XdpQueue::map_rings() {
  xdp_mmap_offsets offsets{};
  socklen_t length = sizeof offsets;
  if (::getsockopt(fd(), SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) != 0) return explain_xdp("ask for the rings of an AF_XDP socket");
  struct Plan {
    Ring& ring;
    const xdp_ring_offset& where;
    size_t slot_bytes;
    off_t page;
  };
  const Plan plans[] = {{fill_, offsets.fr, sizeof(uint64_t), static_cast<off_t>(XDP_UMEM_PGOFF_FILL_RING)},
                        {completion_, offsets.cr, sizeof(uint64_t), static_cast<off_t>(XDP_UMEM_PGOFF_COMPLETION_RING)},
                        {receive_, offsets.rx, sizeof(xdp_desc), XDP_PGOFF_RX_RING},
                        {send_, offsets.tx, sizeof(xdp_desc), XDP_PGOFF_TX_RING}};
  for (const Plan& p : plans) {
    const size_t bytes = p.where.desc + kRingSlots * p.slot_bytes;
    void* map = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd(), p.page);
    if (map == MAP_FAILED) return explain_xdp("map a ring of an AF_XDP socket");
    Ring& r = p.ring;
    r.map = static_cast<std::byte*>(map);
    r.map_bytes = bytes;
    r.producer = reinterpret_cast<uint32_t*>(r.map + p.where.producer);
    r.consumer = reinterpret_cast<uint32_t*>(r.map + p.where.consumer);
    r.flags = reinterpret_cast<uint32_t*>(r.map + p.where.flags);
    r.slots = r.map + p.where.desc;
  }
  return {};
}

void XdpQueue::fill(uint64_t chunk) {
  reinterpret_cast<uint64_t*>(fill_.slots)[fill_.at & kMask] = chunk;
  ++fill_.at;
}

bool XdpQueue::next(Received& piece) {
  if (receive_.at == load_acquire(*receive_.producer)) return false;
  const xdp_desc& d = reinterpret_cast<const xdp_desc*>(receive_.slots)[receive_.at & kMask];
  piece.bytes = ByteSpan(memory_ + d.addr, d.len);
  piece.more = (d.options & kContinued) != 0;
  held_.push_back(d.addr & ~uint64_t{chunk_ - 1});
  ++receive_.at;
  return true;
}

void XdpQueue::release() {
  if (held_.empty()) return;
  store_release(*receive_.consumer, receive_.at);
  for (const uint64_t chunk : held_) fill(chunk);  // there is room: the ring has a slot for every chunk
  held_.clear();
  store_release(*fill_.producer, fill_.at);
  if ((load_relaxed(*fill_.flags) & XDP_RING_NEED_WAKEUP) != 0) (void)::recvfrom(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
}

// Chunks that were sent are free again.
void XdpQueue::reclaim() {
  const uint32_t end = load_acquire(*completion_.producer);
  for (; completion_.at != end; ++completion_.at) free_.push_back(reinterpret_cast<const uint64_t*>(completion_.slots)[completion_.at & kMask]);
  store_release(*completion_.consumer, completion_.at);
}

bool XdpQueue::has_room(uint32_t pieces) {
  if (free_.size() < pieces) reclaim();
  full_ = free_.size() < pieces;  // as many slots as chunks to send from: a free chunk has a free slot
  return !full_;
}

MutableByteSpan XdpQueue::room() const { return {memory_ + free_.back(), chunk_}; }

void XdpQueue::push(uint32_t length, bool more) {
  reinterpret_cast<xdp_desc*>(send_.slots)[send_.at & kMask] = {free_.back(), length, more ? kContinued : 0};
  free_.pop_back();
  ++send_.at;
}

void XdpQueue::kick() {
  if (load_acquire(*send_.consumer) == send_.at) return;
  store_release(*send_.producer, send_.at);
  full_fence();  // the flag is read after what it speaks of was written
  for (int n = 0; n < kMostKicks && (load_relaxed(*send_.flags) & XDP_RING_NEED_WAKEUP) != 0; ++n) {
    const ssize_t sent = ::sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0);
    if (sent >= 0 || (errno != EAGAIN && errno != EBUSY && errno != EINTR)) break;
    if (load_acquire(*send_.consumer) == send_.at) break;
  }
  reclaim();
}

uint64_t XdpQueue::dropped() const {
  xdp_statistics s{};
  socklen_t length = sizeof s;
  if (::getsockopt(fd(), SOL_XDP, XDP_STATISTICS, &s, &length) != 0) return 0;
  return s.rx_dropped + s.rx_ring_full + s.rx_fill_ring_empty_descs;
}

}  // namespace ferry::link

#include "ipc/channel_layout.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <utility>

#include "base/atomics.h"

namespace ferry::ipc {
namespace {

constexpr uint64_t round_up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }

bool in_range(uint32_t n, uint32_t most) { return n >= 1 && n <= most; }

// Sizes far beyond any use, so that sums cannot overflow.
constexpr uint64_t kMaxPool = uint64_t{1} << 40;

bool is_pool_size(uint64_t n) { return n > 0 && n <= kMaxPool && n % abi::kPageSize == 0; }

// Whether [offset, offset + size) follows `end` and is page aligned; moves `end` behind it.
bool follows(uint64_t& end, uint64_t offset, uint64_t size) {
  if (offset % abi::kPageSize != 0 || offset < end || offset > 4 * kMaxPool) return false;
  end = offset + size;
  return true;
}

std::byte* map_shared(int fd, uint64_t size) {
  const long r = raw_syscall(SYS_mmap, 0, static_cast<long>(size), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return r < 0 && r > -4096 ? nullptr : reinterpret_cast<std::byte*>(r);
}

}  // namespace

Result<ChannelLayout> ChannelLayout::of(const ChannelConfig& c) {
  if (!in_range(c.max_sockets, abi::kMaxSockets) || !in_range(c.max_queues, abi::kMaxQueues) ||
      !in_range(c.engines, abi::kMaxEngines) || c.engines > c.max_sockets || !is_pool_size(c.output_size) ||
      !is_pool_size(c.input_size))
    return Errc::invalid;
  ChannelLayout l;
  l.max_sockets = c.max_sockets;
  l.max_queues = c.max_queues;
  l.engines = c.engines;
  l.queues_offset = round_up(sizeof(abi::ChannelHeader), abi::kPageSize);
  l.sockets_offset = round_up(l.queues_offset + sizeof(abi::EventQueue) * c.max_queues, abi::kPageSize);
  l.output = {round_up(l.sockets_offset + sizeof(abi::SocketShared) * c.max_sockets, abi::kPageSize), c.output_size};
  l.input = {l.output.offset + l.output.size, c.input_size};
  l.total_size = l.input.offset + l.input.size;
  return l;
}

Result<ChannelLayout> ChannelLayout::read(const abi::ChannelHeader& h, uint64_t file_size) {
  if (load_relaxed(h.magic) != abi::kMagic) return Errc::malformed;
  if (load_relaxed(h.version) != abi::kVersion || load_relaxed(h.header_size) != sizeof(abi::ChannelHeader) ||
      load_relaxed(h.socket_size) != sizeof(abi::SocketShared))
    return Errc::version_mismatch;
  ChannelLayout l;
  l.max_sockets = load_relaxed(h.max_sockets);
  l.max_queues = load_relaxed(h.max_queues);
  l.engines = load_relaxed(h.engines);
  l.queues_offset = load_relaxed(h.queues_offset);
  l.sockets_offset = load_relaxed(h.sockets_offset);
  l.output = {load_relaxed(h.output_offset), load_relaxed(h.output_size)};
  l.input = {load_relaxed(h.input_offset), load_relaxed(h.input_size)};
  l.total_size = load_relaxed(h.total_size);
  if (!in_range(l.max_sockets, abi::kMaxSockets) || !in_range(l.max_queues, abi::kMaxQueues) ||
      !in_range(l.engines, abi::kMaxEngines) || !is_pool_size(l.output.size) || !is_pool_size(l.input.size))
    return Errc::malformed;
  uint64_t end = sizeof(abi::ChannelHeader);
  if (!follows(end, l.queues_offset, sizeof(abi::EventQueue) * l.max_queues) ||
      !follows(end, l.sockets_offset, sizeof(abi::SocketShared) * l.max_sockets) ||
      !follows(end, l.output.offset, l.output.size) || !follows(end, l.input.offset, l.input.size) ||
      end > l.total_size || l.total_size != file_size)
    return Errc::malformed;
  return l;
}

PoolArea ChannelLayout::input_of(uint32_t engine) const {
  const uint64_t part = input.size / engines / abi::kPageSize * abi::kPageSize;
  return {input.offset + engine * part, part};
}

ChannelMap::ChannelMap(ChannelMap&& other) noexcept
    : fd_(std::move(other.fd_)), base_(std::exchange(other.base_, nullptr)), layout_(other.layout_) {}

ChannelMap& ChannelMap::operator=(ChannelMap&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::move(other.fd_);
    base_ = std::exchange(other.base_, nullptr);
    layout_ = other.layout_;
  }
  return *this;
}

void ChannelMap::reset() {
  if (base_ != nullptr) raw_syscall(SYS_munmap, arg(base_), static_cast<long>(layout_.total_size));
  forget();
}

void ChannelMap::forget() {
  base_ = nullptr;
  fd_.reset();
}

Result<ChannelMap> ChannelMap::create(const ChannelConfig& config) {
  auto layout = ChannelLayout::of(config);
  if (!layout) return layout.error();
  ChannelMap map;
  map.layout_ = *layout;
  const long fd = raw_syscall(SYS_memfd_create, arg("ferry-channel"), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return Errc::no_memory;
  map.fd_ = OwnedFd(static_cast<int>(fd));
  if (raw_syscall(SYS_ftruncate, fd, static_cast<long>(layout->total_size)) != 0) return Errc::no_memory;
  if (raw_syscall(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return Errc::no_memory;
  map.base_ = map_shared(static_cast<int>(fd), layout->total_size);
  if (map.base_ == nullptr) return Errc::no_memory;

  abi::ChannelHeader& h = map.header();
  h.version = abi::kVersion;
  h.header_size = sizeof(abi::ChannelHeader);
  h.socket_size = sizeof(abi::SocketShared);
  h.max_sockets = layout->max_sockets;
  h.max_queues = layout->max_queues;
  h.engines = layout->engines;
  h.total_size = layout->total_size;
  h.queues_offset = layout->queues_offset;
  h.sockets_offset = layout->sockets_offset;
  h.output_offset = layout->output.offset;
  h.output_size = layout->output.size;
  h.input_offset = layout->input.offset;
  h.input_size = layout->input.size;
  store_release(h.magic, abi::kMagic);
  return map;
}

Result<ChannelMap> ChannelMap::open(OwnedFd memfd) {
  struct stat status;
  if (raw_syscall(SYS_fstat, memfd.get(), arg(&status)) != 0 || status.st_size < 0) return Errc::malformed;
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size < sizeof(abi::ChannelHeader)) return Errc::malformed;
  const long seals = raw_syscall(SYS_fcntl, memfd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) return Errc::malformed;
  ChannelMap map;
  map.base_ = map_shared(memfd.get(), size);
  if (map.base_ == nullptr) return Errc::no_memory;
  map.layout_.total_size = size;  // what reset() unmaps
  auto layout = ChannelLayout::read(map.header(), size);
  if (!layout) return layout.error();
  map.layout_ = *layout;
  map.fd_ = std::move(memfd);
  return map;
}

}  // namespace ferry::ipc

#include "server/client_regions.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <utility>

namespace ferry::server {
namespace abi = ipc::abi;
namespace {

constexpr long kTmpfsMagic = 0x01021994;  // statfs(2); a hugetlbfs memfd gives SIGBUS where pages run out

// Size of a memfd that stays as large as it is, 0: not one. F_GET_SEALS comes first: it fails for everything but memory files without
// asking a file system, which could let us wait.
uint64_t sealed_size(int fd) {
  constexpr int kNeeded = F_SEAL_SHRINK | F_SEAL_GROW;
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kNeeded) != kNeeded) return 0;
  struct statfs system;
  struct stat file;
  if (fstatfs(fd, &system) != 0 || system.f_type != kTmpfsMagic || fstat(fd, &file) != 0 || file.st_size < 0) return 0;
  return static_cast<uint64_t>(file.st_size);
}

}  // namespace

ClientRegions::~ClientRegions() {
  for (Region& r : regions_) unmap(r);
  release_forgotten();
}

void ClientRegions::unmap(Region& region) {
  if (region.base == nullptr) return;
  memory_.remove(region.id);
  munmap(region.base, region.size);
  region = {};
}

Status ClientRegions::add(uint32_t number, int memfd, uint64_t most, Channel* channel) {
  if (number == 0 || number > abi::kMaxRegions) return Errc::invalid;
  const uint64_t size = sealed_size(memfd);
  if (size == 0 || size > most || size % abi::kHugePageSize != 0) return Errc::invalid;
  Region& region = regions_[number - 1];
  if (region.base != nullptr)
    if (Status left = forget(number); !left) return left;
  Region fresh = map(memfd, size, channel);
  if (fresh.base == nullptr) return Errc::no_memory;
  if (fresh.id == 0) {
    munmap(fresh.base, size);
    return Errc::too_many;
  }
  fresh.memfd.reset(fcntl(memfd, F_DUPFD_CLOEXEC, 0));
  region = std::move(fresh);
  return {};
}

// At a multiple of the huge page size, so that its pages are huge ones here, too. Writable unless the client has seen to it that it is not.
ClientRegions::Region ClientRegions::map(int memfd, uint64_t size, Channel* channel) {
  void* space = mmap(nullptr, size + abi::kHugePageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED) return {};
  auto* base = static_cast<std::byte*>(space);
  const uint64_t in_front = -reinterpret_cast<uintptr_t>(base) % abi::kHugePageSize;
  if (in_front > 0) munmap(base, in_front);
  base += in_front;
  munmap(base + size, abi::kHugePageSize - in_front);
  bool writable = true;
  constexpr int kFlags = MAP_SHARED | MAP_NORESERVE | MAP_FIXED;
  if (mmap(base, size, PROT_READ | PROT_WRITE, kFlags, memfd, 0) == MAP_FAILED) {
    writable = false;
    if (mmap(base, size, PROT_READ, kFlags, memfd, 0) == MAP_FAILED) return munmap(base, size), Region{};
  }
  return {base, size, memory_.add(base, size, channel), writable, {}};
}

Status ClientRegions::forget(uint32_t number) {
  if (number == 0 || number > abi::kMaxRegions || regions_[number - 1].base == nullptr) return Errc::invalid;
  if (forgotten_.size() >= abi::kMaxRegions) return Errc::too_many;
  forgotten_.push_back(std::exchange(regions_[number - 1], {}));
  return {};
}

void ClientRegions::forget_all() {
  for (Region& r : regions_)
    if (r.base != nullptr) forgotten_.push_back(std::exchange(r, {}));
}

void ClientRegions::release_forgotten() {
  for (Region& r : forgotten_) unmap(r);
  forgotten_.clear();
}

buf::IoDesc ClientRegions::bytes_of(uint32_t number, uint64_t offset, uint32_t length) const {
  if (number == 0 || number > abi::kMaxRegions) return {};
  const Region& r = regions_[number - 1];
  if (offset > r.size || length > r.size - offset) return {};
  return {offset, length, r.id};
}

buf::IoDesc ClientRegions::locate(const abi::Descriptor& d) const { return bytes_of(d.region, d.offset, d.length); }

buf::IoDesc ClientRegions::locate_input(const abi::InputPiece& piece) const {
  const buf::IoDesc d = bytes_of(piece.region, piece.offset, piece.length);
  return !d.empty() && regions_[piece.region - 1].writable ? d : buf::IoDesc{};
}

int ClientRegions::memfd(uint32_t number) const {
  return number >= 1 && number <= abi::kMaxRegions && regions_[number - 1].memfd ? regions_[number - 1].memfd.get() : -1;
}

uint32_t ClientRegions::number_of(buf::RegionId id) const {
  for (uint32_t i = 0; id != 0 && i < abi::kMaxRegions; ++i)
    if (regions_[i].id == id) return i + 1;
  return 0;
}

uint64_t ClientRegions::mapped_bytes() const {
  uint64_t sum = 0;
  for (const Region& r : regions_) sum += r.size;
  for (const Region& r : forgotten_) sum += r.size;
  return sum;
}

}  // namespace ferry::server

#include "server/client_regions.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

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
  void* p = mmap(nullptr, size, PROT_READ, MAP_SHARED | MAP_NORESERVE, memfd, 0);
  if (p == MAP_FAILED) return Errc::no_memory;
  region = {static_cast<std::byte*>(p), size, memory_.add(static_cast<std::byte*>(p), size, channel)};
  if (region.id != 0) return {};
  munmap(p, size);
  region = {};
  return Errc::too_many;
}

Status ClientRegions::forget(uint32_t number) {
  if (number == 0 || number > abi::kMaxRegions || regions_[number - 1].base == nullptr) return Errc::invalid;
  if (forgotten_.size() >= abi::kMaxRegions) return Errc::too_many;
  forgotten_.push_back(regions_[number - 1]);
  regions_[number - 1] = {};
  return {};
}

void ClientRegions::release_forgotten() {
  for (Region& r : forgotten_) unmap(r);
  forgotten_.clear();
}

buf::IoDesc ClientRegions::locate(const abi::Descriptor& d) const {
  if (d.region == 0 || d.region > abi::kMaxRegions) return {};
  const Region& r = regions_[d.region - 1];
  if (d.offset > r.size || d.length > r.size - d.offset) return {};
  return {d.offset, d.length, r.id};
}

uint64_t ClientRegions::mapped_bytes() const {
  uint64_t sum = 0;
  for (const Region& r : regions_) sum += r.size;
  for (const Region& r : forgotten_) sum += r.size;
  return sum;
}

}  // namespace ferry::server

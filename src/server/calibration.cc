#include "server/calibration.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include "ipc/abi.h"
#include "server/unique_fd.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1
#endif

namespace ferry::server {
namespace {

constexpr size_t kPage = ipc::abi::kHugePageSize;
constexpr int kRounds = 9;  // of everything; the median counts

uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

// Median time of work(), nanoseconds, never 0.
template <typename Work>
uint64_t median_of(Work work) {
  std::array<uint64_t, kRounds> times;
  for (uint64_t& t : times) {
    const uint64_t start = now_ns();
    work();
    t = now_ns() - start;
  }
  std::nth_element(times.begin(), times.begin() + kRounds / 2, times.end());
  return std::max<uint64_t>(times[kRounds / 2], 1);
}

// A mapping for the time of a measurement; nullptr: could not be had.
class Mapping {
 public:
  Mapping(size_t size, int protection, int flags, int fd)
      : p_(mmap(nullptr, size, protection, flags, fd, 0)), size_(size) {}
  ~Mapping() {
    if (p_ != MAP_FAILED) munmap(p_, size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  char* get() const { return p_ == MAP_FAILED ? nullptr : static_cast<char*>(p_); }

 private:
  void* p_;
  size_t size_;
};

uint64_t measure_copy() {
  constexpr size_t kEach = 1 << 20, kAll = (kRounds + 1) * kEach;  // other bytes in every round: none are in the cache
  const Mapping from(kAll, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1), to(kEach, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  if (from.get() == nullptr || to.get() == nullptr) return 0;
  std::memset(from.get(), 1, kAll);
  std::memset(to.get(), 1, kEach);
  size_t at = 0;
  return median_of([&] { std::memcpy(to.get(), from.get() + (at += kEach), kEach); });
}

// map_ns, protect_ns and look_ns, in the way of client/region.cc. Left 0 without huge pages.
void measure_pages(Calibration& c) {
  const UniqueFd fd(memfd_create("ferry-calibration", MFD_CLOEXEC));
  if (!fd || ftruncate(fd.get(), 2 * kPage) != 0) return;
  const Mapping space(2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
  if (space.get() == nullptr) return;
  char* page = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(space.get()) + kPage - 1) / kPage * kPage);
  const auto map = [&](int flags, off_t at = 0) { return mmap(page, kPage, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd.get(), at) == page; };
  for (const off_t at : {off_t{kPage}, off_t{0}}) {
    if (!map(MAP_SHARED, at) || fallocate(fd.get(), 0, at, 4096) != 0 || madvise(page, kPage, MADV_COLLAPSE) != 0) return;
    *page = 1;
  }
  c.protect_ns = median_of([&] {
    mprotect(page, kPage, PROT_READ);
    mprotect(page, kPage, PROT_READ | PROT_WRITE);
  });
  bool good = true;
  c.map_ns = median_of([&] { good &= map(MAP_PRIVATE) && *static_cast<volatile char*>(page) == 1; });
  if (!good) c.map_ns = 0;
  off_t shown = 0;
  c.swap_ns = median_of([&] {
    good &= map(MAP_SHARED, shown = static_cast<off_t>(kPage) - shown) && *static_cast<volatile char*>(page) == 1;  // the program's
    good &= mmap(page, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == page && map(MAP_SHARED, shown);
    good &= madvise(page, kPage, MADV_DONTFORK) == 0;
  });
  if (!good || !map(MAP_PRIVATE)) c.swap_ns = 0;
  const UniqueFd pagemap(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  std::vector<uint64_t> entries(kPage / 4096);
  const auto at = static_cast<off_t>(reinterpret_cast<uintptr_t>(page) / 4096 * sizeof entries[0]);
  c.look_ns = median_of([&] { good &= pread(pagemap.get(), entries.data(), kPage / 4096 * sizeof entries[0], at) > 0; });
}

uint64_t measure_wake() {
  int there[2], back[2];
  if (pipe2(there, O_CLOEXEC) != 0) return 0;
  const UniqueFd a(there[0]), b(there[1]);
  if (pipe2(back, O_CLOEXEC) != 0) return 0;
  const UniqueFd c(back[0]), d(back[1]);
  std::thread other([&] {
    char byte = 0;
    for (int i = 0; i < kRounds && read(a.get(), &byte, 1) == 1; ++i)
      if (write(d.get(), &byte, 1) != 1) return;
  });
  char byte = 0;
  bool good = true;
  const uint64_t both = median_of([&] { good = good && write(b.get(), &byte, 1) == 1 && read(c.get(), &byte, 1) == 1; });
  other.join();
  return good ? both / 2 : 0;
}

std::string text_of_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

uint64_t reference_bytes_of(const Calibration& c) {
  if (c.map_ns == 0 || c.copy_ns == 0) return kMostReference;
  const uint64_t bytes = 2 * (c.map_ns + c.look_ns) * (uint64_t{1} << 20) / c.copy_ns;
  return std::clamp((bytes + 4095) / 4096 * 4096, kLeastReference, kMostReference);
}

uint64_t swap_bytes_of(const Calibration& c) {
  if (c.swap_ns == 0 || c.copy_ns == 0) return 0;
  const uint64_t bytes = (kPage + c.swap_ns * (uint64_t{1} << 20) / c.copy_ns) / 2;
  return bytes > kPage ? 0 : (bytes + 4095) / 4096 * 4096;
}

Calibration measure() {
  Calibration c;
  c.copy_ns = measure_copy();
  measure_pages(c);
  c.wake_ns = measure_wake();
  c.reference_bytes = reference_bytes_of(c);
  c.swap_bytes = swap_bytes_of(c);
  return c;
}

std::string to_text(const Calibration& c, const std::string& boot) {
  char text[256];
  std::snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", c.copy_ns,
                c.protect_ns, c.map_ns, c.look_ns, c.swap_ns, c.wake_ns, c.reference_bytes, c.swap_bytes);
  return boot + text;
}

bool from_text(const std::string& text, const std::string& boot, Calibration& c) {
  if (boot.empty() || text.compare(0, boot.size(), boot) != 0) return false;
  Calibration read;
  if (std::sscanf(text.c_str() + boot.size(), "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                  &read.copy_ns, &read.protect_ns, &read.map_ns, &read.look_ns, &read.swap_ns, &read.wake_ns, &read.reference_bytes,
                  &read.swap_bytes) != 8)
    return false;
  if (read.reference_bytes != reference_bytes_of(read) || read.swap_bytes != swap_bytes_of(read)) return false;
  read.cached = true;
  c = read;
  return true;
}

Calibration calibrate(const std::string& path) {
  const std::string boot = text_of_file("/proc/sys/kernel/random/boot_id");
  Calibration c;
  if (from_text(text_of_file(path), boot, c)) return c;
  c = measure();
  // A new file in place of the old one: a reader sees one of them, and a link that somebody put there is not followed.
  const std::string fresh = path + ".new";
  unlink(fresh.c_str());
  const UniqueFd file(open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  const std::string text = to_text(c, boot);
  if (file && (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || rename(fresh.c_str(), path.c_str()) != 0))
    unlink(fresh.c_str());
  return c;
}

}  // namespace ferry::server

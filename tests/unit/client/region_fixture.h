// A region by itself, with room for 80 huge pages, and what the server sees of its memfd.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "client/region.h"

namespace ferry::client {

class RegionTest : public testing::Test {
 protected:
  static constexpr size_t kPage = Region::kPage;
  static constexpr size_t kSmall = 4096;

  void SetUp() override {
    void* p = mmap(nullptr, kSize + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(p, MAP_FAILED);
    base_ = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(p) + kPage - 1) / kPage * kPage);
    ASSERT_TRUE(region_.open(base_, kSize).ok());
    view_fd_ = dup(region_.memfd());
    view_ = static_cast<const char*>(mmap(nullptr, kSize, PROT_READ, MAP_SHARED, view_fd_, 0));
    pagemap_ = ::open("/proc/self/pagemap", O_RDONLY);
    char* p0 = allocate(1);
    if (p0 == nullptr) GTEST_SKIP() << "no huge pages here";
    region_.release(reinterpret_cast<std::byte*>(p0));
  }
  void TearDown() override {
    if (region_.is_open()) region_.close();
    ::close(pagemap_);
    ::close(view_fd_);
  }
  char* allocate(size_t pages, bool zeroed = false) {
    bool busy = false;
    return reinterpret_cast<char*>(region_.allocate(pages, zeroed, busy));
  }
  void release(char* p) { region_.release(reinterpret_cast<std::byte*>(p)); }
  size_t refer(const char* p, size_t n) {
    return region_.refer(reinterpret_cast<const std::byte*>(p), n, n, least_, WrittenPages(pagemap_));
  }
  void unrefer(const char* p) { region_.unrefer(region_.offset_of(reinterpret_cast<const std::byte*>(p))); }
  // What the server sees of it.
  const char* seen(const char* p) const { return view_ + (p - reinterpret_cast<const char*>(base_)); }
  // Small pages of [p, p + n) that are the program's alone.
  size_t copies(const char* p, size_t n) const {
    size_t count = 0;
    for (size_t at = 0; at < n; at += kSmall) count += WrittenPages(pagemap_).any(reinterpret_cast<const std::byte*>(p + at), 1);
    return count;
  }

  static constexpr size_t kSize = 80 * kPage;
  std::byte* base_ = nullptr;
  Region region_;
  int view_fd_ = -1, pagemap_ = -1;
  size_t least_ = 0;  // of refer()
  const char* view_ = nullptr;
};

}  // namespace ferry::client

// Copies whose memory is not there say so; faults that are none of theirs are left alone.
#include "client/guarded_copy.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace ferry::client {
namespace {

constexpr size_t kPage = 4096;

void on_fault(int number, siginfo_t*, void* context) {
  if (fix_guarded_fault(context)) return;
  signal(number, SIG_DFL);
}

class GuardedCopy : public testing::Test {
 protected:
  GuardedCopy() {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &old_);
    // present | absent | constant
    area_ = static_cast<std::byte*>(mmap(nullptr, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(area_ + kPage, kPage, PROT_NONE);
    mprotect(area_ + 2 * kPage, kPage, PROT_READ);
  }
  ~GuardedCopy() override {
    munmap(area_, 3 * kPage);
    sigaction(SIGSEGV, &old_, nullptr);
  }
  struct sigaction old_ = {};
  std::byte* area_;
};

TEST_F(GuardedCopy, GoodMemoryIsCopied) {
  const char text[] = "all of it";
  char to[sizeof text] = "";
  EXPECT_TRUE(guarded_copy(to, text, sizeof text));
  EXPECT_STREQ(to, text);
  EXPECT_TRUE(guarded_copy(nullptr, text, 0));
}

TEST_F(GuardedCopy, StreamingCopiesTheSame) {
  std::vector<char> from(600), to(600), plain(600);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<char>(i * 7 + 1);
  for (size_t at = 0; at < 32; ++at) {
    for (size_t other : {0u, 1u, 13u}) {
      for (size_t n : {0u, 1u, 15u, 16u, 17u, 63u, 64u, 200u, 555u}) {
        std::fill(to.begin(), to.end(), 'x');
        std::fill(plain.begin(), plain.end(), 'x');
        EXPECT_TRUE(guarded_stream(to.data() + at, from.data() + other, n));
        std::memcpy(plain.data() + at, from.data() + other, n);
        ASSERT_EQ(to, plain) << at << " " << other << " " << n;
      }
    }
  }
  EXPECT_FALSE(guarded_stream(to.data(), area_ + kPage - 100, 200));
  EXPECT_FALSE(guarded_stream(area_ + kPage - 100, from.data(), 200));
}

TEST_F(GuardedCopy, EverySizeAtTheEdge) {
  std::vector<std::byte> plenty(3 * kPage);
  for (size_t n : {1u, 7u, 16u, 31u, 64u, 100u, 1000u, 4096u, 8000u}) {
    for (size_t inside : {size_t{0}, size_t{1}, n / 2, n - 1}) {
      if (inside > kPage || inside >= n) continue;
      EXPECT_FALSE(guarded_copy(plenty.data(), area_ + kPage - inside, n)) << n << " from " << inside;
      EXPECT_FALSE(guarded_copy(area_ + kPage - inside, plenty.data(), n)) << n << " to " << inside;
    }
    if (n > kPage) continue;
    EXPECT_TRUE(guarded_copy(plenty.data(), area_ + kPage - n, n)) << n;
    EXPECT_TRUE(guarded_copy(area_ + kPage - n, plenty.data(), n)) << n;
  }
}

TEST_F(GuardedCopy, ConstantsCanBeReadOnly) {
  std::byte b{1};
  EXPECT_TRUE(guarded_copy(&b, area_ + 2 * kPage, 1));
  EXPECT_FALSE(guarded_copy(area_ + 2 * kPage, &b, 1));
  EXPECT_TRUE(is_readable(area_ + 2 * kPage, kPage));
  EXPECT_FALSE(is_writable(area_ + 2 * kPage, 1));
}

TEST_F(GuardedCopy, ProbesLookAtEveryPage) {
  EXPECT_TRUE(is_writable(area_, kPage));
  EXPECT_TRUE(is_readable(area_ + kPage - 1, 1));
  EXPECT_FALSE(is_readable(area_ + kPage - 1, 2));
  EXPECT_FALSE(is_readable(area_, 3 * kPage));  // both ends are there
  EXPECT_TRUE(is_readable(nullptr, 0));
  EXPECT_FALSE(is_readable(nullptr, 1));
  EXPECT_FALSE(is_writable(reinterpret_cast<void*>(uintptr_t{0xdead} << 48), 4));  // no such address
  EXPECT_FALSE(is_readable(reinterpret_cast<void*>(~uintptr_t{0} - 10), 5));
  EXPECT_FALSE(is_readable(reinterpret_cast<void*>(~uintptr_t{0} - 10), 50));  // beyond the end of all addresses
}

TEST_F(GuardedCopy, ProbesChangeNothing) {
  std::memset(area_, 0x5a, kPage);
  EXPECT_TRUE(is_writable(area_, kPage));
  for (size_t i = 0; i < kPage; ++i) EXPECT_EQ(area_[i], std::byte{0x5a});
}

TEST_F(GuardedCopy, OtherFaultsAreNotItsBusiness) {
  std::byte b;
  EXPECT_FALSE(guarded_copy(&b, area_ + kPage, 1));
  EXPECT_EXIT(*reinterpret_cast<volatile std::byte*>(area_ + kPage) = b, testing::KilledBySignal(SIGSEGV), "");
}

}  // namespace
}  // namespace ferry::client

// Passages from the client's side: a stream stays in order, and nobody sleeps on, while the server opens and ends passages at any moment.
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <atomic>
#include <thread>

#include "client/socket.h"
#include "fake_server.h"
#include "ipc/passage.h"

namespace ferry::client::test {
namespace {

constexpr uint32_t kPiece = 16 * 1024;

class PassageTest : public testing::Test {
 protected:
  void SetUp() override {
    server_.peer_memfd = std::move(*ipc::make_peer_memfd());
    view_ = *ipc::map_peer_memfd(server_.peer_memfd.get());
    k_ = socket_.open(abi::kKindTcp, false, false, true);
    ASSERT_GE(k_, 0);
    ASSERT_EQ(socket_.connect(k_, make_address(0x0a090002, 80), false), 0);
  }
  void TearDown() override {
    socket_.close();
    ::close(k_);
    ipc::unmap_peer_region(view_);
    EXPECT_EQ(server_.violations, 0u);
  }
  // The program's end of the connection is side 0.
  abi::PassageEnd& end(uint32_t side) { return view_.end(0, side); }

  // As socket_passage.cc of the server does it: tx_lock is taken away, rx_lock is not.
  void open() {
    std::lock_guard lock(server_.mutex);
    abi::SocketShared& s = server_.last().shared();
    ipc::revoke(s.tx_lock);
    while (!ipc::is_released(s.tx_lock)) std::this_thread::yield();
    ipc::renew(end(0));
    ipc::renew(end(1));
    s.peer_region = s.passage = s.passage_side = 0;
    s.peer_serial = server_.peer_serial;
    s.passage_limit = abi::kPassageBytes;
    store_release(s.passage_epoch, s.passage_epoch + 1);
    store_release(s.mode, uint32_t{abi::kModePassing});
    ipc::end_revocation(s.tx_lock, true);
    server_.signal(server_.last());
  }
  void leave() {
    server_.with([&] {
      abi::SocketShared& s = server_.last().shared();
      ipc::revoke(s.tx_lock);
      ipc::revoke(s.rx_lock);
      while (!ipc::is_released(s.tx_lock) || !ipc::is_released(s.rx_lock)) std::this_thread::yield();
      const std::byte* ring = view_.ring(0, 1);
      std::string unread;
      for (uint64_t p = load_acquire(end(0).consumed); p < end(1).produced; ++p)
        unread.push_back(static_cast<char>(ring[(p - end(1).base) % abi::kPassageBytes]));
      if (!unread.empty()) server_.last().pending.push_back(unread);
      store_release(s.mode, uint32_t{abi::kModeShared});
      ipc::end_revocation(s.tx_lock, true);
      ipc::end_revocation(s.rx_lock, true);
      server_.signal(server_.last());
      ipc::signal_passage_waiters(end(0));
    });
  }
  // The next piece of the stream: 32-bit numbers in order.
  std::string next() {
    std::string text(kPiece, 0);
    for (uint32_t i = 0; i < kPiece; i += 4, ++sent_) std::memcpy(text.data() + i, &sent_, 4);
    return text;
  }
  void deliver() {
    server_.with([&] { server_.last().pending.push_back(next()); });
    for (bool there = false; !there;) {
      std::lock_guard lock(server_.mutex);
      there = server_.last().pending.empty();
    }
  }
  void pass() {
    ipc::PassageProducer out(end(1), end(0), view_.ring(0, 1));
    const std::string text = next();
    for (size_t done = 0; done < text.size();) {
      const auto used = out.used();
      ASSERT_TRUE(used.ok());
      if (*used == abi::kPassageBytes) continue;
      const MutableByteSpan room = out.room(*used);
      const size_t n = std::min(room.size(), text.size() - done);
      std::memcpy(room.data(), text.data() + done, n);
      out.commit(static_cast<uint32_t>(n));
      done += n;
    }
    ipc::signal_passage(end(0), 0, &view_.queue(0, 0), [](uint32_t) {});
  }
  // The program: reads until everything came, waiting when there is nothing. The first number that is out of order; ~0: none.
  uint32_t read_all(uint32_t numbers) {
    uint32_t wanted = 0;
    size_t have = 0;
    std::vector<char> bytes(64 * 1024);
    while (wanted < numbers) {
      const iovec v{bytes.data() + have, bytes.size() - have};
      ReceiveRequest request;
      request.data = {&v, 1};
      const long got = socket_.receive(k_, request);
      if (got <= 0) return wanted;
      have += static_cast<size_t>(got);
      size_t at = 0;
      for (; at + 4 <= have; at += 4, ++wanted)
        if (std::memcmp(bytes.data() + at, &wanted, 4) != 0) return wanted;
      std::memmove(bytes.data(), bytes.data() + at, have - at);
      have -= at;
    }
    return ~0u;
  }

  FakeServer server_;
  Socket socket_;
  ipc::PeerRegionView view_;
  uint32_t sent_ = 0;
  int k_ = -1;
};

TEST_F(PassageTest, AStreamStaysInOrderWhilePassagesComeAndGo) {
  constexpr uint32_t kRounds = 1500, kPiecesPerRound = 4;
  const timeval patience{10, 0};  // somebody who is not woken
  ASSERT_EQ(socket_.set_option(k_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
  std::atomic<bool> stopped{false};
  uint32_t wrong = 0;
  std::thread reader([&] {
    wrong = read_all(kRounds * kPiecesPerRound * kPiece / 4);
    stopped = true;
  });
  for (uint32_t i = 0; i < kRounds && !stopped; ++i) {
    deliver();
    deliver();
    open();
    pass();
    if (i % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(i % 7 * 10));
    if (!stopped) pass();
    leave();
  }
  reader.join();
  EXPECT_EQ(wrong, ~0u);
}

// Memory that is missing until the test provides it: who writes there stands still so long.
class MissingPage {
 public:
  MissingPage() {
    fd_ = ipc::OwnedFd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC)));
    uffdio_api api{UFFD_API, 0, 0};
    if (!fd_.valid() || ioctl(fd_.get(), UFFDIO_API, &api) != 0) return;
    page_ = static_cast<char*>(mmap(nullptr, kPiece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    uffdio_register range{{reinterpret_cast<uintptr_t>(page_), kPiece}, UFFDIO_REGISTER_MODE_MISSING, 0};
    usable_ = ioctl(fd_.get(), UFFDIO_REGISTER, &range) == 0;
  }
  ~MissingPage() { munmap(page_, kPiece); }
  bool usable() const { return usable_; }
  char* data() const { return page_; }
  void wait_for_writer() const {
    uffd_msg message;
    ASSERT_EQ(::read(fd_.get(), &message, sizeof message), static_cast<ssize_t>(sizeof message));
  }
  void provide() const {
    uffdio_zeropage zero{{reinterpret_cast<uintptr_t>(page_), kPiece}, 0, 0};
    ASSERT_EQ(ioctl(fd_.get(), UFFDIO_ZEROPAGE, &zero), 0);
  }

 private:
  ipc::OwnedFd fd_;
  char* page_ = nullptr;
  bool usable_ = false;
};

// A passage that opens in the middle of a call, behind more in the ring than that call has seen.
TEST_F(PassageTest, WhatComesIntoTheRingDuringACallComesBeforeThePassage) {
  MissingPage page;
  if (!page.usable()) GTEST_SKIP() << "no userfaultfd(2)";
  deliver();
  std::vector<char> more(4 * kPiece);
  long got = 0;
  std::thread reader([&] {
    const iovec list[] = {{page.data(), kPiece}, {more.data(), more.size()}};
    ReceiveRequest request;
    request.data = list;
    got = socket_.receive(k_, request);
  });
  page.wait_for_writer();
  deliver();
  open();
  pass();
  socket_.readiness(k_);  // another thread finds the passage
  page.provide();
  reader.join();
  ASSERT_GE(got, long{kPiece});
  for (uint32_t at = kPiece; at + 4 <= static_cast<uint32_t>(got); at += 4) {
    uint32_t number;
    std::memcpy(&number, &more[at - kPiece], 4);
    ASSERT_EQ(number, at / 4);
  }
}

TEST_F(PassageTest, WhatIsInTheRingComesFirst) {
  deliver();
  open();
  pass();
  EXPECT_EQ(read_all(2 * kPiece / 4), ~0u);
}

TEST_F(PassageTest, WhatWasNotReadComesAfterItsEnd) {
  open();
  pass();
  leave();
  deliver();
  EXPECT_EQ(read_all(2 * kPiece / 4), ~0u);
}

// It is woken by the other client alone, and must not sleep on after the end.
TEST_F(PassageTest, AReaderThatSleepsLearnsOfItsEnd) {
  open();
  uint32_t wrong = 0;
  std::thread reader([&] { wrong = read_all(kPiece / 4); });
  while (load_acquire(end(0).waiters) == 0) std::this_thread::yield();
  leave();
  deliver();
  reader.join();
  EXPECT_EQ(wrong, ~0u);
}

}  // namespace
}  // namespace ferry::client::test

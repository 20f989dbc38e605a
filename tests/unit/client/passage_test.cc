// Passages from the client's side: a stream stays in order, and nobody sleeps on, while the server opens and ends passages at any moment.
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "client/regions.h"
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
    s.passage_referring = referring_;
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
  uint32_t referring_ = 0;
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

constexpr size_t kPage = abi::kHugePageSize;

// Whole pages, by reference.
class PassagePages : public PassageTest {
 protected:
  void SetUp() override {
    server_.swap_bytes = 64 * 1024;
    regions::enable();
    PassageTest::SetUp();
    void* p = regions::allocate(kPage, false);
    if (p == nullptr) GTEST_SKIP() << "no huge pages here";
    regions::release(p);
    server_.peer_memory = ipc::OwnedFd(memfd_create("theirs", MFD_CLOEXEC));
    ASSERT_EQ(ftruncate(server_.peer_memory.get(), 8 * kPage), 0);
    theirs_ = static_cast<char*>(mmap(nullptr, 8 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, server_.peer_memory.get(), 0));
    for (size_t i = 0; i < 8; ++i) std::memset(theirs_ + i * kPage, static_cast<int>('A' + i), kPage);
    referring_ = 16 << 20;
    open();
    before_ = Channel::copy_counters();
  }
  void TearDown() override {
    // The other client lets go of all that it was sent.
    for (uint32_t i = 0; i < abi::kPassageReferences; ++i)
      if (end(0).references > i) store_release(view_.held(0, made(i).hold), 0u);
    PassageTest::TearDown();
    Channel::reap_pages();
    if (theirs_ != nullptr) munmap(theirs_, 8 * kPage);
  }
  char* allocate(size_t pages, char fill) {
    auto* p = static_cast<char*>(regions::allocate(pages * kPage, false));
    EXPECT_NE(p, nullptr);
    std::memset(p, fill, pages * kPage);
    return p;
  }
  long receive(char* p, size_t n, int flags = MSG_DONTWAIT) {
    const iovec v{p, n};
    ReceiveRequest request;
    request.data = {&v, 1};
    request.flags = flags;
    return socket_.receive(k_, request);
  }
  long send(const char* p, size_t n) {
    const iovec v{const_cast<char*>(p), n};
    SendRequest request;
    request.data = {&v, 1};
    request.flags = MSG_DONTWAIT;
    return socket_.send(k_, request);
  }
  // The other client refers to bytes of its region.
  void refer(uint64_t offset, uint32_t length, uint16_t hold, uint32_t serial = 1) {
    ipc::PassageProducer out(end(1), end(0), view_.ring(0, 1));
    ASSERT_TRUE(out.can_refer(~uint64_t{0}));
    view_.held(1, hold) = 1;
    out.refer({0, offset, length, serial, 1, hold, 0});
    ipc::signal_passage(end(0), 0, &view_.queue(0, 0), [](uint32_t) {});
  }
  void pass_text(std::string_view text) {
    ipc::PassageProducer out(end(1), end(0), view_.ring(0, 1));
    std::memcpy(out.room(*out.used()).data(), text.data(), text.size());
    out.commit(static_cast<uint32_t>(text.size()));
  }
  uint32_t held(uint16_t hold) { return load_acquire(view_.held(1, hold)); }
  uint64_t swapped() const { return Channel::copy_counters().swapped - before_.swapped; }
  uint64_t copied_in() const { return Channel::copy_counters().in - before_.in; }
  uint64_t copied_out() const { return Channel::copy_counters().out - before_.out; }
  static bool all(const char* p, size_t n, char c) { return std::all_of(p, p + n, [c](char x) { return x == c; }); }
  // A reference that we made, as the other client reads it.
  const abi::PassageReference& made(uint32_t i) { return end(0).reference[i % abi::kPassageReferences]; }
  char made_byte(uint32_t i, uint64_t at) {
    const auto& region = server_.last().places.back().channel->regions[made(i).region - 1];
    return static_cast<char>(*(region.base + made(i).offset + at));
  }

  char* theirs_ = nullptr;
  CopyCounters before_;
};

TEST_F(PassagePages, AreInvitedByAReceiveThatCanExchangeThem) {
  std::vector<char> small(100);
  EXPECT_EQ(receive(small.data(), small.size()), -EAGAIN);
  EXPECT_EQ(end(0).accepts, 0u);
  std::vector<char> elsewhere(2 * kPage);
  EXPECT_EQ(receive(elsewhere.data(), elsewhere.size()), -EAGAIN);
  EXPECT_EQ(end(0).accepts, 0u);
  char* p = allocate(2, 'p');
  EXPECT_EQ(receive(p, kPage - 1), -EAGAIN);
  EXPECT_EQ(end(0).accepts, 0u);
  EXPECT_EQ(receive(p, kPage), -EAGAIN);
  EXPECT_EQ(end(0).accepts, 1u);
  regions::release(p);
}

TEST_F(PassagePages, TakeThePlaceOfTheProgramsUntilSomethingElseDoes) {
  char* p = allocate(3, 'p');
  refer(kPage, kPage, 5);
  refer(2 * kPage, kPage, 6);
  EXPECT_EQ(socket_.bytes_available(k_), static_cast<int>(2 * kPage));
  EXPECT_EQ(receive(p, 3 * kPage), static_cast<long>(2 * kPage));
  EXPECT_TRUE(all(p, kPage, 'B') && all(p + kPage, kPage, 'C') && all(p + 2 * kPage, kPage, 'p'));
  EXPECT_EQ(swapped(), 2 * kPage);
  EXPECT_EQ(copied_in(), 0u);
  EXPECT_EQ(end(0).dereferences, 2u);
  EXPECT_EQ(end(0).dereferred, 2 * kPage);
  EXPECT_TRUE(held(5) == 1 && held(6) == 1);
  refer(3 * kPage, kPage, 7);
  EXPECT_EQ(receive(p, kPage), static_cast<long>(kPage));
  EXPECT_EQ(p[0], 'D');
  EXPECT_EQ(held(5), 0u);
  regions::release(p);
  EXPECT_TRUE(held(6) == 0 && held(7) == 0);
  EXPECT_EQ(server_.peer_memory_asked, 1u);
}

TEST_F(PassagePages, AreCopiedWhereTheyDoNotFit) {
  char* p = allocate(3, 'p');
  pass_text("head");
  refer(0, kPage, 1);
  EXPECT_EQ(receive(p, 2 * kPage), 4);  // its memory has to be asked for
  EXPECT_EQ(std::string(p, 4), "head");
  EXPECT_EQ(receive(p + 4, 2 * kPage - 4), static_cast<long>(kPage));
  EXPECT_TRUE(all(p + 4, kPage, 'A') && all(p + 4 + kPage, kPage, 'p'));
  EXPECT_EQ(held(1), 0u);
  refer(kPage, kPage, 2);
  std::vector<char> elsewhere(kPage);
  EXPECT_EQ(receive(elsewhere.data(), 1000, MSG_PEEK), 1000);
  EXPECT_EQ(elsewhere[999], 'B');
  EXPECT_EQ(receive(elsewhere.data(), 1000), 1000);
  EXPECT_EQ(held(2), 1u);
  EXPECT_EQ(socket_.bytes_available(k_), static_cast<int>(kPage - 1000));
  EXPECT_EQ(receive(nullptr, 500, MSG_TRUNC), 500);
  EXPECT_EQ(receive(elsewhere.data(), kPage), static_cast<long>(kPage - 1500));
  EXPECT_EQ(held(2), 0u);
  EXPECT_EQ(swapped(), 0u);
  EXPECT_EQ(copied_in(), 4 + 2 * kPage - 500);
  regions::release(p);
}

TEST_F(PassagePages, WhosePartsKeepBeingWrittenOrCopiedAreNotInvitedForAWhile) {
  char* p = allocate(1, 'p');
  for (int i = 0; i < 20 && (i == 0 || end(0).accepts == 1); ++i) {
    refer(0, kPage, 1);
    EXPECT_EQ(receive(p, kPage), static_cast<long>(kPage));
    p[100] = 'w';
    receive(p, kPage);
    ASSERT_LT(i, 10);
  }
  EXPECT_EQ(end(0).accepts, 0u);
  for (int i = 0; i < 64; ++i) receive(p, kPage);
  EXPECT_EQ(end(0).accepts, 1u);
  regions::release(p);
}

TEST_F(PassagePages, ThatCannotBeHadAreTheServersToPassOn) {
  server_.peer_memory.reset();
  char* p = allocate(1, 'p');
  refer(0, kPage, 1);
  EXPECT_EQ(receive(p, kPage), -EAGAIN);
  EXPECT_NE(server_.last().shared().wants & abi::kWantLeave, 0u);
  EXPECT_EQ(end(0).dereferred, 0u);
  EXPECT_EQ(end(0).accepts, 0u);
  regions::release(p);
}

TEST_F(PassagePages, OutsideOfTheMemoryAreRefused) {
  char* p = allocate(1, 'p');
  refer(8 * kPage, kPage, 1);
  EXPECT_EQ(receive(p, kPage), -EAGAIN);
  EXPECT_NE(server_.last().shared().wants & abi::kWantLeave, 0u);
  // Nor do other serials every time keep us asking for ever.
  std::atomic<bool> stop{false};
  std::thread liar([&] {
    for (uint32_t serial = 2; !stop; ++serial) {
      store_relaxed(end(1).reference[0].serial, serial);
      store_relaxed(end(1).reference[0].offset, uint64_t{0});
    }
  });
  const timeval patience{0, 200'000};
  ASSERT_EQ(socket_.set_option(k_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
  const long got = receive(p, kPage, 0);
  EXPECT_TRUE(got == -EAGAIN || got == static_cast<long>(kPage)) << got;
  stop = true;
  liar.join();
  regions::release(p);
}

TEST_F(PassagePages, AreReferredToWhenTheOtherOneInvites) {
  char* p = allocate(2, 'p');
  EXPECT_EQ(send(p, kPage), static_cast<long>(abi::kPassageBytes));  // as much as the ring holds
  EXPECT_EQ(end(0).references, 0u);
  end(1).consumed = end(0).produced;
  end(1).accepts = 1;
  EXPECT_EQ(send(p + kPage - 1000, kPage + 1000), static_cast<long>(kPage + 1000));
  ASSERT_EQ(end(0).references, 1u);
  EXPECT_EQ(made(0).at, abi::kPassageBytes + 1000u);
  EXPECT_EQ(made(0).length, kPage);
  EXPECT_EQ(end(0).referred, kPage);
  EXPECT_EQ(copied_out(), abi::kPassageBytes + 1000u);
  EXPECT_EQ(view_.held(0, made(0).hold), 1u);
  p[kPage + 7] = 'w';
  EXPECT_EQ(made_byte(0, 7), 'p');  // as it was sent
  regions::release(p);
}

TEST_F(PassagePages, AreNotUsedAgainUntilTheOtherOneIsDone) {
  char* p = allocate(1, 'p');
  end(1).accepts = 1;
  ASSERT_EQ(send(p, kPage), static_cast<long>(kPage));
  end(1).dereferred = kPage;
  end(1).dereferences = 1;
  regions::release(p);
  std::vector<char*> all;
  for (int i = 0; i < 10; ++i) all.push_back(allocate(1, 'n'));
  EXPECT_EQ(made_byte(0, 99), 'p');
  for (char* q : all) regions::release(q);
  store_release(view_.held(0, made(0).hold), 0u);
  Channel::reap_pages();
  bool used = false;
  all.clear();
  for (int i = 0; i < 10; ++i) {
    all.push_back(allocate(1, 'n'));
    used = used || made_byte(0, 99) == 'n';
  }
  EXPECT_TRUE(used);
  for (char* q : all) regions::release(q);
}

TEST_F(PassagePages, ThatWereWrittenToAreCopied) {
  char* p = allocate(1, 'p');
  end(1).accepts = 1;
  ASSERT_EQ(send(p, kPage), static_cast<long>(kPage));
  p[0] = 'w';
  EXPECT_EQ(send(p, 4096), 4096);
  EXPECT_EQ(send(p, kPage), static_cast<long>(abi::kPassageBytes - 4096));
  EXPECT_EQ(end(0).references, 1u);
  EXPECT_EQ(static_cast<char>(*view_.ring(0, 0)), 'w');
  regions::release(p);
}

TEST_F(PassagePages, NoMoreThanThereIsRoomForAndThenTheSocketIsNotWritable) {
  char* p = allocate(8, 'p');
  end(1).accepts = 1;
  EXPECT_EQ(send(p, 8 * kPage), static_cast<long>(abi::kPassageReferences * kPage));
  EXPECT_EQ(send(p, kPage), -EAGAIN);
  EXPECT_EQ(socket_.readiness(k_) & POLLOUT, 0u);
  end(1).dereferred = kPage;
  end(1).dereferences = 1;
  EXPECT_NE(socket_.readiness(k_) & POLLOUT, 0u);
  EXPECT_EQ(send(p, 8 * kPage), static_cast<long>(kPage));
  regions::release(p);
}

}  // namespace
}  // namespace ferry::client::test

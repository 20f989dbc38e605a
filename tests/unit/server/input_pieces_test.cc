// Memory that a client lends for input: where payload goes, when the client can have it back, and what it may lie about.
#include "server/input_pieces.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "fixture.h"
#include "server/early_placement.h"

namespace ferry::server {
namespace {

constexpr uint64_t kPage = abi::kHugePageSize;

class InputPiecesTest : public ServerTest {
 protected:
  InputPiecesTest() : client(connect_client()), socket(open(client)), early(ctx) {
    fd = make_region(F_SEAL_SHRINK | F_SEAL_GROW);
    EXPECT_TRUE(client.channel()->add_region(3, fd.get(), 1 << 30).ok());
    mine = static_cast<char*>(mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  }
  ~InputPiecesTest() override { munmap(mine, 2 * kPage); }
  static UniqueFd make_region(int seals) {
    UniqueFd region(memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(ftruncate(region.get(), 2 * kPage), 0);
    EXPECT_EQ(fcntl(region.get(), F_ADD_SEALS, seals), 0);
    return region;
  }
  abi::SocketShared& words() { return shared(client, socket); }
  void lend(const abi::InputPiece& piece) {
    words().input[words().input_produced % abi::kInputPieces] = piece;
    store_release(words().input_produced, static_cast<uint16_t>(words().input_produced + 1));
  }
  // A segment, the next of the stream or not, that the link received early.
  void receive_early(std::string_view text, bool next = true) {
    MutableByteSpan room = early.prepare(socket, static_cast<uint32_t>(text.size()), EarlyPlacement::Filled::by_link, next);
    ASSERT_EQ(room.size(), text.size());
    std::memcpy(room.data(), text.data(), text.size());
    socket.deliver(early.take(socket.owner(), room));
    early.finish();
  }
  // What is in the ring, where it lies.
  std::string read_all() {
    abi::SocketShared& s = words();
    std::string text;
    for (; s.rx_consumed != s.rx_produced; ++s.rx_consumed) {
      const abi::Descriptor d = s.rx[s.rx_consumed % abi::kRingEntries];
      EXPECT_TRUE(d.region == 0 || d.region == 3);
      text.append(d.region == 0 ? reinterpret_cast<const char*>(client.channel()->at(d.offset)) : mine + d.offset, d.length);
      s.rx_consumed_bytes += d.length;
    }
    return text;
  }
  bool is_condemned() {
    run();
    return !ctx.condemned.empty();
  }

  Client& client;
  Socket& socket;
  EarlyPlacement early;
  UniqueFd fd;
  char* mine = nullptr;
};

TEST_F(InputPiecesTest, Property5PayloadGoesWhereTheClientWantsIt) {
  lend({0, 100, 1000, 3, 0});
  receive_early("hello ");
  receive_early("world");
  run();
  EXPECT_EQ(std::string(mine + 100, 11), "hello world");
  ASSERT_EQ(words().rx_produced, 1u);  // they adjoin
  EXPECT_EQ(read_all(), "hello world");
  EXPECT_EQ(counters.placed_in_pages, 11u);
  EXPECT_EQ(counters.received_in_place, 11u);
  EXPECT_EQ(counters.copied_in_shared + counters.copied_in_again, 0u);
  EXPECT_EQ(client.channel()->input_used(), 11u);
  ring(socket);
  EXPECT_EQ(client.channel()->input_used(), 0u);
  EXPECT_EQ(words().input_done, 0u);  // there is room in it
}

TEST_F(InputPiecesTest, OtherPayloadGoesToThePool) {
  lend({4, 0, 10, 3, 0});
  receive_early("abcd");         // in front of what is lent
  receive_early("xyz", false);   // not the next
  receive_early("0123456789");   // more than there is room for from here on
  receive(socket, "copied");     // small frames, by place()
  run();
  EXPECT_EQ(read_all(), "abcdxyz0123456789copied");
  EXPECT_EQ(counters.placed_in_pages, 0u);
}

TEST_F(InputPiecesTest, PiecesFollowEachOtherAndComeBackWhenTheyAreRead) {
  lend({0, 0, 4, 3, 0});
  lend({4, kPage, 4, 3, 0});
  receive_early("abcd");
  receive_early("efgh");
  run();
  EXPECT_EQ(words().input_done, 0u);  // not read yet
  EXPECT_EQ(std::string(mine, 4) + std::string(mine + kPage, 4), "abcdefgh");
  EXPECT_EQ(read_all(), "abcdefgh");
  ring(socket);
  EXPECT_EQ(words().input_done, 2u);
  lend({8, 8, 4, 3, 0});
  receive_early("ijkl");
  run();
  EXPECT_EQ(std::string(mine + 8, 4), "ijkl");
  EXPECT_EQ(read_all(), "ijkl");
}

TEST_F(InputPiecesTest, WhatWasNeverUsedComesBack) {
  lend({0, 0, 4, 3, 0});
  lend({4, 0, 100, 3, 0});
  receive(socket, "abcdef");  // copied to the pool: the link did not ask early
  run();
  EXPECT_EQ(read_all(), "abcdef");
  ring(socket);
  EXPECT_EQ(words().input_done, 1u);
  store_release(words().input_withdrawn, uint16_t{2});
  ring(socket);
  EXPECT_EQ(words().input_done, 2u);
}

TEST_F(InputPiecesTest, WhatIsWithdrawnIsNotWrittenToAndComesBackWhenItIsRead) {
  lend({0, 0, 100, 3, 0});
  receive_early("abcd");
  store_release(words().input_withdrawn, uint16_t{1});
  receive_early("efgh");
  run();
  EXPECT_EQ(std::string(mine, 8), std::string("abcd\0\0\0\0", 8));
  EXPECT_EQ(words().input_done, 0u);
  EXPECT_EQ(read_all(), "abcdefgh");
  ring(socket);
  EXPECT_EQ(words().input_done, 1u);
}

// Nothing in front of what was delivered is written to: the client may have made it its program's.
TEST_F(InputPiecesTest, Property4WhatWasReadIsLeftAlone) {
  lend({0, 0, 100, 3, 0});
  receive_early("abcd");
  run();
  EXPECT_EQ(read_all(), "abcd");
  std::memcpy(mine, "mine", 4);
  const auto lose = [&](bool next) {  // what the stack does not take after all
    MutableByteSpan room = early.prepare(socket, 5, EarlyPlacement::Filled::by_link, next);
    std::memset(room.data(), '!', room.size());
    early.finish();
  };
  lose(false);  // old bytes once more
  receive_early("efgh");
  run();
  EXPECT_EQ(std::string(mine, 9), std::string("mineefgh\0", 9));
  lose(true);
  receive_early("ij");
  run();
  EXPECT_EQ(std::string(mine, 14), std::string("mineefghij!!!\0", 14));
  EXPECT_EQ(read_all(), "efghij");
  ring(socket);
  EXPECT_EQ(client.channel()->input_used(), 0u);
}

TEST_F(InputPiecesTest, LiesEndTheClient) {
  const abi::InputPiece lies[] = {
      {0, 0, 100, 0, 0},                     // no region
      {0, 0, 100, 4, 0},                     // none of that number
      {0, 0, 100, abi::kMaxRegions + 1, 0},
      {0, 2 * kPage - 99, 100, 3, 0},        // beyond its end
      {0, ~uint64_t{0} - 50, 100, 3, 0},
      {0, 0, 0, 3, 0},                       // nothing
      {~uint64_t{0} - 50, 0, 100, 3, 0},     // positions that wrap round
  };
  for (const abi::InputPiece& lie : lies) {
    InputPieces pieces;
    abi::SocketShared s{};
    s.input[0] = lie;
    s.input_produced = 1;
    EXPECT_FALSE(pieces.take(client.channel()->regions(), s)) << lie.offset << ' ' << lie.region;
  }
  InputPieces pieces;
  abi::SocketShared s{};
  s.input_produced = abi::kInputPieces + 1;
  EXPECT_FALSE(pieces.take(client.channel()->regions(), s));
  lend({0, 0, 100, 4, 0});
  EXPECT_TRUE(early.prepare(socket, 5, EarlyPlacement::Filled::by_link, true).empty());
  EXPECT_TRUE(is_condemned());
}

// To go round all 65,536 numbers is nearly a millisecond and a half, as often as a client likes.
TEST_F(InputPiecesTest, PiecesThatAreTakenCannotBeUnlent) {
  InputPieces pieces;
  abi::SocketShared s{};
  for (abi::InputPiece& piece : s.input) piece = {0, 0, 100, 3, 0};
  s.input_produced = 2;
  EXPECT_TRUE(pieces.take(client.channel()->regions(), s));
  s.input_produced = 1;
  EXPECT_FALSE(pieces.take(client.channel()->regions(), s));
  s.input_produced = abi::kInputPieces;
  EXPECT_TRUE(pieces.take(client.channel()->regions(), s));
  s.input_produced = abi::kInputPieces - 1;
  EXPECT_FALSE(pieces.take(client.channel()->regions(), s));
  s.input_produced = abi::kInputPieces;
  EXPECT_TRUE(pieces.take(client.channel()->regions(), s));
}

TEST_F(InputPiecesTest, MemoryThatCannotBeWrittenIsNotLent) {
  const UniqueFd sealed = make_region(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  ASSERT_TRUE(client.channel()->add_region(4, sealed.get(), 1 << 30).ok());
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  const UniqueFd read_only(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(client.channel()->add_region(5, read_only.get(), 1 << 30).ok());
  for (uint16_t number : {uint16_t{4}, uint16_t{5}}) {
    EXPECT_TRUE(client.channel()->regions().locate_input({0, 0, 100, number, 0}).empty());
    EXPECT_FALSE(client.channel()->locate_output({0, 100, number, 0}).empty());  // output may be referred to all the same
  }
}

TEST_F(InputPiecesTest, WordsThatChangeAfterwardsMeanNothing) {
  lend({0, 0, 100, 3, 0});
  receive_early("ab");
  words().input[0] = {0, 5000, ~uint32_t{0}, 9, 0};
  words().input_done = 77;
  receive_early("cd");
  run();
  EXPECT_EQ(std::string(mine, 4), "abcd");
  words().input_withdrawn = 0x8001;  // impossible: seems older than what is lent
  receive_early("ef");
  EXPECT_EQ(std::string(mine, 6), "abcdef");
  EXPECT_FALSE(is_condemned());
}

TEST_F(InputPiecesTest, ARegionThatIsGivenUpStaysUntilItsInputIsRead) {
  lend({0, 0, 100, 3, 0});
  receive_early("abcd");
  ASSERT_TRUE(client.channel()->forget_region(3).ok());
  receive_early("efgh");  // nothing else is put there, but what is there is read
  run();
  abi::SocketShared& s = words();
  std::string text;
  for (; s.rx_consumed != s.rx_produced; ++s.rx_consumed) {
    const abi::Descriptor d = s.rx[s.rx_consumed % abi::kRingEntries];
    ASSERT_EQ(d.region, 0);  // the client has no name for it any more
    text.append(reinterpret_cast<const char*>(client.channel()->at(d.offset)), d.length);
    s.rx_consumed_bytes += d.length;
  }
  EXPECT_EQ(text, "abcdefgh");
  ring(socket);
  EXPECT_EQ(client.channel()->region_bytes(), 0u);
}

TEST_F(InputPiecesTest, Property8AnotherProcessReadsWhatItsOldHomeHadLent) {
  Client& other = connect_client();
  socket.attach(*other.channel());
  lend({0, 0, 1000, 3, 0});
  receive_early("read already, ");
  receive_early("and not yet");
  run();
  words().rx_consumed_bytes += 14;
  ASSERT_TRUE(socket.start_move(MoveKind::rehome, *other.channel()).ok());
  run();
  EXPECT_EQ(read(other, socket), "and not yet");
  receive_early(" here");  // in the pool of the new home
  run();
  EXPECT_EQ(read(other, socket), " here");
  EXPECT_EQ(counters.copied_in_again, 11u);
  EXPECT_EQ(client.channel()->input_used(), 0u);
}

TEST_F(InputPiecesTest, Property8TheMemoryOfADeadClientStaysUntilItsInputIsGone) {
  lend({0, 0, 1000, 3, 0});
  receive_early("left behind");
  run();
  Client& other = connect_client();
  socket.attach(*other.channel());
  client.drop("");
  run();
  ASSERT_EQ(handler.orphans.size(), 1u);
  EXPECT_FALSE(handler.orphans[0]->unreferenced());
  ASSERT_TRUE(socket.start_move(MoveKind::rehome, *other.channel()).ok());
  run();
  EXPECT_EQ(read(other, socket), "left behind");
  ring(socket);
  EXPECT_TRUE(handler.orphans[0]->unreferenced());
}

TEST_F(InputPiecesTest, WhatTheClientSaysItExchangedIsShown) {
  receive(socket, "0123456789");
  run();
  EXPECT_EQ(read_all(), "0123456789");
  ring(socket);
  words().swapped_in = 5 << 20;  // more than it was given
  words().swapped_pages = 3;
  EXPECT_EQ(socket.copied().swapped_in, 10u);
  EXPECT_EQ(socket.copied().swapped_pages, 3u);
  ks.back().reset();
  socket.on_events(static_cast<uint32_t>(tcp::Event::closed));
  run();
  EXPECT_EQ(counters.swapped_in, 10u);
  EXPECT_EQ(counters.swapped_pages, 3u);
}

}  // namespace
}  // namespace ferry::server

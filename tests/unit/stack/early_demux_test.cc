// Early demultiplexing: frames whose payload is elsewhere are as good as whole ones, and only such payload is claimed as belongs to a
// connection of the host and need not be looked at.
#include <gtest/gtest.h>

#include "support/stack_pair.h"
#include "wire/ethernet.h"

namespace ferry::stack {
namespace {

using support::StackPair;

StackPair::Setup with_offloads() {
  StackPair::Setup setup;
  setup.max_gso = 65'000;
  setup.checksum_tx = true;
  return setup;
}

std::string pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
  return text;
}

// Sends `size` bytes from side 0 to 1, reading as they come; returns what arrived.
std::string transfer(StackPair& p, size_t size, size_t step = 50'000) {
  const SocketId l = p.listener(1, 80);
  p.set(1, l, Option::receive_buffer, 1 << 20);
  const auto c = p.connected(0, l, 80);
  const std::string text = pattern(size);
  std::string got;
  for (size_t at = 0; got.size() < size;) {
    const size_t n = std::min<size_t>({p.stack(0).send_space(c.client), step, size - at});
    if (n > 0 && p.send(0, c.client, text.substr(at, n)) == Errc::ok) at += n;
    p.run(Duration::ms(2));
    got += p.receive(1, c.server);
    if (p.now() > Instant::from_ns(600'000'000'000)) break;
  }
  return got;
}

TEST(EarlyDemux, AStreamArrivesWithItsPayloadDetached) {
  StackPair p(with_offloads());
  p.detach = true;
  EXPECT_EQ(transfer(p, 500'000), pattern(500'000));
  EXPECT_GT(p.detached_frames, 10u);
  EXPECT_EQ(p.counter(1, "payload_bytes_summed"), 0u);
  EXPECT_TRUE(p.host(1).faults().empty());
}

TEST(EarlyDemux, FramesThatAreLongerThanAPacketCanSayAsWell) {
  StackPair::Setup setup = with_offloads();
  setup.max_gso = 200'000;
  StackPair p(setup);
  p.detach = true;
  size_t largest = 0;
  p.filter = [&](int, std::vector<std::byte>& f) { return largest = std::max(largest, f.size()), true; };
  EXPECT_EQ(transfer(p, 5'000'000, 400'000), pattern(5'000'000));
  EXPECT_GT(largest, 150'000u);
  EXPECT_GT(p.detached_frames, 10u);
  EXPECT_EQ(p.counter(1, "payload_bytes_summed"), 0u);
  EXPECT_TRUE(p.host(1).faults().empty());
}

TEST(EarlyDemux, LostAndLateFramesAsWell) {
  StackPair p(with_offloads());
  p.detach = true;
  int n = 0;
  p.filter = [&](int side, std::vector<std::byte>& f) { return side != 0 || f.size() < 1000 || ++n % 7 != 0; };
  EXPECT_EQ(transfer(p, 500'000), pattern(500'000));
  EXPECT_GT(p.detached_frames, 10u);
  EXPECT_EQ(p.host(1).undelivered(), 0u);
  EXPECT_TRUE(p.host(1).faults().empty());
}

// One frame with data from side 0, not delivered.
class AFrame : public testing::Test {
 protected:
  AFrame() : p(with_offloads()) {
    c = p.connected(0, p.listener(1, 80), 80);
    p.filter = [&](int, std::vector<std::byte>& f) {
      if (f.size() > 1000 && frame.empty()) frame = f;
      return false;
    };
    p.send(0, c.client, pattern(5000));
    trusted.needs_checksum = true;
  }
  Result<PayloadOwner> ask(buf::Offload offload, size_t shown = 128) {
    return p.stack(1).payload_owner(0, {ByteSpan(frame).first(shown), offload}, static_cast<uint32_t>(frame.size()));
  }
  StackPair p;
  StackPair::Connected c;
  std::vector<std::byte> frame;
  buf::Offload trusted;
};

TEST_F(AFrame, IsClaimedForItsOwner) {
  ASSERT_TRUE(ask(trusted).ok());
  EXPECT_EQ(ask(trusted)->owner, p.owner_of(1, c.server));
  EXPECT_EQ(ask(trusted)->header_length, 14u + 20u + 32u);
  EXPECT_TRUE(ask(trusted, 66).ok());
}

TEST_F(AFrame, WithAChecksumToVerifyComesWhole) { EXPECT_FALSE(ask({}).ok()); }

TEST_F(AFrame, WhoseHeadersAreCutComesWhole) {
  for (size_t shown = 0; shown < 66; ++shown) EXPECT_FALSE(ask(trusted, shown).ok()) << shown;
}

TEST_F(AFrame, ForAnotherStationOrConnectionIsNotClaimed) {
  auto with = [&](size_t at, std::byte flip) {
    frame[at] ^= flip;
    const bool claimed = ask(trusted).ok();
    frame[at] ^= flip;
    return claimed;
  };
  EXPECT_FALSE(with(5, std::byte{1}));          // destination MAC
  EXPECT_FALSE(with(0, std::byte{1}));          // a group
  EXPECT_FALSE(with(13, std::byte{6}));         // ARP
  EXPECT_FALSE(with(14 + 6, std::byte{0x20}));  // more fragments
  EXPECT_FALSE(with(14 + 9, std::byte{23}));    // UDP
  EXPECT_FALSE(with(14 + 3, std::byte{1}));     // padding behind the datagram, or less than the whole
  EXPECT_FALSE(with(14 + 15, std::byte{1}));    // another source
  EXPECT_FALSE(with(14 + 20, std::byte{1}));    // another source port
  EXPECT_TRUE(ask(trusted).ok());
}

TEST_F(AFrame, OfAClosedSocketIsNotClaimed) {
  p.close(1, c.server);
  EXPECT_FALSE(ask(trusted).ok());
}

// What a claim was made for is checked all the same when it comes.
TEST_F(AFrame, DetachedMustStillBeSound) {
  const ByteSpan bytes(frame);
  const auto dropped = [&](const char* reason) { return p.counter(1, (std::string("drop_") + reason).c_str()); };
  p.stack(1).on_frame(p.now(), 0, {bytes.first(66), {}, bytes.subspan(66)});  // not trusted
  EXPECT_EQ(dropped("tcp_malformed"), 1u);
  p.stack(1).on_frame(p.now(), 0, {bytes.first(80), trusted, bytes.subspan(80)});  // payload among the headers
  EXPECT_EQ(dropped("tcp_malformed"), 2u);
  p.stack(1).on_frame(p.now(), 0, {bytes.first(66), trusted, bytes.subspan(66, 10)});  // lengths that do not add up
  EXPECT_EQ(dropped("ip_malformed"), 1u);
  std::vector<std::byte> udp = frame;
  udp[14 + 9] = std::byte{17};
  p.stack(1).on_frame(p.now(), 0, {ByteSpan(udp).first(66), trusted, ByteSpan(udp).subspan(66)});
  EXPECT_EQ(dropped("ip_malformed") + dropped("ip_checksum"), 2u);
  EXPECT_EQ(p.receive(1, c.server), "");
  p.stack(1).on_frame(p.now(), 0, {bytes.first(66), trusted, bytes.subspan(66)});
  EXPECT_EQ(p.receive(1, c.server), pattern(5000));
}

}  // namespace
}  // namespace ferry::stack

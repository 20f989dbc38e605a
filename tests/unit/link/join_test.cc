#include "link/join.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "link/segment.h"
#include "unit/link/frames.h"

namespace ferry::link {
namespace {
using namespace testing;

const Path kPath{{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}};

struct Kept {
  size_t pieces = 1;
  Bytes bytes;  // headers and payload
  buf::Offload offload;
};

struct Sink final : JoinedSink {
  std::vector<Kept> kept;
  void on_single(const buf::Frame& f) override { kept.push_back({1, Bytes(f.bytes.begin(), f.bytes.end()), f.offload}); }
  void on_joined(const Joined& j) override {
    Kept k{j.pieces.size(), Bytes(j.head.bytes.begin(), j.head.bytes.end()), j.head.offload};
    uint32_t length = 0;
    for (const JoinedPiece& p : j.pieces) {
      k.bytes.insert(k.bytes.end(), p.payload.begin(), p.payload.end());
      length += static_cast<uint32_t>(p.payload.size());
    }
    EXPECT_EQ(length, j.payload_length);
    kept.push_back(std::move(k));
  }
};

// Frames with their own memory, given to a joiner in one batch.
struct Batch {
  std::vector<Bytes> frames;
  std::vector<buf::Offload> offloads;
  Sink sink;
  SegmentJoiner joiner{sink};

  void add(Bytes frame, const buf::Offload& offload = {}) {
    frames.push_back(std::move(frame));
    offloads.push_back(offload);
  }
  std::vector<Kept>& join() {
    for (size_t i = 0; i < frames.size(); ++i) joiner.add({frames[i], offloads[i]});
    joiner.flush();
    EXPECT_TRUE(joiner.empty());
    return sink.kept;
  }
};

struct Cutter final : SegmentSink {
  Batch& batch;
  explicit Cutter(Batch& b) : batch(b) {}
  void on_segment(ByteSpan b) override { batch.add(Bytes(b.begin(), b.end())); }
};

wire::TcpFields data_segment(uint32_t sequence, uint8_t flags = 0x10) {
  wire::TcpFields t;
  t.sequence = wire::SeqNum(sequence);
  t.acknowledgment = wire::SeqNum(99);
  t.flags = flags;
  t.options.has_timestamps = true;
  t.options.ts_value = 7;
  t.options.ts_echo = 8;
  return t;
}

const OneRegion kMemory(random_bytes(70000, 5));

// `length` bytes of the stream from `sequence` on, all checksums right.
Bytes segment(uint32_t sequence, uint32_t length, uint8_t flags = 0x10, Path path = kPath,
              const std::function<void(wire::TcpFields&)>& change = nullptr) {
  wire::TcpFields t = data_segment(sequence, flags);
  if (change) change(t);
  return flatten(tcp_packet(path, kMemory, {sequence % 60000, length, 1}, t, Checksums::complete), kMemory);
}

// After changes to the bytes of a frame.
Bytes repaired(Bytes frame) {
  MutableByteSpan f(frame);
  store_be16(f, 14 + 10, 0);
  wire::Checksum ip;
  ip.add(f.subspan(14, size_t{load_u8(f, 14)} % 16 * 4));
  store_be16(f, 14 + 10, ip.finish());
  store_be16(f, 34 + 16, 0);
  const size_t length = size_t{load_be16(f, 16)} - 20;
  wire::Checksum sum = wire::pseudo_header({load_be32(f, 26)}, {load_be32(f, 30)}, wire::kProtocolTcp, static_cast<uint32_t>(length));
  sum.add(f.subspan(34, length));
  store_be16(f, 34 + 16, sum.finish());
  return frame;
}

// What the kernel's or a card's segmentation cuts comes out as it was.
TEST(SegmentJoiner, UndoesSegmentation) {
  for (const uint32_t length : {1449u, 2896u, 10000u, 60000u}) {
    const auto p = tcp_packet(kPath, kMemory, {0, length, 1}, data_segment(0xffffff00, 0x18), Checksums::left_to_link, 1448);
    const Bytes whole = flatten(p, kMemory);
    Batch b;
    Cutter cutter(b);
    Bytes scratch(kSegmentScratch);
    const uint32_t n = cut_segments({whole, p.offload}, scratch, cutter);
    const auto& kept = b.join();
    ASSERT_EQ(kept.size(), 1u) << length;
    EXPECT_EQ(kept[0].pieces, n);
    EXPECT_EQ(kept[0].bytes, whole);
    EXPECT_EQ(kept[0].offload.gso_size, 1448);
    EXPECT_EQ(kept[0].offload.gso_type, buf::GsoType::tcp_v4);
    EXPECT_TRUE(kept[0].offload.needs_checksum);
    EXPECT_EQ(kept[0].offload.checksum_start, p.offload.checksum_start);
    EXPECT_EQ(kept[0].offload.checksum_offset, p.offload.checksum_offset);
    EXPECT_EQ(b.joiner.bytes_summed(), length + n * 32);
  }
}

// What the link has verified, or what was never summed on this host, is not read.
TEST(SegmentJoiner, DoesNotSumWhatIsTrusted) {
  Batch b;
  buf::Offload valid;
  valid.checksum_valid = true;
  b.add(segment(0, 1000), valid);
  b.add(segment(1000, 1000), valid);
  b.frames[1][500] ^= std::byte{1};
  buf::Offload partial;
  partial.needs_checksum = true;
  partial.checksum_start = 34;
  partial.checksum_offset = 16;
  b.add(segment(2000, 1000), partial);
  EXPECT_EQ(b.join().size(), 1u);
  EXPECT_EQ(b.joiner.bytes_summed(), 0u);
}

TEST(SegmentJoiner, NeverJoinsAWrongChecksum) {
  for (size_t wrong = 0; wrong < 3; ++wrong) {
    Batch b;
    for (uint32_t i = 0; i < 3; ++i) b.add(segment(i * 1000, 1000));
    b.frames[wrong][600] ^= std::byte{1};
    const Bytes bad = b.frames[wrong];
    size_t found = 0;
    for (const Kept& k : b.join()) {
      if (k.bytes != bad) continue;
      ++found;
      EXPECT_FALSE(k.offload.checksum_valid || k.offload.needs_checksum);
    }
    EXPECT_EQ(found, 1u) << wrong;  // alone, as it came, still to be verified
    EXPECT_EQ(b.sink.kept.size(), wrong == 1 ? 3u : 2u);
  }
}

TEST(SegmentJoiner, NeverJoinsAWrongHeaderChecksum) {
  Batch b;
  buf::Offload valid;
  valid.checksum_valid = true;
  for (uint32_t i = 0; i < 3; ++i) b.add(segment(i * 1000, 1000), valid);
  b.frames[1][14 + 10] ^= std::byte{1};
  EXPECT_EQ(b.join().size(), 3u);
}

TEST(SegmentJoiner, JoinsOnlyWhatCouldHaveComeInOnePiece) {
  struct Case {
    const char* what;
    std::function<void(MutableByteSpan)> change;  // of the second of three
  };
  const Case cases[] = {
      {"other source address of the frame", [](MutableByteSpan f) { f[6] ^= std::byte{4}; }},
      {"TOS", [](MutableByteSpan f) { f[15] ^= std::byte{0x20}; }},
      {"congestion experienced", [](MutableByteSpan f) { f[15] ^= std::byte{3}; }},
      {"DF", [](MutableByteSpan f) { f[20] ^= std::byte{0x40}; }},
      {"a fragment", [](MutableByteSpan f) { f[20] = std::byte{0x20}; }},
      {"TTL", [](MutableByteSpan f) { f[22] ^= std::byte{1}; }},
      {"another host", [](MutableByteSpan f) { f[29] ^= std::byte{8}; }},
      {"another port", [](MutableByteSpan f) { f[35] ^= std::byte{1}; }},
      {"a gap", [](MutableByteSpan f) { f[41] ^= std::byte{1}; }},
      {"acknowledgement", [](MutableByteSpan f) { f[45] ^= std::byte{1}; }},
      {"window", [](MutableByteSpan f) { f[49] ^= std::byte{1}; }},
      {"timestamp", [](MutableByteSpan f) { f[61] ^= std::byte{1}; }},
      {"layout of options", [](MutableByteSpan f) { f[54] = std::byte{0}; }},
      {"FIN, no ACK", [](MutableByteSpan f) { f[47] = std::byte{1}; }},
      {"SYN", [](MutableByteSpan f) { f[47] |= std::byte{2}; }},
      {"RST", [](MutableByteSpan f) { f[47] |= std::byte{4}; }},
      {"URG", [](MutableByteSpan f) { f[47] |= std::byte{0x20}; }},
      {"ECE", [](MutableByteSpan f) { f[47] |= std::byte{0x40}; }},
      {"CWR", [](MutableByteSpan f) { f[47] |= std::byte{0x80}; }},
  };
  for (const Case& c : cases) {
    Batch b;
    for (uint32_t i = 0; i < 3; ++i) b.add(segment(i * 1000, 1000));
    c.change(b.frames[1]);
    b.frames[1] = repaired(b.frames[1]);
    const std::string what = c.what;
    const bool elsewhere = what == "a fragment" || what == "another host" || what == "another port";
    for (const Kept& k : b.join()) EXPECT_EQ(k.pieces, 1u) << what;
    ASSERT_EQ(b.sink.kept.size(), 3u) << what;
    for (size_t i = 0; i < 3 && !elsewhere; ++i) EXPECT_EQ(b.sink.kept[i].bytes, b.frames[i]) << what;  // in order
  }
}

TEST(SegmentJoiner, PushAndFinEnd) {
  for (const uint8_t flags : {0x18, 0x11, 0x19}) {
    Batch b;
    b.add(segment(0, 1000));
    b.add(segment(1000, 1000, flags));
    b.add(segment(2000, 1000));
    b.add(segment(3000, 1000));
    const auto& kept = b.join();
    ASSERT_EQ(kept.size(), 2u);
    EXPECT_EQ(kept[0].pieces, 2u);
    EXPECT_EQ(kept[0].bytes[47], std::byte{flags});
    EXPECT_EQ(kept[1].pieces, 2u);
    EXPECT_EQ(kept[1].bytes[47], std::byte{0x10});
  }
}

TEST(SegmentJoiner, AShorterOneIsTheLastAndALongerOneBegins) {
  Batch b;
  b.add(segment(0, 1000));
  b.add(segment(1000, 999));
  b.add(segment(1999, 999));
  b.add(segment(2998, 1000));
  const auto& kept = b.join();
  ASSERT_EQ(kept.size(), 3u);
  EXPECT_EQ(kept[0].pieces, 2u);
  EXPECT_EQ(kept[0].offload.gso_size, 1000);
  EXPECT_EQ(kept[1].pieces, 1u);
  EXPECT_EQ(kept[2].pieces, 1u);
}

TEST(SegmentJoiner, LeavesPaddingOut) {
  Batch b;
  b.add(segment(0, 3));
  b.add(segment(3, 1));
  for (auto& f : b.frames) f.resize(80, std::byte{0xee});
  const auto& kept = b.join();
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(Bytes(kept[0].bytes.end() - 4, kept[0].bytes.end()), Bytes(kMemory.bytes.begin(), kMemory.bytes.begin() + 4));
  EXPECT_EQ(kept[0].bytes.size(), 66u + 4);
}

// What is no plain data of a connection ends what is held of it, and comes after it.
TEST(SegmentJoiner, KeepsTheOrderOfAConnection) {
  Batch b;
  b.add(segment(0, 1000));
  b.add(segment(1000, 1000));
  b.add(segment(2000, 0));
  b.add(segment(2000, 1000));
  const auto& kept = b.join();
  ASSERT_EQ(kept.size(), 3u);
  EXPECT_EQ(kept[0].pieces, 2u);
  EXPECT_EQ(kept[1].bytes, b.frames[2]);
  EXPECT_EQ(kept[2].bytes, b.frames[3]);
}

TEST(SegmentJoiner, JoinsSeveralConnectionsAtOnce) {
  for (const uint16_t connections : {2, 8, 9, 20}) {
    Batch b;
    for (uint32_t i = 0; i < 3; ++i)
      for (uint16_t c = 0; c < connections; ++c) {
        Path path = kPath;
        path.our_port = static_cast<uint16_t>(4000 + c);
        b.add(segment(i * 1000, 1000, 0x10, path));
      }
    const auto& kept = b.join();
    size_t pieces = 0;
    std::map<uint16_t, uint32_t> next;
    for (const Kept& k : kept) {
      pieces += k.pieces;
      uint32_t& expected = next[load_be16(k.bytes, 34)];
      EXPECT_EQ(load_be32(k.bytes, 38), expected);
      expected += static_cast<uint32_t>(k.bytes.size()) - 66;
    }
    EXPECT_EQ(pieces, size_t{3} * connections);
    if (connections <= SegmentJoiner::kGroups) {
      EXPECT_EQ(kept.size(), size_t{connections});
    }
  }
}

TEST(SegmentJoiner, StaysWithinAnIpPacketAndItsRoom) {
  Batch large;
  for (uint32_t i = 0; i < 50; ++i) large.add(segment(i * 1448, 1448));
  const auto& kept = large.join();
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(kept[0].pieces, 45u);
  EXPECT_LE(kept[0].bytes.size(), 14u + 65535);
  EXPECT_EQ(load_be16(kept[0].bytes, 16), kept[0].bytes.size() - 14);

  Batch small;
  for (uint32_t i = 0; i < 100; ++i) small.add(segment(i * 10, 10));
  ASSERT_EQ(small.join().size(), 2u);
  EXPECT_EQ(small.sink.kept[0].pieces, SegmentJoiner::kPieces);
}

TEST(SegmentJoiner, PassesEverythingElseAtOnce) {
  Batch b;
  const auto udp = udp_packet(kPath, kMemory, {0, 500, 1}, Checksums::complete);
  const auto super = tcp_packet(kPath, kMemory, {0, 5000, 1}, data_segment(0), Checksums::left_to_link, 1448);
  for (const Bytes& frame : {flatten(udp, kMemory), Bytes(5), Bytes(60), Bytes()}) {
    b.joiner.add({frame, {}});
    EXPECT_TRUE(b.joiner.empty());
  }
  const Bytes whole = flatten(super, kMemory);
  b.joiner.add({whole, super.offload});
  EXPECT_TRUE(b.joiner.empty());
  EXPECT_EQ(b.sink.kept.size(), 5u);
}

}  // namespace
}  // namespace ferry::link

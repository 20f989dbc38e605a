#include "link/pcapng.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "link/pcapng_format.h"
#include "unit/link/captured.h"
#include "unit/link/frames.h"

namespace ferry::link {
namespace {
using namespace testing;

class PcapngTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/ferry-pcapng-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory = name;
    path = directory + "/a.pcapng";
  }
  void TearDown() override { (void)!std::system(("rm -rf " + directory).c_str()); }
  std::unique_ptr<PcapngWriter> writer(const PcapngOptions& o = {}) {
    auto w = PcapngWriter::create(path, o);
    EXPECT_TRUE(w.ok()) << w.error();
    return std::move(*w);
  }
  static bool exists(const std::string& file) { return ::access(file.c_str(), F_OK) == 0; }
  static off_t size_of(const std::string& file) {
    struct stat s{};
    return ::stat(file.c_str(), &s) == 0 ? s.st_size : -1;
  }
  std::string directory, path;
};

TEST_F(PcapngTest, ReadsBackWhatItWrote) {
  const Bytes small = random_bytes(61, 1), large = random_bytes(65000, 2);
  {
    auto w = writer({.interface_name = "packet:veth0", .epoch = Duration::seconds(1'700'000'000)});
    EXPECT_TRUE(w->write(Instant::from_ns(123'456'789), Direction::inbound, small));
    const ByteSpan pieces[] = {ByteSpan(large).first(66), ByteSpan(large).subspan(66)};
    EXPECT_TRUE(w->write(Instant::from_ns(123'456'790), Direction::outbound, pieces));
    EXPECT_EQ(w->frames(), 2u);
  }
  std::string error;
  const auto got = read_capture(path, &error);
  EXPECT_EQ(error, "");
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].bytes, small);
  EXPECT_EQ(got[0].when.ns(), 1'700'000'000'123'456'789);
  EXPECT_EQ(got[0].direction, Direction::inbound);
  EXPECT_EQ(got[1].bytes, large);
  EXPECT_EQ(got[1].when.ns(), 1'700'000'000'123'456'790);
  EXPECT_EQ(got[1].direction, Direction::outbound);
}

TEST_F(PcapngTest, TsharkReadsIt) {
  ASSERT_EQ(std::system("command -v tshark >/dev/null"), 0) << "tshark is not installed";
  const Path p{{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}};
  const OneRegion memory(random_bytes(60000, 3));
  {
    auto w = writer({.interface_name = "packet:veth0", .epoch = Duration::seconds(1'700'000'000)});
    w->write(Instant::from_ns(5), Direction::outbound, flatten(udp_packet(p, memory, {0, 33, 1}, Checksums::complete), memory));
    w->write(Instant::from_ns(6), Direction::inbound, flatten(tcp_packet(p, memory, {0, 60000, 1}, {}, Checksums::complete, 1448), memory));
  }
  FILE* out = ::popen(("tshark -r " + path + " -T fields -e frame.time_epoch -e frame.len -e frame.interface_name -e udp.dstport "
                       "-e tcp.len -e frame.packet_flags_direction 2>/dev/null").c_str(), "r");
  ASSERT_NE(out, nullptr);
  char line[200];
  std::string text;
  while (std::fgets(line, sizeof line, out) != nullptr) text += line;
  EXPECT_EQ(::pclose(out), 0);
  EXPECT_NE(text.find("1700000000.000000005\t75\tpacket:veth0\t5000\t\t"), std::string::npos) << text;
  EXPECT_NE(text.find("1700000000.000000006\t60054\tpacket:veth0\t\t60000\t"), std::string::npos) << text;
}

TEST_F(PcapngTest, CutsAtTheSnaplen) {
  writer({.snaplen = 100})->write(Instant(), Direction::inbound, random_bytes(1000, 4));
  const auto got = read_capture(path);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].bytes.size(), 100u);
  EXPECT_EQ(got[0].original_length, 1000u);
}

TEST_F(PcapngTest, StopsAtItsSize) {
  auto w = writer({.max_file_bytes = 10'000});
  const Bytes frame = random_bytes(1000, 5);
  unsigned taken = 0;
  while (w->write(Instant(), Direction::inbound, frame)) ++taken;
  EXPECT_TRUE(w->full());
  EXPECT_EQ(taken, 9u);
  w.reset();
  EXPECT_LE(size_of(path), 10'000);
  EXPECT_EQ(read_capture(path).size(), 9u);
}

TEST_F(PcapngTest, RotatesAndKeepsTheLastFiles) {
  auto w = writer({.max_file_bytes = 10'000, .keep_files = 3});
  const Bytes frame = random_bytes(1000, 6);
  for (int i = 0; i < 9 * 5; ++i) EXPECT_TRUE(w->write(Instant::from_ns(i), Direction::inbound, frame));
  w.reset();
  EXPECT_FALSE(exists(path));
  EXPECT_FALSE(exists(path + ".1"));
  int expected = 18;
  for (const char* suffix : {".2", ".3", ".4"})
    for (const auto& f : read_capture(path + suffix)) EXPECT_EQ(f.when.ns(), expected++);
  EXPECT_EQ(expected, 45);
}

TEST_F(PcapngTest, WritesToADescriptorAndNoticesThatNobodyReads) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  auto w = PcapngWriter::adopt(ends[1], {});
  ASSERT_TRUE(w.ok());
  ::close(ends[0]);
  const auto before = ::signal(SIGPIPE, SIG_IGN);
  (*w)->write(Instant(), Direction::inbound, random_bytes(100, 7));
  (*w)->flush();
  ::signal(SIGPIPE, before);
  EXPECT_TRUE((*w)->failed());
  EXPECT_FALSE((*w)->write(Instant(), Direction::inbound, random_bytes(100, 8)));
}

TEST_F(PcapngTest, SaysWhyAFileCannotBeWrittenOrRead) {
  EXPECT_NE(PcapngWriter::create(directory + "/no/where", {}).error().find("No such file"), std::string::npos);
  EXPECT_NE(PcapngReader::open(directory + "/nothing").error().find("No such file"), std::string::npos);
}

// A writer of big-endian files with other resolutions and a simple packet, by hand.
class BigEndianFile {
 public:
  void put32(uint32_t v) {
    bytes_.resize(bytes_.size() + 4);
    store_be32(bytes_, bytes_.size() - 4, v);
  }
  void block(uint32_t type, const std::vector<uint32_t>& body) {
    put32(type);
    put32(static_cast<uint32_t>(12 + 4 * body.size()));
    for (const uint32_t v : body) put32(v);
    put32(static_cast<uint32_t>(12 + 4 * body.size()));
  }
  void save(const std::string& path) const {
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes_.data()), static_cast<std::streamsize>(bytes_.size()));
  }

 private:
  Bytes bytes_;
};

TEST_F(PcapngTest, ReadsTheOtherByteOrder) {
  BigEndianFile f;
  f.block(pcapng::kSectionHeader, {pcapng::kByteOrderMagic, 0x00010000, ~0u, ~0u});
  f.block(pcapng::kInterfaceDescription, {0x00010000, 0});                                 // microseconds by default
  f.block(pcapng::kInterfaceDescription, {0x00010000, 0, 9u << 16 | 1, 0x83000000, 0});     // 2^-3 seconds
  f.block(5, {1, 2, 3});                                                                    // interface statistics: skipped
  f.block(pcapng::kEnhancedPacket, {0, 0, 1'500'000, 5, 5, 0x01020304, 0x05000000});
  f.block(pcapng::kEnhancedPacket, {1, 0, 12, 4, 9, 0x0a0b0c0d, 2u << 16 | 4, 2, 0});
  f.block(pcapng::kSimplePacket, {3, 0x11223300});
  f.save(path);
  std::string error;
  const auto got = read_capture(path, &error);
  EXPECT_EQ(error, "");
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(got[0].when.ns(), 1'500'000'000);
  EXPECT_EQ(got[0].bytes, (Bytes{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}}));
  EXPECT_EQ(got[1].when.ns(), 1'500'000'000);
  EXPECT_EQ(got[1].original_length, 9u);
  EXPECT_EQ(got[1].direction, Direction::outbound);
  EXPECT_EQ(got[2].bytes.size(), 3u);
}

// Every prefix of a good file, and every single damaged byte, ends in frames or an error, never in more.
TEST_F(PcapngTest, SurvivesDamagedFiles) {
  { writer({.interface_name = "x"})->write(Instant::from_ns(1), Direction::inbound, random_bytes(30, 9)); }
  std::ifstream in(path, std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  ASSERT_FALSE(good.empty());
  const std::string damaged = directory + "/d";
  const auto try_file = [&](const std::string& content) {
    std::ofstream(damaged, std::ios::binary | std::ios::trunc) << content;
    std::string error;
    return read_capture(damaged, &error).size() + (error.empty() ? 0 : 100);
  };
  EXPECT_EQ(try_file(good), 1u);
  for (size_t n = 1; n < good.size(); ++n) {
    const size_t outcome = try_file(good.substr(0, n));
    EXPECT_TRUE(outcome == 100 || outcome == 0) << n;
  }
  for (size_t at = 0; at < good.size(); ++at) {
    for (const char flip : {'\x01', '\x80', '\xff'}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ flip);
      EXPECT_LE(try_file(bad), 101u) << at;
    }
  }
}

}  // namespace
}  // namespace ferry::link

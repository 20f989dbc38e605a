// Regions of a client: which memfds are taken, which descriptors name bytes in them, how long a forgotten one stays.
#include "server/client_regions.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "fixture.h"

namespace ferry::server {
namespace {

constexpr uint64_t kPage = abi::kHugePageSize;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;

UniqueFd make_memfd(uint64_t size, int seals = kSeals) {
  UniqueFd fd(memfd_create("test-region", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}

void put(const UniqueFd& fd, uint64_t at, std::string_view text) {
  ASSERT_EQ(pwrite(fd.get(), text.data(), text.size(), static_cast<off_t>(at)), static_cast<ssize_t>(text.size()));
}

std::string text_of(ByteSpan bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

class ClientRegionsTest : public testing::Test {
 protected:
  Memory memory{1 << 20};
  ClientRegions regions{memory};
  Errc add(uint32_t number, const UniqueFd& fd, uint64_t most = 8 * kPage) { return regions.add(number, fd.get(), most, nullptr).error(); }
};

TEST_F(ClientRegionsTest, ADescriptorNamesTheClientsBytes) {
  UniqueFd fd = make_memfd(2 * kPage);
  put(fd, kPage + 5, "where the program has it");
  ASSERT_EQ(add(3, fd), Errc::ok);
  EXPECT_EQ(text_of(memory.read(regions.locate({kPage + 5, 24, 3, 0}))), "where the program has it");
  EXPECT_EQ(regions.mapped_bytes(), 2 * kPage);
}

TEST_F(ClientRegionsTest, WhatLeavesARegionNamesNothing) {
  ASSERT_EQ(add(1, make_memfd(kPage)), Errc::ok);
  EXPECT_EQ(regions.locate({kPage - 1, 1, 1, 0}).region, regions.locate({0, 1, 1, 0}).region);
  for (abi::Descriptor d : {abi::Descriptor{kPage, 1, 1, 0}, {kPage - 1, 2, 1, 0}, {~uint64_t{0}, 2, 1, 0}, {0, 1, 0, 0}, {0, 1, 2, 0},
                            {0, 1, abi::kMaxRegions + 1, 0}, {0, 1, 0xffff, 0}})
    EXPECT_EQ(regions.locate(d).region, 0u) << d.offset << " " << d.length << " " << d.region;
}

TEST_F(ClientRegionsTest, OnlySealedMemoryFilesOfWholePagesAreTaken) {
  EXPECT_EQ(add(1, make_memfd(kPage, 0)), Errc::invalid);
  EXPECT_EQ(add(1, make_memfd(kPage, F_SEAL_SHRINK)), Errc::invalid);
  EXPECT_EQ(add(1, make_memfd(kPage, F_SEAL_GROW)), Errc::invalid);
  EXPECT_EQ(add(1, make_memfd(kPage + 4096)), Errc::invalid);
  EXPECT_EQ(add(1, make_memfd(0)), Errc::invalid);
  EXPECT_EQ(add(1, make_memfd(9 * kPage)), Errc::invalid);
  EXPECT_EQ(add(0, make_memfd(kPage)), Errc::invalid);
  EXPECT_EQ(add(abi::kMaxRegions + 1, make_memfd(kPage)), Errc::invalid);
  EXPECT_EQ(add(1, UniqueFd(open("/proc/self/exe", O_RDONLY))), Errc::invalid);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  UniqueFd other(ends[1]);
  EXPECT_EQ(add(1, UniqueFd(ends[0])), Errc::invalid);
  EXPECT_EQ(add(1, UniqueFd()), Errc::invalid);
  EXPECT_EQ(add(1, make_memfd(kPage), 0), Errc::invalid);
  EXPECT_EQ(regions.mapped_bytes(), 0u);
}

TEST_F(ClientRegionsTest, HolesThatTheClientPunchesReadAsZeros) {
  UniqueFd fd = make_memfd(kPage);
  put(fd, 0, "gone");
  ASSERT_EQ(add(1, fd), Errc::ok);
  ASSERT_EQ(fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(kPage)), 0);
  EXPECT_EQ(text_of(memory.read(regions.locate({0, 4, 1, 0}))), std::string(4, '\0'));
}

TEST_F(ClientRegionsTest, AForgottenRegionStaysAsLongAsItIsReferredTo) {
  UniqueFd fd = make_memfd(kPage);
  put(fd, 0, "kept");
  ASSERT_EQ(add(1, fd), Errc::ok);
  const buf::IoDesc d = regions.locate({0, 4, 1, 0});
  ASSERT_TRUE(regions.forget(1).ok());
  EXPECT_EQ(regions.locate({0, 4, 1, 0}).region, 0u);
  EXPECT_EQ(text_of(memory.read(d)), "kept");
  regions.release_forgotten();
  EXPECT_TRUE(memory.read(d).empty());
  EXPECT_EQ(regions.forget(1).error(), Errc::invalid);
}

TEST_F(ClientRegionsTest, ANumberThatIsUsedAgainNamesTheNewBytesOnly) {
  UniqueFd a = make_memfd(kPage), b = make_memfd(kPage);
  put(a, 0, "old"), put(b, 0, "new");
  ASSERT_EQ(add(1, a), Errc::ok);
  const buf::IoDesc old = regions.locate({0, 3, 1, 0});
  ASSERT_EQ(add(1, b), Errc::ok);
  EXPECT_EQ(text_of(memory.read(old)), "old");
  EXPECT_EQ(text_of(memory.read(regions.locate({0, 3, 1, 0}))), "new");
}

TEST_F(ClientRegionsTest, ForgottenRegionsAreBounded) {
  UniqueFd fd = make_memfd(kPage);
  uint32_t taken = 0;
  while (add(1, fd) == Errc::ok && taken < 100) ++taken;
  EXPECT_EQ(taken, abi::kMaxRegions + 1);
  regions.release_forgotten();
  EXPECT_EQ(add(1, fd), Errc::ok);
}

class RegionOutputTest : public ServerTest {};

TEST_F(RegionOutputTest, OutputIsReferredToUntilItIsCompleted) {
  Client& c = connect_client();
  Socket& s = open(c);
  UniqueFd fd = make_memfd(kPage);
  put(fd, 4096, "by reference");
  ASSERT_TRUE(c.channel()->add_region(2, fd.get(), kPage).ok());
  write(c, s, "copied ");
  push(shared(c, s), {4096, 12, 2, 0});
  ring(s);
  EXPECT_EQ(protocols.sent, "copied by reference");
  shared(c, s).copied_out = 7;
  EXPECT_EQ(s.copied().out, 7u);
  EXPECT_EQ(s.copied().referenced_out, 12u);
  EXPECT_EQ(counters.referenced_out, 12u);
  ASSERT_TRUE(c.channel()->forget_region(2).ok());
  EXPECT_EQ(c.channel()->region_bytes(), kPage);
  s.on_completed(19);
  run();
  EXPECT_EQ(shared(c, s).tx_completed, 19u);
  EXPECT_EQ(c.channel()->region_bytes(), 0u);
}

TEST_F(RegionOutputTest, ADescriptorOutsideARegionCondemns) {
  for (abi::Descriptor bad : {abi::Descriptor{kPage, 1, 1, 0}, {0, 1, 2, 0}, {0, 1, 0xffff, 0}}) {
    Client& c = connect_client();
    Socket& s = open(c);
    ASSERT_TRUE(c.channel()->add_region(1, make_memfd(kPage).get(), kPage).ok());
    push(shared(c, s), bad);
    ring(s);
    EXPECT_TRUE(c.channel()->condemned);
  }
  EXPECT_EQ(protocols.sent, "");
}

TEST_F(RegionOutputTest, DatagramsHaveNoRegions) {
  Client& c = connect_client();
  Socket& s = open(c, stack::SocketType::udp);
  ASSERT_TRUE(c.channel()->add_region(1, make_memfd(kPage).get(), kPage).ok());
  push(shared(c, s), {0, sizeof(abi::DatagramHeader), 1, 0});
  ring(s);
  EXPECT_TRUE(c.channel()->condemned);
}

TEST_F(RegionOutputTest, ARegionOutlivesItsClientForAsLongAsOutputIsInIt) {
  Client& c = connect_client();
  Socket& s = open(c);
  UniqueFd fd = make_memfd(kPage);
  put(fd, 0, "left behind");
  ASSERT_TRUE(c.channel()->add_region(1, fd.get(), kPage).ok());
  push(shared(c, s), {0, 11, 1, 0});
  ring(s);
  const buf::IoDesc d = protocols.calls.back().data;
  c.drop("");
  EXPECT_EQ(text_of(memory.read(d)), "left behind");
  EXPECT_FALSE(handler.orphans.front()->unreferenced());
}

}  // namespace
}  // namespace ferry::server

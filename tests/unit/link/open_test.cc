// Wrong input, each with its sentence; addresses.
#include "link/open.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <set>

#include "link/gso_limit.h"
#include "link/interface.h"
#include "unit/link/net_namespace.h"

namespace ferry::link {
namespace {
using namespace testing;

std::string refusal(const std::string& spec, const Options& options = {}) {
  auto link = open(spec, options);
  return link.ok() ? "" : link.error();
}
void expect_says(const std::string& text, const std::string& words) { EXPECT_NE(text.find(words), std::string::npos) << text; }

TEST(OpenLink, ExplainsItsGrammar) {
  for (const char* spec : {"", "packet", "packet:", ":", "tap:", "xdp:"}) expect_says(refusal(spec), "KIND:INTERFACE");
  expect_says(refusal("xpd:eth0"), "unknown kind of link \"xpd\"");
  expect_says(refusal("xdp:lo,queue=2"), "\"queue=2\" is no option");
  for (const char* spec : {"xdp:lo,queues=0", "xdp:lo,queues=x", "xdp:lo,queues=65", "xdp:lo,copy,queues="}) expect_says(refusal(spec), "1 to 64");
}

TEST(OpenLink, SaysThatAnInterfaceIsUnknownOrUnfit) {
  expect_says(refusal("packet:nosuch0"), "no network interface \"nosuch0\"");
  expect_says(refusal("packet:a-name-that-is-far-too-long"), "not the name of a network interface");
  expect_says(refusal("packet:../eth0"), "not the name of a network interface");
  expect_says(refusal("packet:lo"), "not an Ethernet interface");
  expect_says(refusal("xdp:lo,copy"), "not an Ethernet interface");
}

TEST(OpenLink, RaisesTheLimitOfUncutPacketsAndKeepsBelowIt) {
  FERRY_NEEDS_ROOT();
  VethPair veth;
  ASSERT_TRUE(veth.ok());
  Options o;
  o.gso_max_size = 131'072;
  for (const char* spec : {"tap:x0", "xdp:f0"}) expect_says(veth.ferry.run([&] { return refusal(spec, o); }), "gso-max-size");
  const auto limit = [&] { return veth.ferry.run([] { return *gso_limit(*find_interface("f0")); }); };
  const auto max_gso = [&](const Options& options) { return veth.ferry.run([&] { return (**open("packet:f0", options)).capabilities().max_gso; }); };
  constexpr uint32_t kHeaders = 14 + 20 + 60;
  EXPECT_EQ(limit(), kUsualGsoLimit);
  EXPECT_EQ(max_gso({}), 65'535 - kHeaders);
  EXPECT_EQ(max_gso(o), 131'071 - kHeaders);
  EXPECT_EQ(limit(), 131'072u);
  EXPECT_EQ(max_gso({}), 131'071 - kHeaders);  // it stays
  o.gso_max_size = 100'000;
  EXPECT_EQ(max_gso(o), 99'999 - kHeaders);  // less than it may be
  EXPECT_EQ(limit(), 131'072u);
  EXPECT_EQ(veth.ferry.run([] { return raise_gso_limit(*find_interface("f0"), 400'000); }), "");
  EXPECT_EQ(max_gso({}), kMostGsoLimit - 1 - kHeaders);
  expect_says(veth.ferry.run([] { return raise_gso_limit(*find_interface("f0"), 1 << 20); }), "does not take so much");
}

TEST(OpenLink, SaysThatItHasNoPermission) {
  FERRY_NEEDS_ROOT();
  VethPair veth;
  ASSERT_TRUE(veth.ok());
  const pid_t child = ::fork();
  if (child == 0) {
    const bool said = veth.ferry.run([] {
      if (::setresuid(65534, 65534, 65534) != 0) return false;
      return refusal("packet:f0").find("CAP_NET_RAW") != std::string::npos && refusal("xdp:f0").find("CAP_BPF") != std::string::npos &&
             (refusal("tap:x0").find("CAP_NET_ADMIN") != std::string::npos || refusal("tap:x0").find("Permission denied") != std::string::npos);
    });
    ::_exit(said ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(OpenLink, RefusesInterfacesThatAreDownOrTooSmall) {
  FERRY_NEEDS_ROOT();
  VethPair veth;
  ASSERT_TRUE(veth.ok());
  ASSERT_TRUE(veth.ferry.shell("ip link set f0 mtu 500"));
  expect_says(veth.ferry.run([] { return refusal("packet:f0"); }), "MTU of 500");
  ASSERT_TRUE(veth.ferry.shell("ip link set f0 mtu 1500 down"));
  expect_says(veth.ferry.run([] { return refusal("packet:f0"); }), "is down");
}

TEST(OpenLink, RefusesToShareAnAddressWithAKernelThatUsesIt) {
  FERRY_NEEDS_ROOT();
  VethPair veth;
  ASSERT_TRUE(veth.ok());
  Options share;
  share.interface_mac = true;
  expect_says(veth.kernel.run([&] { return refusal("packet:k0", share); }), "10.77.0.1");
  EXPECT_EQ(veth.ferry.run([&] { return refusal("packet:f0", share); }), "");
  ASSERT_TRUE(veth.ferry.shell("sysctl -w net.ipv4.conf.f0.forwarding=1 || echo 1 > /proc/sys/net/ipv4/conf/f0/forwarding"));
  expect_says(veth.ferry.run([&] { return refusal("packet:f0", share); }), "forwards");
  // Giving the same address by hand is the same thing.
  Options given;
  given.mac = veth.kernel.run([] { return find_interface("k0"); })->mac;
  expect_says(veth.kernel.run([&] { return refusal("packet:k0", given); }), "10.77.0.1");
}

TEST(OpenLink, TapNamesAreCheckedAgainstWhatExists) {
  FERRY_NEEDS_ROOT();
  VethPair veth;
  ASSERT_TRUE(veth.ok());
  expect_says(veth.ferry.run([] { return refusal("tap:f0"); }), "not a TAP interface");
  veth.ferry.run([] {
    auto first = open("tap:t0", {});
    EXPECT_TRUE(first.ok()) << first.error();
    expect_says(refusal("tap:t0"), "in use");
  });
}

TEST(OpenLink, ReportsWhatTheInterfaceCanDo) {
  FERRY_NEEDS_ROOT();
  VethPair veth("tx off tso off");
  ASSERT_TRUE(veth.ok());
  auto link = veth.ferry.run([] { return open("packet:f0", {}); });
  ASSERT_TRUE(link.ok()) << link.error();
  EXPECT_FALSE((*link)->capabilities().hardware_segmentation);
  EXPECT_FALSE((*link)->capabilities().hardware_checksum);
  EXPECT_EQ((*link)->capabilities().mtu, 1500u);
  EXPECT_EQ((*link)->name(), "packet:f0");
  VethPair able;
  ASSERT_TRUE(able.ok());
  auto full = able.ferry.run([] { return open("packet:f0", {}); });
  ASSERT_TRUE(full.ok()) << full.error();
  EXPECT_TRUE((*full)->capabilities().hardware_segmentation);
  EXPECT_TRUE((*full)->capabilities().hardware_checksum);
}

TEST(DeriveMac, IsStableLocalAndDifferent) {
  std::set<std::array<uint8_t, 6>> seen;
  for (uint8_t i = 0; i < 200; ++i) {
    const wire::MacAddress interface{{0x52, 0x54, 0, 0, 0, i}}, own = derive_mac(interface);
    EXPECT_EQ(own, derive_mac(interface));
    EXPECT_NE(own, interface);
    EXPECT_EQ(own.octets[0] & 3, 2);
    seen.insert(own.octets);
  }
  EXPECT_EQ(seen.size(), 200u);
}

TEST(ParseMac, TakesSixOctetsAndNothingElse) {
  const auto mac = parse_mac("02:00:5e:10:aB:Ff");
  ASSERT_TRUE(mac.has_value());
  EXPECT_EQ(*mac, (wire::MacAddress{{2, 0, 0x5e, 0x10, 0xab, 0xff}}));
  EXPECT_EQ(to_string(*mac), "02:00:5e:10:ab:ff");
  for (const char* bad : {"", "02:00:5e:10:ab", "02:00:5e:10:ab:f", "02-00-5e-10-ab-ff", "02:00:5e:10:ab:fg", "02:00:5e:10:ab:ff:00",
                          "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00"})
    EXPECT_FALSE(parse_mac(bad).has_value()) << bad;
}

}  // namespace
}  // namespace ferry::link

// Settings: each wrong input gets one sentence that names it.
#include "server/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace ferry::server {
namespace {

Settings good() { return {{"link", {"packet:veth0"}}, {"address", {"10.9.0.1/24"}}}; }

std::string why_not(const Settings& s) {
  auto c = make_config(s);
  return c ? "" : c.error();
}

std::string why_not(const char* name, const char* value) {
  Settings s = good();
  s[name] = {value};
  return why_not(s);
}

bool mentions(const std::string& sentence, const char* what) { return sentence.find(what) != std::string::npos; }

TEST(ConfigTest, ReadsALinkWithItsAddress) {
  Settings s = good();
  s["gateway"] = {"10.9.0.254"};
  s["mac"] = {"02:00:00:00:00:07"};
  s["quota-input-mib"] = {"8"};
  auto c = make_config(s);
  ASSERT_TRUE(c) << c.error();
  EXPECT_EQ(c->prefix.address, wire::Ipv4Address::of(10, 9, 0, 1));
  EXPECT_EQ(c->prefix.length, 24);
  EXPECT_EQ(*c->gateway, wire::Ipv4Address::of(10, 9, 0, 254));
  EXPECT_EQ(c->mac->octets[5], 7);
  EXPECT_EQ(c->engine.limits.input_bytes, 8u << 20);
}

TEST(ConfigTest, NothingToServe) { EXPECT_TRUE(mentions(why_not(Settings{}), "nothing to serve")); }

TEST(ConfigTest, LoopbackNeedsNoLink) { EXPECT_EQ(why_not({{"loopback", {"true"}}}), ""); }

TEST(ConfigTest, BadAddresses) {
  for (const char* a : {"10.9.0.1", "10.9.0.1/", "10.9.0.1/33", "10.9.0.1/0", "10.9.0/24", "10.9.0.1/24x", "::1/64", "", "300.1.1.1/8"})
    EXPECT_TRUE(mentions(why_not("address", a), "is not an IPv4 address")) << a;
  for (const char* a : {"10.9.0.0/24", "10.9.0.255/24", "127.0.0.1/8", "224.0.0.1/24", "0.0.0.0/8", "255.255.255.255/32"})
    EXPECT_TRUE(mentions(why_not("address", a), "cannot be the address")) << a;
  EXPECT_EQ(why_not("address", "10.9.0.0/31"), "");
}

TEST(ConfigTest, AnAddressNeedsALink) {
  EXPECT_TRUE(mentions(why_not({{"loopback", {"true"}}, {"address", {"10.9.0.1/24"}}}), "no link"));
  EXPECT_TRUE(mentions(why_not({{"link", {"packet:x"}}}), "needs an address"));
}

TEST(ConfigTest, AGatewayIsANeighbour) {
  EXPECT_TRUE(mentions(why_not("gateway", "10.8.0.1"), "not a neighbour"));
  EXPECT_TRUE(mentions(why_not("gateway", "10.9.0.1"), "not a neighbour"));
  EXPECT_TRUE(mentions(why_not("gateway", "gate"), "'gate'"));
}

TEST(ConfigTest, MacAddresses) {
  EXPECT_TRUE(mentions(why_not("mac", "01:00:00:00:00:01"), "MAC"));
  EXPECT_TRUE(mentions(why_not("mac", "02:00"), "MAC"));
  EXPECT_EQ(why_not("mac", "interface"), "");
}

TEST(ConfigTest, ForeignServers) {
  EXPECT_EQ(why_not("server", "tcp=lwip"), "");
  EXPECT_TRUE(mentions(why_not("server", "tcp=other"), "tcp=other"));
  Settings s = good();
  s["server"] = {"tcp=lwip", "tcp=lwip"};
  EXPECT_TRUE(mentions(why_not(s), "twice"));
  s["server"] = {"tcp=lwip"};
  s["loopback"] = {"true"};
  EXPECT_TRUE(mentions(why_not(s), "127.0.0.0/8"));
  s["loopback"] = {"false"};
  s["record"] = {"/tmp/r"};
  EXPECT_TRUE(mentions(why_not(s), "record"));
}

TEST(ConfigTest, NumbersHaveBounds) {
  EXPECT_TRUE(mentions(why_not("spin-us", "1001"), "spin-us"));
  EXPECT_TRUE(mentions(why_not("spin-us", "-1"), "spin-us"));
  EXPECT_TRUE(mentions(why_not("client-spin-us", "1001"), "client-spin-us"));
  EXPECT_TRUE(mentions(why_not("quota-sockets", "16385"), "quota-sockets"));
  EXPECT_TRUE(mentions(why_not("quota-sockets", "12x"), "'12x'"));
  EXPECT_TRUE(mentions(why_not("log-level", "loud"), "log-level"));
  for (const char* bytes : {"65535", "262145", "64k"}) EXPECT_TRUE(mentions(why_not("gso-max-size", bytes), "gso-max-size")) << bytes;
  EXPECT_EQ(make_config(good())->gso_max_size, 0u);
  Settings s = good();
  s["gso-max-size"] = {"196608"};
  EXPECT_EQ(make_config(s)->gso_max_size, 196'608u);
  EXPECT_TRUE(mentions(why_not(Settings{{"loopback", {"true"}}, {"gso-max-size", {"196608"}}}), "gso-max-size"));
  EXPECT_TRUE(mentions(why_not("socket", ""), "path"));
}

class ConfigFileTest : public testing::Test {
 protected:
  ConfigFileTest() : path_(testing::TempDir() + "ferryd-" + std::to_string(getpid()) + ".toml") {}
  ~ConfigFileTest() override { unlink(path_.c_str()); }
  link::Outcome<Settings> read(const std::string& text) {
    std::ofstream(path_) << text;
    return read_config_file(path_);
  }
  std::string path_;
};

TEST_F(ConfigFileTest, ReadsEveryKind) {
  auto s = read("link = [\"packet:veth0\"]\naddress = \"10.9.0.1/24\"\nloopback = true\nspin-us = 7\n");
  ASSERT_TRUE(s) << s.error();
  EXPECT_EQ((*s)["link"], std::vector<std::string>{"packet:veth0"});
  EXPECT_EQ((*s)["loopback"], std::vector<std::string>{"true"});
  EXPECT_EQ((*s)["spin-us"], std::vector<std::string>{"7"});
}

TEST_F(ConfigFileTest, ErrorsNameFileAndLine) {
  for (const char* text : {"\nlink = 3\n", "\nspeed = 3\n", "\nloopback = \"yes\"\n", "\nlink = \"x\n", "\nspin-us = 1.5\n"}) {
    auto s = read(text);
    ASSERT_FALSE(s) << text;
    EXPECT_TRUE(mentions(s.error(), (path_ + ":2: ").c_str())) << s.error();
  }
}

TEST_F(ConfigFileTest, AMissingFileIsSaid) { EXPECT_TRUE(mentions(read_config_file("/nonexistent/x").error(), "cannot be read")); }

}  // namespace
}  // namespace ferry::server

// The variables that keep libferry loaded over exec.
#include "preload/exec_environment.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <string>
#include <vector>

namespace ferry::preload {
namespace {

constexpr const char* kLibrary = "/opt/ferry/libferry.so";

std::vector<std::string> list(char* const* environment) {
  std::vector<std::string> all;
  for (; *environment != nullptr; ++environment) all.emplace_back(*environment);
  return all;
}

bool has(const std::vector<std::string>& all, const std::string& entry) {
  return std::find(all.begin(), all.end(), entry) != all.end();
}

class ExecEnvironmentTest : public testing::Test {
 protected:
  void SetUp() override {
    setenv("FERRY_SOCKET", "/run/x.sock", 1);
    setenv("FERRY_SCHEME", "shared", 1);
    for (const char* name : {"FERRY_LOG", "ASAN_OPTIONS", "UBSAN_OPTIONS"}) unsetenv(name);
    remember_environment(kLibrary);
  }
  void TearDown() override {
    for (const char* name : {"FERRY_SOCKET", "FERRY_SCHEME", "LD_PRELOAD"}) unsetenv(name);
    remember_environment("");
  }
};

TEST_F(ExecEnvironmentTest, CompleteEnvironmentIsLeftAlone) {
  char preload[] = "LD_PRELOAD=/a.so:/opt/ferry/libferry.so", socket[] = "FERRY_SOCKET=/other", scheme[] = "FERRY_SCHEME=copy";
  char* given[] = {preload, socket, scheme, nullptr};
  ChildEnvironment child(given);
  EXPECT_FALSE(child.restored());
  EXPECT_EQ(list(child.get()), list(given));
}

TEST_F(ExecEnvironmentTest, ScrubbedEnvironmentGetsWhatItLost) {
  char path[] = "PATH=/bin";
  char* given[] = {path, nullptr};
  ChildEnvironment child(given);
  EXPECT_TRUE(child.restored());
  auto all = list(child.get());
  EXPECT_EQ(all.size(), 4u);
  EXPECT_TRUE(has(all, "PATH=/bin"));
  EXPECT_TRUE(has(all, "LD_PRELOAD=/opt/ferry/libferry.so"));
  EXPECT_TRUE(has(all, "FERRY_SOCKET=/run/x.sock"));
  EXPECT_TRUE(has(all, "FERRY_SCHEME=shared"));
  char* none[] = {nullptr};
  EXPECT_EQ(list(ChildEnvironment(none).get()).size(), 3u);
  EXPECT_EQ(list(ChildEnvironment(nullptr).get()).size(), 3u);
}

TEST_F(ExecEnvironmentTest, OtherPreloadsAreKeptBehindFerry) {
  char preload[] = "LD_PRELOAD=/opt/ferry/libferry.so.old /b.so";
  char* given[] = {preload, nullptr};
  ChildEnvironment child(given);
  EXPECT_TRUE(has(list(child.get()), "LD_PRELOAD=/opt/ferry/libferry.so:/opt/ferry/libferry.so.old /b.so"));
}

TEST_F(ExecEnvironmentTest, OwnEnvironmentIsRestoredWithoutOverwriting) {
  unsetenv("LD_PRELOAD");
  setenv("FERRY_SOCKET", "/changed", 1);
  unsetenv("FERRY_SCHEME");
  restore_own_environment();
  EXPECT_STREQ(getenv("LD_PRELOAD"), kLibrary);
  EXPECT_STREQ(getenv("FERRY_SOCKET"), "/changed");
  EXPECT_STREQ(getenv("FERRY_SCHEME"), "shared");
}

}  // namespace
}  // namespace ferry::preload

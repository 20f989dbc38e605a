// The control socket in the file system.
#include "server/control_path.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "ipc/control_socket.h"

namespace ferry::server {
namespace {

class ControlPathTest : public testing::Test {
 protected:
  ControlPathTest() : path_("/tmp/ferry-path-" + std::to_string(getpid()) + ".sock") { unlink(path_.c_str()); }
  ~ControlPathTest() override { unlink(path_.c_str()); }
  bool exists() const { return access(path_.c_str(), F_OK) == 0; }
  std::string path_;
};

TEST_F(ControlPathTest, IsMadeForEverybodyAndRemoved) {
  auto p = ControlPath::create(path_);
  ASSERT_TRUE(p) << p.error();
  struct stat st{};
  ASSERT_EQ(stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0666u);
  p->remove();
  EXPECT_FALSE(exists());
}

TEST_F(ControlPathTest, ALivingServerIsLeftAlone) {
  auto first = ControlPath::create(path_);
  ASSERT_TRUE(first);
  auto second = ControlPath::create(path_);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().find("another ferryd"), std::string::npos);
  EXPECT_TRUE(exists());
}

TEST_F(ControlPathTest, AStaleSocketIsReplaced) {
  {
    auto dead = ControlPath::create(path_);
    ASSERT_TRUE(dead);
  }
  ASSERT_TRUE(exists()) << "nobody removed it";
  EXPECT_TRUE(ControlPath::create(path_));
}

TEST_F(ControlPathTest, AFileIsNotOverwritten) {
  std::ofstream(path_) << "precious";
  auto p = ControlPath::create(path_);
  ASSERT_FALSE(p);
  EXPECT_NE(p.error().find("not a socket"), std::string::npos);
  EXPECT_TRUE(exists());
}

TEST_F(ControlPathTest, WhatSomebodyElseMadeMeanwhileIsNotRemoved) {
  auto p = ControlPath::create(path_);
  ASSERT_TRUE(p);
  unlink(path_.c_str());
  std::ofstream(path_) << "other";
  p->remove();
  EXPECT_TRUE(exists());
}

}  // namespace
}  // namespace ferry::server

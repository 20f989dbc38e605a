// libferry's log lines.
#include "preload/log.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace ferry::preload {
namespace {

class LogTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/ferry-log-XXXXXX";
    close(mkstemp(name));
    path_ = name;
  }
  void TearDown() override {
    log_configure("warn");
    unlink(path_.c_str());
  }
  std::string text() const {
    std::stringstream all;
    all << std::ifstream(path_).rdbuf();
    return all.str();
  }
  std::string path_;
};

TEST_F(LogTest, WritesLinesOfTheLevelAndAbove) {
  log_configure(("info:" + path_).c_str());
  errno = 42;
  FERRY_LOG_ERROR("one %d", 1);
  FERRY_LOG_INFO("two %s", "2");
  FERRY_LOG_DEBUG("three");
  EXPECT_EQ(errno, 42);
  std::string prefix = "libferry[" + std::to_string(getpid()) + "]: ";
  EXPECT_EQ(text(), prefix + "one 1\n" + prefix + "two 2\n");
}

TEST_F(LogTest, OffIsSilentAndUnknownLevelsMeanWarn) {
  log_configure(("off:" + path_).c_str());
  FERRY_LOG_ERROR("nothing");
  EXPECT_EQ(text(), "");
  log_configure(("chatty:" + path_).c_str());
  EXPECT_TRUE(log_enabled(LogLevel::warn));
  EXPECT_FALSE(log_enabled(LogLevel::info));
}

TEST_F(LogTest, LongLinesAreCutAndEnded) {
  log_configure(("warn:" + path_).c_str());
  FERRY_LOG_WARN("%s", std::string(2000, 'x').c_str());
  std::string line = text();
  EXPECT_LE(line.size(), 512u);
  EXPECT_EQ(line.back(), '\n');
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST_F(LogTest, APipeThatNobodyReadsDoesNotEndTheProgram) {
  log_configure("warn");
  static int handled = 0;
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGPIPE, [](int) { ++handled; });
    int ends[2];
    if (pipe(ends) != 0) _exit(1);
    close(ends[0]);
    dup2(ends[1], 2);
    FERRY_LOG_WARN("nobody reads this");
    raise(SIGPIPE);  // the program's own comes as before
    _exit(handled == 1 ? 0 : 4);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace ferry::preload

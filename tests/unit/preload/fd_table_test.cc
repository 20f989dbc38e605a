// The descriptor table: names, references, stale numbers, threads.
#include "preload/fd_table.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace ferry::preload {
namespace {

class CountingFile final : public OpenFile {
 public:
  CountingFile() : OpenFile(FileKind::socket) { revive(); }
  std::atomic<int> retired{0};

 protected:
  void retire() override { ++retired; }
};

class FdTableTest : public testing::Test {
 protected:
  FdTable table_;
};

TEST_F(FdTableTest, NumbersThatAreNotOursGiveNothing) {
  EXPECT_FALSE(table_.get(0));
  EXPECT_FALSE(table_.get(-1));
  EXPECT_FALSE(table_.get(FdTable::kMaxFds));
  EXPECT_FALSE(table_.contains(5000));
  EXPECT_FALSE(table_.remove(7));
}

TEST_F(FdTableTest, FileLivesAsLongAsOneNameOrOneCall) {
  CountingFile file;
  ASSERT_TRUE(table_.install(5, &file));
  ASSERT_TRUE(table_.install(1030, &file));
  file.release();  // the creator's
  EXPECT_EQ(file.names(), 2u);
  FileRef<> call = table_.get(1030);
  EXPECT_EQ(call.get(), &file);
  table_.remove(5);
  table_.remove(1030);
  EXPECT_EQ(file.names(), 0u);
  EXPECT_EQ(file.retired, 0);
  call.reset();
  EXPECT_EQ(file.retired, 1);
}

TEST_F(FdTableTest, InstallingOverANumberDropsWhatItNamed) {
  CountingFile first, second;
  table_.install(9, &first);
  first.release();
  table_.install(9, &second);
  second.release();
  EXPECT_EQ(first.retired, 1);
  EXPECT_EQ(table_.get(9).get(), &second);
  table_.forget_stale(9);
  EXPECT_FALSE(table_.contains(9));
  EXPECT_EQ(second.retired, 1);
}

TEST_F(FdTableTest, RefusesNumbersBeyondItsEnd) {
  CountingFile file;
  EXPECT_FALSE(table_.install(FdTable::kMaxFds, &file));
  EXPECT_FALSE(table_.install(-1, &file));
  EXPECT_EQ(file.names(), 0u);
}

TEST_F(FdTableTest, VisitsNumbersOfARangeInOrder) {
  CountingFile file;
  for (int fd : {3, 1023, 1024, 70000}) table_.install(fd, &file);
  std::vector<int> seen;
  table_.for_each(4, 70000, [&](int fd, OpenFile*) {
    seen.push_back(fd);
    table_.remove(fd);
  });
  EXPECT_EQ(seen, (std::vector<int>{1023, 1024, 70000}));
  EXPECT_EQ(file.names(), 1u);
}

// Type-stable objects make a lookup that races with the end of a file safe: it finds the file, the next one, or nothing.
TEST_F(FdTableTest, LookupsRaceWithClosing) {
  class Recycled final : public OpenFile {
   public:
    Recycled() : OpenFile(FileKind::socket) {}
    void start() { revive(); }
    std::atomic<bool> alive{false};

   protected:
    void retire() override { alive = false; }
  };
  Recycled file;
  std::atomic<bool> stop{false};
  std::atomic<long> found{0}, dead{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        FileRef<> f = table_.get(4);
        if (!f) continue;
        ++found;
        if (!static_cast<Recycled*>(f.get())->alive) ++dead;
      }
    });
  }
  for (int i = 0; i < 20000 || (found == 0 && i < 2000000); ++i) {
    while (file.alive) std::this_thread::yield();
    file.alive = true;
    file.start();
    table_.install(4, &file);
    file.release();
    table_.remove(4);
  }
  stop = true;
  for (std::thread& t : readers) t.join();
  EXPECT_GT(found, 0);
  EXPECT_EQ(dead, 0);
}

}  // namespace
}  // namespace ferry::preload

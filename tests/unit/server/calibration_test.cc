// What is kept of a calibration, and what follows from it. The figures themselves are this machine's.
#include "server/calibration.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace ferry::server {
namespace {

Calibration example() {
  Calibration c{60'000, 3'000, 6'000, 2'000, 12'000, 5'000, 0, 0, false};
  c.reference_bytes = reference_bytes_of(c);
  c.swap_bytes = swap_bytes_of(c);
  return c;
}

TEST(Calibration, OutputIsReferredToWhereTheCopyCostsTwiceAsMuch) {
  Calibration c = example();
  EXPECT_EQ(c.reference_bytes % 4096, 0u);
  EXPECT_NEAR(static_cast<double>(c.reference_bytes), 16'000.0 / 60'000 * (1 << 20), 4096);
  c.map_ns *= 2;
  EXPECT_GT(reference_bytes_of(c), c.reference_bytes);
}

TEST(Calibration, TheSizeIsBoundedWhateverWasMeasured) {
  for (uint64_t copy : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 40})
    for (uint64_t map : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 40}) {
      Calibration c = example();
      c.copy_ns = copy, c.map_ns = map;
      EXPECT_GE(reference_bytes_of(c), kLeastReference);
      EXPECT_LE(reference_bytes_of(c), kMostReference);
    }
}

TEST(Calibration, APageIsExchangedWhereTheCopyIsDearerThanTheExchangeAndTheRest) {
  Calibration c = example();
  EXPECT_NEAR(static_cast<double>(c.swap_bytes), ((2 << 20) + 12'000.0 / 60'000 * (1 << 20)) / 2, 4096);
  c.swap_ns = 120'000;  // as dear as to copy all of it
  EXPECT_EQ(swap_bytes_of(c), uint64_t{2} << 20);
  c.swap_ns = 130'000;
  EXPECT_EQ(swap_bytes_of(c), 0u);
  c.swap_ns = 0;  // not measured
  EXPECT_EQ(swap_bytes_of(c), 0u);
  c.swap_ns = uint64_t{1} << 40, c.copy_ns = 0;
  EXPECT_EQ(swap_bytes_of(c), 0u);
}

TEST(Calibration, WhatWasWrittenIsRead) {
  Calibration c;
  ASSERT_TRUE(from_text(to_text(example(), "boot-1\n"), "boot-1\n", c));
  EXPECT_EQ(c.copy_ns, 60'000u);
  EXPECT_EQ(c.wake_ns, 5'000u);
  EXPECT_EQ(c.reference_bytes, example().reference_bytes);
  EXPECT_EQ(c.swap_bytes, example().swap_bytes);
  EXPECT_TRUE(c.cached);
}

TEST(Calibration, OfAnotherBootOrNonsenseIsNotRead) {
  Calibration c;
  const std::string text = to_text(example(), "boot-1\n");
  EXPECT_FALSE(from_text(text, "boot-2\n", c));
  EXPECT_FALSE(from_text(text, "", c));
  EXPECT_FALSE(from_text("", "boot-1\n", c));
  EXPECT_FALSE(from_text("boot-1\n1 2 3", "boot-1\n", c));
  EXPECT_FALSE(from_text("boot-1\n1 2 3 4 5 6 99999999999 0\n", "boot-1\n", c));  // does not follow from the rest
  EXPECT_EQ(c.copy_ns, 0u);
}

TEST(Calibration, IsMeasuredOnceAndKept) {
  char name[] = "/tmp/ferry-calibration-XXXXXX";
  const std::string folder = mkdtemp(name), path = folder + "/calibration";
  const Calibration first = calibrate(path), second = calibrate(path);
  EXPECT_FALSE(first.cached);
  EXPECT_GT(first.copy_ns, 0u);
  EXPECT_GT(first.wake_ns, 0u);
  EXPECT_TRUE(second.cached);
  EXPECT_EQ(second.copy_ns, first.copy_ns);
  EXPECT_EQ(second.reference_bytes, first.reference_bytes);
  std::ofstream(path) << "nonsense";
  EXPECT_FALSE(calibrate(path).cached);
  EXPECT_TRUE(calibrate(path).cached);
  unlink(path.c_str());
  EXPECT_EQ(rmdir(folder.c_str()), 0);  // nothing else was left
  EXPECT_FALSE(calibrate(path).cached);  // nowhere to keep it
}

}  // namespace
}  // namespace ferry::server

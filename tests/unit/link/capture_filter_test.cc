#include "link/capture_filter.h"

#include <gtest/gtest.h>

#include "unit/link/frames.h"

namespace ferry::link {
namespace {
using namespace testing;

TEST(CaptureFilter, MatchesWhatTheExpressionSays) {
  const OneRegion memory(random_bytes(100, 1));
  const Path path{{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}};
  const Bytes frame = flatten(udp_packet(path, memory, {0, 100, 1}, Checksums::complete), memory);
  const auto matches = [&](const char* expression) {
    auto f = CaptureFilter::compile(expression);
    EXPECT_TRUE(f.ok()) << f.error();
    return f->matches(frame, static_cast<uint32_t>(frame.size()));
  };
  EXPECT_TRUE(matches(""));
  EXPECT_TRUE(matches("udp and dst port 5000 and host 10.77.0.2"));
  EXPECT_FALSE(matches("udp and dst port 5001"));
  EXPECT_FALSE(matches("tcp"));
  EXPECT_TRUE(matches("greater 140"));
  EXPECT_FALSE(matches("greater 143"));
}

TEST(CaptureFilter, SeesOnlyTheHeadItIsGiven) {
  const OneRegion memory(random_bytes(100, 1));
  const Path path{{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}};
  const Bytes frame = flatten(udp_packet(path, memory, {0, 100, 1}, Checksums::complete), memory);
  auto f = CaptureFilter::compile("udp");
  EXPECT_TRUE(f->matches(ByteSpan(frame).first(42), 142));
  EXPECT_FALSE(f->matches(ByteSpan(frame).first(20), 142));
}

TEST(CaptureFilter, RepeatsLibpcapsWordsForAWrongExpression) {
  auto f = CaptureFilter::compile("udp porf 53");
  ASSERT_FALSE(f.ok());
  EXPECT_NE(f.error().find("udp porf 53"), std::string::npos);
  EXPECT_NE(f.error().find("syntax error"), std::string::npos);
}

}  // namespace
}  // namespace ferry::link

#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

namespace ferry {
namespace {

TEST(Result, HoldsAValueOrACode) {
  Result<int> good = 7, bad = Errc::refused;
  EXPECT_TRUE(good);
  EXPECT_EQ(*good, 7);
  EXPECT_FALSE(bad);
  EXPECT_EQ(bad.error(), Errc::refused);
}

TEST(Result, MovesOwnershipAndDestroysOnce) {
  const auto counted = std::make_shared<int>(1);
  {
    Result<std::shared_ptr<int>> a = std::shared_ptr<int>(counted);
    EXPECT_EQ(counted.use_count(), 2);
    Result<std::shared_ptr<int>> b = std::move(a);
    EXPECT_EQ(**b, 1);
    b = Errc::again;
    EXPECT_EQ(b.error(), Errc::again);
  }
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(Result, AnyCodeHasAName) {
  std::set<std::string> names;
  for (int e = 0; e <= static_cast<int>(Errc::version_mismatch); ++e) {
    const std::string name = errc_name(static_cast<Errc>(e));
    EXPECT_NE(name, "unknown") << e;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
}

Status first_failure(Status a, Status b) {
  FERRY_TRY(std::move(a));
  FERRY_TRY(std::move(b));
  return {};
}

TEST(Result, TryReturnsTheFirstFailure) {
  EXPECT_TRUE(first_failure({}, {}));
  EXPECT_EQ(first_failure(Errc::invalid, Errc::again).error(), Errc::invalid);
  EXPECT_EQ(first_failure({}, Errc::again).error(), Errc::again);
}

TEST(ResultDeathTest, AccessToTheWrongSideAsserts) {
  Result<int> bad = Errc::refused;
  EXPECT_DEATH((void)*bad, "internal error");
}

}  // namespace
}  // namespace ferry

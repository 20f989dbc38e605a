// When large pieces are streamed: by what plain stores have cost. Nothing here is timed.
#include "client/store_choice.h"

#include <gtest/gtest.h>

namespace ferry::client {
namespace {

constexpr uint32_t kPiece = 32 * 1024;
constexpr uint64_t kNear = kPiece / 16, kFar = kPiece / 3;  // ticks

// How many of the next pieces are streamed, when plain ones take so long.
int streamed(StoreChoice& choice, int pieces, uint64_t ticks) {
  int count = 0;
  for (int i = 0; i < pieces; ++i) {
    if (choice.streams()) ++count;
    else choice.stored(ticks, kPiece);
  }
  return count;
}

TEST(StoreChoice, NearCachesAreNeverPassed) {
  StoreChoice choice;
  EXPECT_EQ(streamed(choice, 10'000, kNear), 0);
}

TEST(StoreChoice, FarOnesAreAfterAFewPiecesButForALookNowAndThen) {
  StoreChoice choice;
  EXPECT_EQ(streamed(choice, 8, kFar), 0);
  const int later = streamed(choice, 6400, kFar);
  EXPECT_GT(later, 5900);
  EXPECT_LT(later, 6100);
}

TEST(StoreChoice, AFewSlowOnesChangeNothing) {
  StoreChoice choice;
  for (int i = 0; i < 1000; ++i) {
    streamed(choice, 3, kNear);
    EXPECT_EQ(streamed(choice, 2, kFar), 0);  // another program had the processor
  }
}

TEST(StoreChoice, ItChangesItsMind) {
  StoreChoice choice;
  streamed(choice, 1000, kFar);
  EXPECT_LT(streamed(choice, 640, kNear), 400);
  EXPECT_EQ(streamed(choice, 1000, kNear), 0);
  streamed(choice, 100, kFar);
  EXPECT_GT(streamed(choice, 640, kFar), 500);
}

}  // namespace
}  // namespace ferry::client

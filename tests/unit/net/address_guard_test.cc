#include "net/address_guard.h"

#include <gtest/gtest.h>

namespace ferry::net {
namespace {

using Action = AddressGuard::Action;
using Verdict = AddressGuard::Verdict;

struct Guarded {
  AddressGuard guard;
  Rng rng{1};
  bool became_usable = false;
  Instant now = Instant::from_ns(1'000'000'000);
  // Moves to the deadline and says what is due there.
  Action step() {
    now = guard.deadline();
    return guard.next(now, rng, became_usable);
  }
};

TEST(AddressGuard, ProbesThreeTimesThenAnnouncesTwice) {
  Guarded g;
  g.guard.start(g.now, true);
  const Instant began = g.now;
  for (int i = 0; i < AddressGuard::kProbes; ++i) {
    EXPECT_FALSE(g.guard.usable());
    EXPECT_EQ(g.step(), Action::probe);
    EXPECT_FALSE(g.became_usable);
  }
  EXPECT_FALSE(g.guard.usable());
  EXPECT_EQ(g.step(), Action::announce);
  EXPECT_TRUE(g.became_usable);
  EXPECT_TRUE(g.guard.usable());
  EXPECT_GE(g.now - began, AddressGuard::kProbeMin * 2 + AddressGuard::kAnnounceWait);
  EXPECT_LE(g.now - began, AddressGuard::kProbeMax * 2 + AddressGuard::kAnnounceWait);
  EXPECT_EQ(g.step(), Action::announce);
  EXPECT_FALSE(g.became_usable);
  EXPECT_EQ(g.guard.state(), AddressGuard::State::defended);
  EXPECT_TRUE(g.guard.deadline().is_never());
}

TEST(AddressGuard, NothingIsDueBeforeTheDeadline) {
  Guarded g;
  g.guard.start(g.now, true);
  EXPECT_EQ(g.step(), Action::probe);
  EXPECT_EQ(g.guard.next(g.now, g.rng, g.became_usable), Action::none);
}

TEST(AddressGuard, WithoutProbingItIsUsableAtOnce) {
  Guarded g;
  EXPECT_FALSE(g.guard.usable());
  g.guard.start(g.now, false);
  EXPECT_TRUE(g.guard.usable());
  EXPECT_EQ(g.step(), Action::announce);
  EXPECT_FALSE(g.became_usable);
}

TEST(AddressGuard, AConflictWhileProbingLosesTheAddressForGood) {
  Guarded g;
  g.guard.start(g.now, true);
  g.step();
  EXPECT_EQ(g.guard.on_conflict(g.now), Verdict::lost);
  EXPECT_FALSE(g.guard.usable());
  EXPECT_TRUE(g.guard.deadline().is_never());
  EXPECT_EQ(g.guard.on_conflict(g.now), Verdict::none);
}

TEST(AddressGuard, LaterConflictsAreAnsweredOnceInTenSeconds) {
  Guarded g;
  g.guard.start(g.now, false);
  EXPECT_EQ(g.guard.on_conflict(g.now), Verdict::defend);
  EXPECT_EQ(g.guard.on_conflict(g.now + Duration::seconds(9)), Verdict::none);
  EXPECT_EQ(g.guard.on_conflict(g.now + Duration::seconds(10)), Verdict::defend);
  EXPECT_TRUE(g.guard.usable());
}

}  // namespace
}  // namespace ferry::net

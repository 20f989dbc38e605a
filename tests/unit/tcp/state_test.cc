#include "tcp/state.h"

#include <gtest/gtest.h>

#include <set>

namespace ferry::tcp {
namespace {

constexpr State kAll[] = {State::established, State::syn_sent,   State::syn_received, State::fin_wait_1,
                          State::fin_wait_2,  State::time_wait,  State::closed,       State::close_wait,
                          State::last_ack,    State::closing};

// Written out again from RFC 9293 figure 5, apart from the transitions to CLOSED that reset and abort allow everywhere.
TEST(State, TableIsThatOfTheRfc) {
  const std::set<std::pair<State, State>> legal{
      {State::closed, State::syn_sent},          {State::closed, State::syn_received},
      {State::syn_sent, State::syn_received},    {State::syn_sent, State::established},
      {State::syn_received, State::established}, {State::established, State::fin_wait_1},
      {State::established, State::close_wait},   {State::fin_wait_1, State::fin_wait_2},
      {State::fin_wait_1, State::closing},       {State::fin_wait_2, State::time_wait},
      {State::closing, State::time_wait},        {State::close_wait, State::last_ack}};
  for (State from : kAll) {
    for (State to : kAll) {
      bool wanted = legal.count({from, to}) != 0 || (to == State::closed && from != State::closed);
      EXPECT_EQ(legal_transition(from, to), wanted) << state_name(from) << " to " << state_name(to);
    }
  }
}

TEST(State, NumbersAreThoseOfTcpInfo) {
  EXPECT_EQ(static_cast<int>(State::established), 1);
  EXPECT_EQ(static_cast<int>(State::close_wait), 8);
  EXPECT_EQ(static_cast<int>(State::closing), 11);
}

TEST(State, EveryStateHasItsOwnName) {
  std::set<std::string> names;
  for (State s : kAll) names.insert(state_name(s));
  EXPECT_EQ(names.size(), std::size(kAll));
}

}  // namespace
}  // namespace ferry::tcp

// Every option of TCP can be set and read through the stack's numbers.
#include "stack/option_map.h"

#include <gtest/gtest.h>

namespace ferry::stack {
namespace {

TEST(OptionMap, WhatIsStoredIsRead) {
  const struct {
    Option option;
    int64_t value;
  } cases[] = {{Option::no_delay, 1},    {Option::cork, 1},          {Option::keep_alive, 1},      {Option::keep_idle, 10},
               {Option::keep_interval, 11}, {Option::keep_count, 12}, {Option::user_timeout, 13000}, {Option::max_segment, 1000},
               {Option::syn_count, 3},   {Option::congestion, 1},    {Option::linger2, 5},         {Option::window_clamp, 100000},
               {Option::not_sent_low_water, 4096}};
  for (const auto& c : cases) {
    tcp::UserOptions options;
    tcp::Option o;
    ASSERT_TRUE(to_tcp_option(c.option, o));
    ASSERT_TRUE(tcp::store_option(options, o, c.value).ok()) << int(c.option);
    auto value = read_tcp_option(options, c.option);
    ASSERT_TRUE(value.ok());
    EXPECT_EQ(*value, c.value) << int(c.option);
  }
}

TEST(OptionMap, OthersAreNotTcps) {
  tcp::Option o;
  for (Option option : {Option::linger, Option::reuse_address, Option::reuse_port, Option::broadcast, Option::tos, Option::ttl,
                        Option::defer_accept, Option::oob_inline, Option::dont_fragment, Option::receive_errors}) {
    EXPECT_FALSE(to_tcp_option(option, o));
    EXPECT_EQ(read_tcp_option({}, option).error(), Errc::no_protocol_option);
  }
}

}  // namespace
}  // namespace ferry::stack

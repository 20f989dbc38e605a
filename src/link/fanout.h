// Several packet sockets on one interface that divide what comes in among themselves (packet(7), PACKET_FANOUT): each TCP flow goes to the
// socket whose number is its share (wire/flow_share.h), everything else to the first.
#pragma once

#include <span>
#include <string>

namespace ferry::link {

// Joins bound AF_PACKET sockets of one interface; the first is number 0. Empty: done, else why not. They leave by being closed.
std::string join_fanout(std::span<const int> sockets);

}  // namespace ferry::link

// Connections that wait at a listener and that one of its clients may take without asking: each is at home in that client's channel
// already, with a descriptor pair of its stock, and stands in the listener's `rx` there (ipc/abi.h, offer_of).
//
//   waits in the stack --offer--> offered --client raises rx_consumed--> accepted
//          ^                         | its client dies, drops K, asks instead, or lets kOfferPatience pass while another client asks
//          +------- returned <-------+
//
// Only a client that has accepted by a request is offered anything, and no more once another had to take what it left lying.
//
// Clients that serve one connection at a time can all come to wait for silent peers; older connections must not lie with one of them meanwhile.
// They are known by not waiting at the listener while they ask, as a program with an event loop does: they are offered one, and only while they
// wait. And what they leave lying comes back in front of all that came later.
#pragma once

#include <vector>

#include "base/time.h"
#include "ipc/abi.h"
#include "server/fifo.h"
#include "stack/stack.h"

namespace ferry::server {

class Channel;

// How long others wait for a client to take what it is offered, before they are told.
inline constexpr Duration kOfferPatience = Duration::ms(2);

// A client and its slot of the listener, as long as it has the listener.
struct OfferTaker {
  Channel* channel = nullptr;
  uint32_t slot = 0;
  bool takes = true;                // is offered connections
  uint8_t away = 0;                 // how often it did not wait at the listener, too, as it asked; less again for when it did
  uint32_t produced = 0, seen = 0;  // offers made, and known to be taken or taken back (free-running)
  Instant since;                    // when the oldest that is left began to wait for this client
  stack::Owner children[ipc::abi::kRingEntries] = {};
  uint32_t left() const { return produced - seen; }
  bool serves_one() const { return away > 0; }
};

// A connection that came back.
struct Returned {
  stack::Owner owner = 0;
  uint64_t arrival = 0;  // its number among those that came
};

struct Offers {
  std::vector<OfferTaker> takers;
  Fifo<Returned> returned;      // oldest first
  uint64_t arrivals = 0;        // connections that have come from the stack
  uint32_t turn = 0;            // of takers
  uint32_t held = 0;            // as the stack was told
  bool overdue = false;         // something was left lying: everybody may ask
};

}  // namespace ferry::server

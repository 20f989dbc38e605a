// One end of a passage, as its client sees it: a connection to another client of the same ferryd whose bytes go through memory of the two
// (ipc/abi.h, PassageEnd). Made when this process first uses the socket after the server has opened the passage (Socket::join); kept until
// the socket is closed, because a thread may still be looking at it.
#pragma once

#include "client/channel.h"
#include "ipc/passage.h"

namespace ferry::client {

struct Passage {
  Passage(uint32_t epoch_, uint32_t number_, uint32_t passage_, uint32_t side_, ipc::PeerRegionView region_)
      : epoch(epoch_),
        number(number_),
        passage(passage_),
        side(side_),
        region(region_),
        mine(region.end(passage, side)),
        theirs(region.end(passage, 1 - side)),
        out(mine, theirs, region.ring(passage, side)),
        in(mine, theirs, region.ring(passage, 1 - side)) {}

  // Tells the other client that something has changed.
  void signal(Channel& channel) {
    ipc::signal_passage(theirs, passage, &region.queue(1 - side, 0), [&](uint32_t queue) { channel.peers().wake(number, queue); });
  }
  // Hints without the lock: bytes that can be read (an impossible number counts as something to read), and bytes in our ring that the
  // other has not read.
  uint64_t unread() const { return in.unread(); }
  uint64_t outstanding() const { return out.outstanding(); }

  const uint32_t epoch, number, passage, side;
  const ipc::PeerRegionView region;
  ipc::abi::PassageEnd& mine;
  ipc::abi::PassageEnd& theirs;
  ipc::PassageProducer out;  // under tx_lock
  ipc::PassageConsumer in;   // under rx_lock
  Passage* older = nullptr;
};

}  // namespace ferry::client

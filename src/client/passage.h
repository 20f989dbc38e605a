// One end of a passage, as its client sees it: a connection to another client of the same ferryd whose bytes go through memory of the two
// (ipc/abi.h, PassageEnd). Made when this process first uses the socket after the server has opened the passage (Socket::join); kept until
// the socket is closed, because a thread may still be looking at it.
#pragma once

#include "client/channel.h"
#include "client/peer_pages.h"
#include "client/store_choice.h"
#include "ipc/passage.h"

namespace ferry::client {

// Whether the program at this end is to be sent pages: as long as its receives can exchange them, and it does not write to what it has got. What
// goes wrong a few times is tried again after some receives, later and later.
class PageInvitation {
 public:
  // Before a receive that could exchange pages. Whether to invite now.
  bool consider() {
    if (pause_ > 0) --pause_;
    return pause_ == 0;
  }
  void on_page(bool good) {
    if (good) return void(failures_ = 0);
    if (++failures_ < kFailures) return;
    failures_ = 0;
    pause_ = next_pause_;
    if (next_pause_ < kLongestPause) next_pause_ *= 2;
  }

 private:
  static constexpr uint32_t kFailures = 4, kFirstPause = 64, kLongestPause = 1 << 16;
  uint32_t failures_ = 0, pause_ = 0, next_pause_ = kFirstPause;  // pauses: in receives
};

struct Passage {
  static constexpr uint32_t kChunk = 32 * 1024;  // bytes copied at a time: the reader works on one while the next is copied

  Passage(uint32_t epoch_, uint32_t number_, uint32_t passage_, uint32_t side_, ipc::PeerRegionView region_, PeerPages& pages_)
      : epoch(epoch_),
        number(number_),
        passage(passage_),
        side(side_),
        region(region_),
        mine(region.end(passage, side)),
        theirs(region.end(passage, 1 - side)),
        pages(pages_),
        out(mine, theirs, region.ring(passage, side)),
        in(mine, theirs, region.ring(passage, 1 - side)) {}

  // Tells the other client that something has changed.
  void signal(Channel& channel) {
    ipc::signal_passage(theirs, passage, &region.queue(1 - side, 0), [&](uint32_t queue) { channel.peers().wake(number, queue); });
  }
  // Hints without the lock: bytes that can be read (an impossible number counts as something to read), bytes that the other has not read, and
  // those of them in our ring.
  uint64_t unread() const { return in.unread(); }
  uint64_t outstanding() const { return out.outstanding(); }
  uint64_t in_ring() const { return out.in_ring(); }

  const uint32_t epoch, number, passage, side;
  const ipc::PeerRegionView region;
  ipc::abi::PassageEnd& mine;
  ipc::abi::PassageEnd& theirs;
  PeerPages& pages;
  ipc::PassageProducer out;  // under tx_lock
  ipc::PassageConsumer in;   // under rx_lock
  PageInvitation invitation; // likewise
  StoreChoice stores;        // under tx_lock
  Passage* older = nullptr;
};

}  // namespace ferry::client

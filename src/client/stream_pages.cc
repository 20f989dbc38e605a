// Receiving from a stream by exchanging pages (input_window.h): where the bytes of a descriptor are, what is held instead of copied, and
// when memory is lent.
#include <sys/socket.h>

#include <algorithm>

#include "base/atomics.h"
#include "client/receiving.h"
#include "ipc/descriptor_ring.h"

namespace ferry::client {

namespace abi = ipc::abi;

namespace {

// Least bytes of a page that are worth an exchange in this receive; 0: everything is copied.
size_t least_of(const Home& h, size_t wanted, int flags) {
  const size_t least = h.channel->server().swap_bytes;
  return (flags & (MSG_PEEK | MSG_TRUNC)) == 0 && wanted >= least ? least : 0;
}

void add(uint64_t& ours, uint64_t& shared, uint64_t n) {
  if (n != 0) store_relaxed(shared, atomic_add(ours, n) + n);
}

}  // namespace

// Before the ring is looked at: gets pages ready for a receive that will want some. May take a control call and some milliseconds, once.
void Socket::stock_input(int k, Receiving& r) {
  if (r.to.left() == 0 || kernel_mode_ || (r.flags & (MSG_PEEK | MSG_TRUNC)) != 0) return;
  const auto piece = r.to.piece();
  Home* h = nullptr;
  r.in_region = regions::contains(piece.data());
  if (!r.in_region || home(k, h) != 0 || load_relaxed(h->shared->mode) == abi::kModePassing) return;
  const size_t least = h->channel->server().swap_bytes;
  if (least == 0 || piece.size() < least || !(r.patient || h->input.is_eager())) return;
  regions::announce(*h->channel, h->engine, piece.data());
  regions::stock_input(piece.data(), std::min(InputWindow::kPages, piece.size() / InputWindow::kPage + 1));
}

// The bytes of a (copied) input descriptor from `used` on, which are at `position` of the stream; `n` becomes how many are in a row. nullptr:
// it makes no sense.
const std::byte* Socket::input_bytes(Home& h, const abi::Descriptor& d, uint32_t used, uint64_t position, uint32_t& n) {
  if (used > d.length) return nullptr;
  n = d.length - used;
  if (d.region != 0) return h.input.find(d, used, position, n);
  return ipc::is_inside(d, h.channel->map().layout().input) ? h.channel->map().bytes(d.offset + used, n).data() : nullptr;
}

// Copies the next bytes to the program, or leaves them in lent memory. Returns how many; 0: there is nothing to copy them to. Under rx_lock.
uint32_t Socket::take_piece(Home& h, Receiving& r, const std::byte* from, uint32_t n, uint64_t position) {
  if (const size_t least = least_of(h, r.wanted, r.flags); least != 0 && !h.input.empty()) {
    for (bool settled = false;; settled = true) {
      bool copied = false;
      const uint32_t held = r.held.add(h.input, from, n, position, r.to.piece(), least, r.patient, copied);
      if (held > 0) {
        r.holder = &h;
        r.to.skip(held);
        if (copied) add(h.copied_in, h.shared->copied_in, held);
        return held;
      }
      if (settled || r.held.length() == 0) break;
      if (!settle(h, r)) return 0;
    }
  }
  if (!settle(h, r) || r.to.copy_in(from, n) < n) return 0;
  if ((r.flags & MSG_PEEK) == 0) {
    store_relaxed(h.copied_in, h.copied_in + n);
    store_relaxed(h.shared->copied_in, h.copied_in);
  }
  return n;
}

// Brings what is held to the program. False: its memory is not there. `h`: where it was taken.
bool Socket::settle(Home& h, Receiving& r) {
  if (r.held.length() == 0) return true;
  const HeldInput::Settled done = r.held.settle(std::max<size_t>(h.channel->server().swap_bytes, 1));
  r.missing += done.missing;
  r.missed += done.copied;
  add(h.copied_in, h.shared->copied_in, done.copied);
  count_swapped(h, done.swapped, done.pages);
  return done.missing == 0;
}

// What was read goes back to its region; for what is to come memory is lent, if this receive, or the next, can do with it. `more`: the stream
// goes on in the ring. Under rx_lock.
void Socket::lend_input(Home& h, Receiving& r, bool more) {
  const size_t least = h.channel->server().swap_bytes;
  if (!h.input.empty()) h.input.pass(*h.shared, h.rx_bytes);
  if (least == 0 || r.to.left() == 0 || (r.flags & MSG_PEEK) != 0) return;
  const auto piece = r.to.piece();
  const bool can = more && least_of(h, r.wanted, r.flags) != 0 && piece.size() >= least && regions::contains(piece.data());
  if (can && (r.patient || h.input.is_eager())) h.input.lend(*h.channel, h.engine, *h.shared, h.rx_bytes, piece, least);
  else if (!h.input.empty()) h.input.withdraw(*h.shared);
}

}  // namespace ferry::client

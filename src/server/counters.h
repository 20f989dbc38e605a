// What ferryd counts about itself, apart from the stack's and the links' counters. `ferry stat` shows all of it, and tests assert
// on the copies: each scheme says how many payload bytes the server copied, and where.
#pragma once

#include <cstdint>

namespace ferry::server {

struct Counters {
  // Payload bytes copied by the server.
  uint64_t copied_in_shared = 0;      // from a frame into the input pool of a client (the one copy of the shared scheme)
  uint64_t received_in_place = 0;     // received by the link into memory of a client: not copied by the server
  uint64_t placed_in_pages = 0;       // of both: put into pages that the client has lent, at its program's alignment
  uint64_t swapped_in = 0, swapped_pages = 0;  // bytes in pages that clients exchanged instead of copying, as they say; of sockets that have gone
  uint64_t copied_in_staged = 0;      // from a frame into the server's staging memory
  uint64_t copied_in_again = 0;       // staged or moved payload, once more into a client's input pool
  uint64_t copied_out_staged = 0;     // pieces of one datagram put together
  uint64_t kernel_mode_in = 0;        // tier 2: bytes written to descriptors K
  uint64_t kernel_mode_out = 0;       // tier 2: bytes read from descriptors K
  // Payload bytes forwarded by reference; of these, referred to in a region of the client (no copy there either).
  uint64_t forwarded_out = 0, referenced_out = 0;

  uint64_t joined_frames = 0, joined_segments = 0;  // frames that the server joined, and into how many super-segments

  uint64_t turns = 0, idle_turns = 0, sleeps = 0;
  uint64_t futex_wakes = 0, pipe_wakes = 0, kicks = 0;
  uint64_t clients = 0, clients_total = 0, clients_refused = 0;
  uint64_t protocol_violations = 0;   // clients thrown out for what they wrote
  uint64_t control_requests = 0, control_replies_lost = 0;
  uint64_t sockets = 0, sockets_total = 0, accepted = 0, offered = 0, offers_taken_back = 0;
  uint64_t pairs_made = 0, pairs_given_back = 0;  // descriptor pairs; given back: used again by a later socket
  uint64_t demotions = 0, moves = 0, forced_moves = 0;
  // Connections between two clients that passed bytes without us (peers.h), those that found no quiet moment for it, and the bytes.
  uint64_t passages_entered = 0, passages_left = 0, passages_given_up = 0, passages_broken = 0, passed_bytes = 0;
  uint64_t drop_input_pool_full = 0, drop_staging_full = 0, drop_receive_buffer_full = 0, drop_kernel_mode_full = 0;
  uint64_t drop_frames_passing = 0;  // for another engine, which had too many on their way to it
  uint64_t capture_packets = 0, capture_dropped = 0;
};

// Calls visit(name, value) for each counter; names are stable.
template <typename Visit>
void for_each_counter(const Counters& c, Visit visit) {
#define FERRY_COUNTER(name) visit(#name, c.name)
  FERRY_COUNTER(copied_in_shared);
  FERRY_COUNTER(received_in_place);
  FERRY_COUNTER(placed_in_pages);
  FERRY_COUNTER(copied_in_staged);
  FERRY_COUNTER(copied_in_again);
  FERRY_COUNTER(copied_out_staged);
  FERRY_COUNTER(kernel_mode_in);
  FERRY_COUNTER(kernel_mode_out);
  FERRY_COUNTER(forwarded_out);
  FERRY_COUNTER(referenced_out);
  FERRY_COUNTER(joined_frames);
  FERRY_COUNTER(joined_segments);
  FERRY_COUNTER(turns);
  FERRY_COUNTER(idle_turns);
  FERRY_COUNTER(sleeps);
  FERRY_COUNTER(futex_wakes);
  FERRY_COUNTER(pipe_wakes);
  FERRY_COUNTER(kicks);
  FERRY_COUNTER(clients);
  FERRY_COUNTER(clients_total);
  FERRY_COUNTER(clients_refused);
  FERRY_COUNTER(protocol_violations);
  FERRY_COUNTER(control_requests);
  FERRY_COUNTER(control_replies_lost);
  FERRY_COUNTER(sockets);
  FERRY_COUNTER(sockets_total);
  FERRY_COUNTER(accepted);
  FERRY_COUNTER(offered);
  FERRY_COUNTER(offers_taken_back);
  FERRY_COUNTER(pairs_made);
  FERRY_COUNTER(pairs_given_back);
  FERRY_COUNTER(demotions);
  FERRY_COUNTER(moves);
  FERRY_COUNTER(forced_moves);
  FERRY_COUNTER(passages_entered);
  FERRY_COUNTER(passages_left);
  FERRY_COUNTER(passages_given_up);
  FERRY_COUNTER(passages_broken);
  FERRY_COUNTER(passed_bytes);
  FERRY_COUNTER(drop_input_pool_full);
  FERRY_COUNTER(drop_staging_full);
  FERRY_COUNTER(drop_receive_buffer_full);
  FERRY_COUNTER(drop_kernel_mode_full);
  FERRY_COUNTER(drop_frames_passing);
  FERRY_COUNTER(capture_packets);
  FERRY_COUNTER(capture_dropped);
#undef FERRY_COUNTER
}

}  // namespace ferry::server

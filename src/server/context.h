// What every socket and client of one engine shares. One engine, one thread: nothing here is locked.
#pragma once

#include <vector>

#include "base/list.h"
#include "base/time.h"
#include "server/counters.h"
#include "server/holder.h"
#include "server/memory.h"
#include "server/poller.h"
#include "server/protocols.h"

namespace ferry::server {

class Socket;
class Peers;
class Sockets;
class Channel;
class Client;
class Engines;
struct RunTag;
struct MoveTag;
struct StarvedTag;
struct OfferTag;
struct HotTag;

// Bounds on what one client may take (docs/ferryd.md, "Quotas").
struct Limits {
  uint32_t clients = 1024;             // control connections
  uint32_t clients_per_uid = 512;
  uint32_t sockets = 4096;             // slots of one client's channel
  uint64_t output_bytes = 64u << 20;   // pools of one channel
  uint64_t input_bytes = 64u << 20;
  uint64_t region_bytes = 1u << 30;    // size of one of a client's regions; it has abi::kMaxRegions at most
  uint32_t sockets_per_uid = 32768;    // of all processes of one user, sockets whose process is gone included
  uint32_t stock_per_uid = 8192;       // descriptor pairs in the stocks of all processes of one user
  uint32_t requests_per_turn = 16;     // control requests of one client before others have their turn
  uint64_t staging_bytes = 256u << 20; // the server's own memory for payload without a client
  uint32_t staged_per_socket = 512u << 10;
  uint64_t staged_per_uid = 64u << 20;
  uint32_t pass_after = 12;            // runs of a socket before it gets a passage: one that is over after a request is better off without
  bool isolate_clients = false;        // they do not map each other's memory, also those of one user
  uint32_t references_per_uid = 4096;  // of passages that were left, not read yet: each takes one of 65,535 numbers that all have together
  uint32_t peers = 8;                  // clients with which one may share memory for passages; 0: nobody does
};

// What one user has, over all processes; kept as long as there is a socket of theirs, or waits at one.
struct Account {
  uint32_t sockets = 0;
  uint32_t pairs = 0;   // with a number in a stock
  uint32_t pending = 0; // connections that wait at a listener of theirs, and are on the account for their staging memory only
  uint64_t staged = 0;  // bytes of staging memory
};

struct Context {
  Context(Protocols& p, Memory& m, Poller& w, Holder& h, Counters& c, const Limits& l, uint32_t number = 0, Engines* all = nullptr)
      : protocols(p), memory(m), poller(w), holder(h), counters(c), limits(l), engine(number), engines(all) {}

  Protocols& protocols;
  Memory& memory;
  Poller& poller;
  Holder& holder;
  Counters& counters;
  Limits limits;
  const uint32_t engine;           // which one this is
  Engines* const engines;          // nullptr: it is the only one
  Sockets* sockets = nullptr;
  Instant now;                     // of this turn (CLOCK_MONOTONIC)
  int64_t realtime_offset_ns = 0;  // CLOCK_REALTIME - CLOCK_MONOTONIC, lately
  List<Socket, RunTag> run;        // sockets with something to do before the turn ends
  List<Socket, RunTag> run_next;   // and in the next turn
  List<Socket, MoveTag> moving;    // sockets that wait for a lock to be released
  List<Socket, OfferTag> offering;  // listeners whose offers others are to be told of at a time
  List<Socket, StarvedTag> starved;  // sockets that wait for input memory of their channel
  List<Channel, HotTag> hot;       // channels whose doorbells the engine looks at in every turn; the others must kick
  std::vector<Channel*> reclaimed; // channels whose input memory was reclaimed in this turn
  std::vector<Client*> gone;       // clients to be destroyed at the end of the turn
  std::vector<Channel*> condemned; // channels whose clients broke the protocol
  std::vector<uint32_t> interface_numbers;  // by link of the stack: what the kernel calls the interface, 0 nothing
  Peers* peers = nullptr;
  uint32_t last_event_time = 0;

  // For abi::SocketShared::event_time. A turn's events come one after the other; an engine has less than one in a microsecond.
  uint32_t next_event_time() {
    const auto us = static_cast<uint32_t>(now.us());
    last_event_time = static_cast<int32_t>(us - last_event_time) > 0 ? us : last_event_time + 1;
    return last_event_time;
  }
};

}  // namespace ferry::server

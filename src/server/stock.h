// The stock of one channel: descriptor pairs whose K the client keeps for the sockets it is going to open or accept.
//
//   make() --> idle --offer()--> spare: a socket that is open already, in a slot; the client learns of it by the SpareRing (ipc/abi.h)
//               ^  \--take()---> a connection that is accepted
//               |                      |
//               +----- give_back() ----+   the client has closed its socket, and K had no other copy
//
// Owns: the idle pairs, the numbers by which both sides name pairs. Does not own: pairs that a socket has.
// Trust: that K has no other copy is the client's word. A lie reaches whom that client has given K, and nobody else: they lose a
// connection that the client could have shut down, and may see one that is the client's own.
// Bounded: abi::kMaxPairs numbers per channel, Limits::stock_per_uid pairs of all channels of a user.
#pragma once

#include <memory>
#include <vector>

#include "ipc/abi.h"
#include "server/pair.h"

namespace ferry::server {

class Channel;
class Socket;

class Stock {
 public:
  Stock(Context& context, Channel& channel) : ctx_(context), channel_(channel) {}
  ~Stock() { retire(); }
  Stock(const Stock&) = delete;
  Stock& operator=(const Stock&) = delete;

  // Makes a pair with a number, idle; K is for the client. False: no number, no descriptors, or the user has too many.
  bool make(bool stream, UniqueFd& k, uint32_t& number);
  // An idle pair whose K the client has; nullptr: there is none.
  std::unique_ptr<Pair> take(bool stream);
  // Whether there is one, as far as is known.
  bool has(bool stream) const { return !kinds_[stream ? 0 : 1].idle.empty(); }
  // The pair of a socket that its client has closed.
  void give_back(std::unique_ptr<Pair> pair);
  // The client opens sockets of this kind, and has no spare one: keeps more of them ready from now on.
  void want_spares(bool stream);
  // One of the spare sockets has come to use, or has ended.
  void on_used(bool stream);

  // --- called by pairs ---
  void forget(const Pair& pair);
  void on_idle_event(Pair& pair, uint32_t events);
  // The client is gone: idle pairs go, and those in use are numbered no more.
  void retire();

 private:
  struct Kind {
    std::vector<std::unique_ptr<Pair>> idle;
    uint32_t target = 0;    // spare sockets to keep ready
    uint32_t unused = 0;    // spare sockets that the client has not used, as far as is known
    uint32_t produced = 0;  // of the SpareRing
  };
  Kind& kind(bool stream) { return kinds_[stream ? 0 : 1]; }
  void offer(bool stream);
  bool offer_one(Kind& kind, bool stream);
  uid_t uid() const;  // on whose account everything is

  Context& ctx_;
  Channel& channel_;
  Kind kinds_[2];           // as ChannelHeader::spares
  std::vector<Pair*> by_number_;
  std::vector<uint32_t> free_numbers_;
};

}  // namespace ferry::server

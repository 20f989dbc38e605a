// The table of sockets: Owner numbers, identities of K, children that wait to be accepted. Owns every Socket.
#pragma once

#include <sys/types.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "server/socket.h"

namespace ferry::server {

class Sockets {
 public:
  explicit Sockets(Context& context) : ctx_(context) { context.sockets = this; }
  ~Sockets();

  // A new socket without a stack id. Never fails but for memory.
  Socket& create(stack::SocketType type);
  // Puts the socket on the account of a user, once; it is on its listener's no more. False: the user has too many.
  bool charge(Socket& socket, uid_t uid);
  // Whether charge() would.
  bool has_room(uid_t uid) const;
  // A connection waits to be accepted: what it stages is on the account of the listener's user.
  void charge_pending(Socket& socket, const Socket& listener);
  // Takes it off that account again, if it is on one.
  void discharge(Socket& socket);
  // The same for a pair of a stock.
  bool charge_pair(uid_t uid);
  void discharge_pair(uid_t uid);
  // nullptr: no such socket (any more).
  Socket* find(stack::Owner owner);
  // By SO_COOKIE of K.
  Socket* find_by_cookie(uint64_t cookie);
  void set_cookie(Socket& socket, uint64_t cookie);
  void forget_cookie(uint64_t cookie) { cookies_.erase(cookie); }
  // The child with this id among those that wait to be accepted, and it waits no more; nullptr if it is gone.
  Socket* take_child(stack::SocketId id);
  void add_child(Socket& socket, stack::SocketId id) { children_[id] = socket.owner(); }
  // The socket is done with; destroyed by reap(), between turns.
  void finish(Socket& socket);
  void reap();
  size_t size() const { return used_; }

  // Those that a visit makes are visited, too.
  template <typename Visit>
  void for_each(Visit visit) {
    for (size_t i = 0; i < entries_.size(); ++i)
      if (entries_[i].socket) visit(*entries_[i].socket);
  }

 private:
  void close_account_if_empty(std::unordered_map<uid_t, Account>::iterator it);
  struct Entry {
    std::unique_ptr<Socket> socket;
    uint32_t generation = 1;
  };
  Context& ctx_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> free_;
  std::vector<stack::Owner> finished_;
  std::unordered_map<uint64_t, stack::Owner> cookies_;
  std::unordered_map<stack::SocketId, stack::Owner> children_;
  std::unordered_map<uid_t, Account> accounts_;
  size_t used_ = 0;
};

}  // namespace ferry::server

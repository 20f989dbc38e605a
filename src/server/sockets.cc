// An Owner is index + 1 (low 32 bits) and generation (high 32 bits); 0 is nobody.
#include "server/sockets.h"

namespace ferry::server {

Sockets::~Sockets() = default;

Socket& Sockets::create(stack::SocketType type) {
  uint32_t index;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else {
    index = static_cast<uint32_t>(entries_.size());
    entries_.emplace_back();
  }
  Entry& e = entries_[index];
  e.socket = std::make_unique<Socket>(ctx_, uint64_t{e.generation} << 32 | (index + 1), type);
  ++used_;
  ctx_.counters.sockets = used_;
  ++ctx_.counters.sockets_total;
  return *e.socket;
}

bool Sockets::charge(Socket& socket, uid_t uid) {
  if (!has_room(uid)) return false;
  Account& account = accounts_[uid];
  ++account.sockets;
  discharge(socket);
  socket.set_account(account, uid);
  return true;
}

bool Sockets::has_room(uid_t uid) const {
  auto it = accounts_.find(uid);
  return (it == accounts_.end() ? 0 : it->second.sockets) < ctx_.limits.sockets_per_uid;
}

void Sockets::charge_pending(Socket& socket, const Socket& listener) {
  if (listener.account() == nullptr || socket.account() != nullptr) return;
  ++listener.account()->pending;
  socket.set_account(*listener.account(), listener.uid(), true);
}

void Sockets::discharge(Socket& socket) {
  if (socket.account() == nullptr) return;
  auto it = accounts_.find(socket.uid());
  --(socket.is_charged_as_pending() ? it->second.pending : it->second.sockets);
  socket.leave_account();
  close_account_if_empty(it);
}

bool Sockets::charge_pair(uid_t uid) {
  Account& account = accounts_[uid];
  if (account.pairs >= ctx_.limits.stock_per_uid) return false;
  ++account.pairs;
  return true;
}

void Sockets::discharge_pair(uid_t uid) {
  auto it = accounts_.find(uid);
  if (it == accounts_.end()) return;
  --it->second.pairs;
  close_account_if_empty(it);
}

void Sockets::close_account_if_empty(std::unordered_map<uid_t, Account>::iterator it) {
  if (it->second.sockets == 0 && it->second.pairs == 0 && it->second.pending == 0) accounts_.erase(it);
}

Socket* Sockets::find(stack::Owner owner) {
  uint32_t index = static_cast<uint32_t>(owner) - 1;
  if (index >= entries_.size() || entries_[index].generation != owner >> 32) return nullptr;
  return entries_[index].socket.get();
}

Socket* Sockets::find_by_cookie(uint64_t cookie) {
  auto it = cookies_.find(cookie);
  return it == cookies_.end() ? nullptr : find(it->second);
}

void Sockets::set_cookie(Socket& socket, uint64_t cookie) { cookies_[cookie] = socket.owner(); }

Socket* Sockets::take_child(stack::SocketId id) {
  auto it = children_.find(id);
  if (it == children_.end()) return nullptr;
  Socket* s = find(it->second);
  children_.erase(it);
  return s;
}

void Sockets::finish(Socket& socket) {
  children_.erase(socket.id());
  finished_.push_back(socket.owner());
}

void Sockets::reap() {
  for (stack::Owner owner : finished_) {
    uint32_t index = static_cast<uint32_t>(owner) - 1;
    Entry& e = entries_[index];
    discharge(*e.socket);
    e.socket.reset();
    ++e.generation;
    free_.push_back(index);
    --used_;
  }
  ctx_.counters.sockets = used_;
  finished_.clear();
}

}  // namespace ferry::server

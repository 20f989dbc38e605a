#include "server/stock.h"

#include <algorithm>

#include "server/sockets.h"

namespace ferry::server {
namespace abi = ipc::abi;
namespace {
constexpr uint32_t kFirstSpares = 2;
constexpr uint32_t kMostSpares = 64;
}  // namespace

uid_t Stock::uid() const { return channel_.identity().uid; }

bool Stock::make(bool stream, UniqueFd& k, uint32_t& number) {
  if (free_numbers_.empty() && by_number_.size() == abi::kMaxPairs) return false;
  if (!ctx_.sockets->charge_pair(uid())) return false;
  auto pair = Pair::make(ctx_, stream, k);
  if (!pair) {
    ctx_.sockets->discharge_pair(uid());
    return false;
  }
  if (free_numbers_.empty()) {
    number = static_cast<uint32_t>(by_number_.size());
    by_number_.push_back(pair.get());
  } else {
    number = free_numbers_.back();
    free_numbers_.pop_back();
    by_number_[number] = pair.get();
  }
  pair->enroll(this, number);
  kind(stream).idle.push_back(std::move(pair));
  return true;
}

std::unique_ptr<Pair> Stock::take(bool stream) {
  auto& idle = kind(stream).idle;
  while (!idle.empty()) {
    std::unique_ptr<Pair> pair = std::move(idle.back());
    idle.pop_back();
    if (!pair->hung_up()) return pair;
  }
  return nullptr;
}

void Stock::give_back(std::unique_ptr<Pair> pair) {
  const bool stream = pair->is_stream();
  pair->set_user(nullptr);
  kind(stream).idle.push_back(std::move(pair));
  ++ctx_.counters.pairs_given_back;
  offer(stream);
}

void Stock::want_spares(bool stream) {
  Kind& k = kind(stream);
  k.target = std::clamp(k.target * 2, kFirstSpares, kMostSpares);
  k.unused = 0;
  offer(stream);
}

void Stock::on_used(bool stream) {
  Kind& k = kind(stream);
  if (k.unused > 0) --k.unused;
  offer(stream);
}

void Stock::offer(bool stream) {
  Kind& k = kind(stream);
  while (k.unused < k.target && !k.idle.empty() && offer_one(k, stream)) ++k.unused;
}

// Makes a spare socket of an idle pair. False: the client can have no more sockets.
bool Stock::offer_one(Kind& k, bool stream) {
  if (!channel_.client_alive() || channel_.socket_count() >= ctx_.limits.sockets) return false;
  Socket& socket = ctx_.sockets->create(stream ? stack::SocketType::tcp : stack::SocketType::udp);
  if (!ctx_.sockets->charge(socket, uid())) return socket.abandon(), false;
  const uint32_t number = k.idle.back()->number();
  socket.set_pair(std::move(k.idle.back()));
  k.idle.pop_back();
  const uint32_t slot = socket.attach(channel_);
  if (slot == Channel::kNoSlot) return socket.abandon(), false;
  socket.set_spare();
  abi::SpareRing& ring = channel_.spares(stream ? 0 : 1);
  ring.entries[k.produced % abi::kMaxPairs] = {slot, channel_.generation(slot), number, 0};
  store_release(ring.produced, ++k.produced);
  return true;
}

void Stock::forget(const Pair& pair) {
  by_number_[pair.number()] = nullptr;
  free_numbers_.push_back(pair.number());
  ctx_.sockets->discharge_pair(uid());
}

void Stock::on_idle_event(Pair& pair, uint32_t events) {
  if ((events & EPOLLHUP) == 0) return;
  auto& idle = kind(pair.is_stream()).idle;
  std::erase_if(idle, [&pair](const std::unique_ptr<Pair>& p) { return p.get() == &pair; });
}

void Stock::retire() {
  for (Kind& k : kinds_) k.idle.clear();
  for (Pair* pair : by_number_) {
    if (pair == nullptr) continue;
    pair->enroll(nullptr, Pair::kNoNumber);
    ctx_.sockets->discharge_pair(uid());
  }
  by_number_.clear();
  free_numbers_.clear();
}

}  // namespace ferry::server

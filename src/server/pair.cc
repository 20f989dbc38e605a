#include "server/pair.h"

#include <poll.h>

#include "server/stock.h"

namespace ferry::server {

std::unique_ptr<Pair> Pair::make(Context& context, bool stream, UniqueFd& k) {
  SocketPair ends = context.holder.make_pair(stream);
  if (!ends.server) return nullptr;
  std::unique_ptr<Pair> pair(new Pair(context, stream, std::move(ends.server), ends.cookie));
  if (!context.poller.add(pair->fd(), *pair, EPOLLIN | EPOLLRDHUP | EPOLLET)) return nullptr;
  k = std::move(ends.client);
  ++context.counters.pairs_made;
  return pair;
}

Pair::~Pair() {
  if (stock_ != nullptr) stock_->forget(*this);
  ctx_.poller.remove(s_.get(), *this);
}

void Pair::on_poll(uint32_t events) {
  if (user_ != nullptr) return user_->on_poll(events);
  if (stock_ != nullptr) stock_->on_idle_event(*this, events);
}

bool Pair::hung_up() const {
  pollfd p{s_.get(), 0, 0};
  return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
}

}  // namespace ferry::server

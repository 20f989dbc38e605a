// The server's end S of a socket's descriptor pair, watched by the poller for as long as it exists.
//
// A pair outlives the socket it was made for when the client gives the only copy of K back (stock.h): the next socket takes it over,
// and neither the kernel's objects nor their place in the poller are made again.
#pragma once

#include <cstdint>
#include <memory>

#include "server/context.h"

namespace ferry::server {

class Stock;

class Pair final : public PollHandler {
 public:
  static constexpr uint32_t kNoNumber = UINT32_MAX;

  // stream: SOCK_STREAM (TCP), else SOCK_SEQPACKET. `k` is for the client. nullptr: no descriptors left.
  static std::unique_ptr<Pair> make(Context& context, bool stream, UniqueFd& k);
  ~Pair();
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  int fd() const { return s_.get(); }
  bool is_stream() const { return stream_; }
  // SO_COOKIE of K.
  uint64_t cookie() const { return cookie_; }
  // Who hears of S: the socket that has the pair, or nobody while it is idle.
  void set_user(PollHandler* user) { user_ = user; }
  void watch(uint32_t events) { ctx_.poller.modify(s_.get(), *this, events); }
  // May destroy this pair.
  void on_poll(uint32_t events) override;
  // Whether the last copy of K is gone.
  bool hung_up() const;

  // The stock it has a number in; nullptr: none (any more), and it cannot be given back.
  Stock* stock() const { return stock_; }
  uint32_t number() const { return number_; }
  void enroll(Stock* stock, uint32_t number) { stock_ = stock, number_ = number; }

 private:
  Pair(Context& context, bool stream, UniqueFd s, uint64_t cookie)
      : ctx_(context), s_(std::move(s)), cookie_(cookie), stream_(stream) {}

  Context& ctx_;
  UniqueFd s_;
  uint64_t cookie_;
  PollHandler* user_ = nullptr;
  Stock* stock_ = nullptr;
  uint32_t number_ = kNoNumber;
  bool stream_;
};

}  // namespace ferry::server

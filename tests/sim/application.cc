// The programs' behaviour; see application.h.
#include "application.h"

#include "tcp/connection.h"

namespace ferry::sim {
namespace {
bool has(uint32_t events, tcp::Event e) { return (events & static_cast<uint32_t>(e)) != 0; }
}  // namespace

void Application::complain(const std::string& text) {
  if (complaint_.empty()) complaint_ = text + " (" + state() + ")";
}

std::string Application::state() const {
  return "owner " + std::to_string(owner_) + ": sent " + std::to_string(sent_) + "/" + std::to_string(plan_.send_bytes) +
         ", received " + std::to_string(received_) + "/" + std::to_string(plan_.peer_bytes) +
         (connected_ ? ", connected" : "") + (shut_ ? ", shut" : "") + (peer_closed_ ? ", peer closed" : "") +
         (failed_ ? ", failed" : "") + (left_ ? ", left" : "") + (closed_ ? ", over" : "") + ", unread " +
         std::to_string(host_.unread(owner_)) + ", outstanding " + std::to_string(host_.outstanding(owner_));
}

void Application::wake_soon(Instant now) {
  const Instant at = now + Duration::us(rng_.below(rng_.below(8) == 0 ? 50'000 : 200));
  if (at < wake_) wake_ = at;
}

void Application::on_events(uint32_t events, const stack::Stack& stack, Instant now) {
  if (closed_) complain("an event after `closed`");
  if (has(events, tcp::Event::established)) connected_ = true;
  if (has(events, tcp::Event::peer_closed)) peer_closed_ = true;
  if (has(events, tcp::Event::failed)) {
    failed_ = true;
    if (!plan_.fragile) {
      auto info = stack.socket_info(id_, now);
      complain(std::string("the connection failed: ") + errc_name(info ? info->error : Errc::bad_socket));
    }
  }
  if (has(events, tcp::Event::closed)) closed_ = true;
  wake_soon(now);
}

bool Application::send_some(stack::Stack& stack, Instant now) {
  if (!connected_ || shut_ || failed_ || sent_ == plan_.send_bytes) return false;
  const uint32_t space = stack.send_space(id_);
  uint32_t n = 1 + rng_.below(plan_.max_piece);
  if (n > plan_.send_bytes - sent_) n = plan_.send_bytes - sent_;
  if (n > space) n = space;
  if (n == 0) return false;
  std::vector<std::byte> bytes(n);
  for (uint32_t i = 0; i < n; ++i) bytes[i] = pattern_byte(plan_.pattern, sent_ + i);
  stack::Call call;
  call.op = stack::CallOp::send;
  call.socket = id_;
  call.data = host_.provide(owner_, bytes);
  if (rng_.below(8) == 0) call.flags |= stack::kSendMore;
  if (plan_.urgent && rng_.below(16) == 0) call.flags |= stack::kSendUrgent;
  const Errc e = stack.call(now, call).error;
  if (e != Errc::ok) {
    host_.withdraw(owner_);
    if (!plan_.fragile && e != Errc::again) complain(std::string("send: ") + errc_name(e));
    return false;
  }
  sent_ += n;
  return true;
}

bool Application::read_some(stack::Stack& stack, Instant now) {
  const std::vector<std::byte> bytes = host_.take(owner_, 1 + rng_.below(plan_.max_piece));
  if (bytes.empty()) return false;
  for (std::byte b : bytes)
    if (b != pattern_byte(plan_.peer_pattern, received_++)) complain("wrong byte at " + std::to_string(received_ - 1));
  if (received_ > plan_.peer_bytes) complain("more than was sent");
  stack::Call call;
  call.op = stack::CallOp::consumed;
  call.socket = id_;
  call.number = static_cast<int64_t>(bytes.size());
  if (const Errc e = stack.call(now, call).error; e != Errc::ok) complain(std::string("consumed: ") + errc_name(e));
  return true;
}

void Application::leave(stack::Stack& stack, Instant now, stack::CallOp how) {
  left_ = true;
  stack::Call call;
  call.op = how;
  call.socket = id_;
  if (const Errc e = stack.call(now, call).error; e != Errc::ok) complain(std::string("close: ") + errc_name(e));
}

void Application::step(stack::Stack& stack, Instant now) {
  wake_ = Instant::never();
  if (left_) return;
  bool busy = false;
  for (uint32_t i = rng_.below(4) + 1; i > 0; --i) busy |= rng_.below(2) == 0 ? send_some(stack, now) : read_some(stack, now);
  // Once nothing more was to be done at random, look at both: so that only a missing event can leave a program waiting.
  if (!busy) busy = send_some(stack, now), busy |= read_some(stack, now);

  if (failed_) {
    if (host_.unread(owner_) > 0) return wake_soon(now);
    return leave(stack, now, stack::CallOp::close);
  }
  if (plan_.leaving != Leaving::orderly && connected_ && sent_ + received_ >= plan_.leave_after)
    return leave(stack, now, plan_.leaving == Leaving::abort ? stack::CallOp::abort : stack::CallOp::close);
  if (connected_ && !shut_ && sent_ == plan_.send_bytes) {
    stack::Call call;
    call.op = stack::CallOp::shutdown;
    call.socket = id_;
    call.number = 2;
    shut_ = true;
    if (const Errc e = stack.call(now, call).error; e != Errc::ok && !plan_.fragile) complain(std::string("shutdown: ") + errc_name(e));
  }
  if (peer_closed_ && shut_ && host_.unread(owner_) == 0) {
    if (!plan_.fragile && received_ != plan_.peer_bytes) complain("the stream ended early");
    return leave(stack, now, stack::CallOp::close);
  }
  if (busy || host_.unread(owner_) > 0) wake_soon(now);
}

}  // namespace ferry::sim

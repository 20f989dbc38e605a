#include "link/relay.h"

#include <poll.h>
#include <time.h>

#include <algorithm>

#include "link/decorators/capture.h"
#include "link/no_memory.h"
#include "link/open.h"

namespace ferry::link {
namespace {

constexpr uint32_t kBudget = 64;
constexpr Duration kLongestWait = Duration::ms(200);  // so that a signal just before the wait is noticed

Instant read_clock(clockid_t which) {
  timespec t{};
  ::clock_gettime(which, &t);
  return Instant::from_ns(t.tv_sec * 1'000'000'000 + t.tv_nsec);
}
Instant clock() { return read_clock(CLOCK_MONOTONIC); }

// Sends what one link received to the other, whole; the impaired link cuts it.
class Crossing final : public FrameSink {
 public:
  explicit Crossing(Link& to) : to_(to) {}
  void on_frame(const buf::Frame& frame) override {
    buf::Packet packet;
    packet.tail = frame.bytes;
    packet.payload_length = static_cast<uint32_t>(frame.bytes.size());
    packet.offload = frame.offload;
    (void)to_.send(packet, NoMemory());  // takes everything; what it drops it counts
  }

 private:
  Link& to_;
};

class RelayOver final : public Relay {
 public:
  RelayOver(std::unique_ptr<Link> first, std::unique_ptr<Link> second, const RelayOptions& o)
      : first_(make_impair(std::move(first), {o.back, {}, o.seed * 2, true})),
        second_(make_impair(std::move(second), {o.forth, {}, o.seed * 2 + 1, true})) {}

  bool turn(Instant now) override {
    first_->advance(now);
    second_->advance(now);
    Crossing forth(*second_), back(*first_);
    const uint32_t moved = first_->receive(forth, kBudget) + second_->receive(back, kBudget);
    first_->flush();
    second_->flush();
    return moved != 0;
  }

  Instant next_deadline() const override { return earlier(first_->next_deadline(), second_->next_deadline()); }

  void run(const std::atomic<bool>& stop, Duration tick, const std::function<void(const RelayCounters&)>& on_tick) override {
    Instant next_tick = clock() + tick;
    while (!stop.load(std::memory_order_relaxed)) {
      const Instant now = clock();
      if (on_tick && now >= next_tick) {
        on_tick(counters());
        next_tick = now + tick;
      }
      if (turn(now)) continue;
      Instant until = earlier(next_deadline(), now + kLongestWait);
      if (on_tick) until = earlier(until, next_tick);
      wait(until - now);
    }
  }

  RelayCounters counters() const override {
    return {first_->counters(), second_->counters(), second_->transmit_counters(), first_->transmit_counters()};
  }

 private:
  void wait(Duration at_most) const {
    const auto events = [](const Link& l) { return static_cast<short>(l.wants_write() ? POLLIN | POLLOUT : POLLIN); };
    pollfd fds[2] = {{first_->poll_fd(), events(*first_), 0}, {second_->poll_fd(), events(*second_), 0}};
    const int64_t ns = std::max<int64_t>(0, at_most.count_ns());
    const timespec timeout{ns / 1'000'000'000, ns % 1'000'000'000};
    (void)::ppoll(fds, 2, &timeout, nullptr);
  }

  std::unique_ptr<Impair> first_, second_;
};

Outcome<std::unique_ptr<Link>> open_end(const std::string& name, const std::string& capture) {
  Options options;
  options.all_frames = true;
  auto link = open(name.find(':') == std::string::npos ? "packet:" + name : name, options);
  if (!link.ok() || capture.empty()) return link;
  PcapngOptions recording;
  recording.interface_name = (*link)->name();
  recording.application = "ferry relay";
  recording.epoch = read_clock(CLOCK_REALTIME) - clock();
  auto writer = PcapngWriter::create(capture, recording);
  if (!writer.ok()) return Outcome<std::unique_ptr<Link>>::failure(writer.error());
  auto captured = make_capture(std::move(*link));
  captured->start(std::move(*writer), CaptureFilter());
  return Outcome<std::unique_ptr<Link>>(std::move(captured));
}

}  // namespace

Outcome<std::unique_ptr<Relay>> Relay::open(const std::string& first, const std::string& second, const RelayOptions& options) {
  using Fail = Outcome<std::unique_ptr<Relay>>;
  if (first == second) return Fail::failure("a relay needs two different interfaces");
  auto one = open_end(first, options.capture_first);
  if (!one) return Fail::failure(one.error());
  auto two = open_end(second, options.capture_second);
  if (!two) return Fail::failure(two.error());
  return Relay::over(std::move(*one), std::move(*two), options);
}

std::unique_ptr<Relay> Relay::over(std::unique_ptr<Link> first, std::unique_ptr<Link> second, const RelayOptions& options) {
  return std::make_unique<RelayOver>(std::move(first), std::move(second), options);
}

}  // namespace ferry::link

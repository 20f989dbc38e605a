// One TCP connection against a peer, an owner and a clock that do anything: every byte of input chooses a segment (near the window,
// so that the inside is reached), a call, a step in time, a shortage of memory, or a rebuilding from the record. Checked: the host's
// contract, what leaves on the wire, that timers come to rest, that records restore to themselves, and that everything is given
// back at the end.
#include "fuzz_input.h"
#include "port/user/hooks.h"
#include "support/tcp_endpoint.h"
#include "tcp/record.h"

namespace {

using namespace ferry;
using namespace ferry::tcp;
using fuzz::check;

bool g_memory = true;
bool gate(size_t) { return g_memory; }

class World {
 public:
  World(const uint8_t* data, size_t size) : in_(data, size) {
    uint8_t how = in_.u8();
    Setup setup;
    setup.iss = SeqNum((how & 1) != 0 ? 0xfffffff0u : 7000);
    irs_ = SeqNum((how & 2) != 0 ? 0xffffff00u : 100);
    setup.mss = (how & 4) != 0 ? 1460 : 100;
    setup.max_gso = (how & 8) != 0 ? 65536 : 0;
    if ((how & 16) != 0) setup.options.receive_buffer = 4096;
    if ((how & 32) != 0) setup.options.congestion = cc::Algorithm::newreno;
    next_ = irs_ + 1;
    end_.reset(setup);
    Wire syn;
    syn.seq = irs_;
    syn.window = 5000;
    uint8_t with = in_.u8();
    syn.options.mss = with == 255 ? 1 : 1000;
    syn.options.sack_permitted = (with & 1) != 0;
    syn.options.has_timestamps = timestamps_ = (with & 2) != 0;
    syn.options.window_scale = (with & 4) != 0 ? 5 : -1;
    syn.options.ts_value = 1000;
    if ((how & 64) != 0) {
      end_->open_active(now_);
      syn.flags = kSyn | kAck;
      syn.ack = setup.iss + 1;
      inject(syn);
    } else {
      syn.flags = kSyn;
      note_window(syn);
      end_->open_passive(now_, syn.input());
    }
    observe();
  }

  void run() {
    port::set_allocation_gate(gate);
    for (int steps = 0; !in_.empty() && steps < 2000; ++steps) {
      step();
      observe();
    }
    g_memory = true;
    if (end_->state() != State::closed) end_->abort(now_);
    observe();
    check(end_->state() == State::closed && end_.held == 0 && end_.completed == end_.queued);
    port::set_allocation_gate(nullptr);
  }

 private:
  using Wire = tcp::testing::Wire;

  void step() {
    uint8_t op = in_.u8();
    switch (op & 15) {
      case 0: case 1: case 2: case 3: case 4: segment(); break;
      case 5: data_in_order(in_.u8() * 37u); break;
      case 6: acknowledge(in_.u16()); break;
      case 7: pass(Duration::us(in_.u16() * 50)); break;
      case 8: pass(Duration::ms(in_.u16() * 100)); break;
      case 9: {
        Connection::SendFlags flags;
        flags.more = (op & 16) != 0;
        flags.urgent = (op & 32) != 0;
        (void)end_.send(now_, std::string(1 + in_.u16() % 20000, 'x'), flags);
        break;
      }
      case 10: end_->consumed(now_, in_.u16()); break;
      case 11: owner_call(in_.u8()); break;
      case 12: (void)end_->set_option(now_, static_cast<Option>(1 + in_.u8() % 17), in_.u16()); break;
      case 13: g_memory = (op & 16) == 0; end_.place_limit = (op & 32) == 0 ? UINT64_MAX : 100; break;
      case 14: rebuild(); break;
      case 15: damaged_record(); break;
    }
  }

  void owner_call(uint8_t which) {
    switch (which % 8) {
      case 0: end_->shutdown_write(now_); break;
      case 1: end_->shutdown_read(now_); break;
      case 2: end_->close(now_); break;
      case 3: if (which > 200) end_->abort(now_); break;
      case 4: end_->on_icmp_error(now_, IcmpKind::soft, Errc::host_unreachable, last_seq_); break;
      case 5: end_->on_icmp_error(now_, IcmpKind::hard, Errc::refused, last_seq_); break;
      case 6: end_->on_path_mss(now_, static_cast<uint16_t>(which * 5), last_seq_); break;
      case 7: end_->resume(now_); break;
    }
  }

  // Anything, near what makes sense.
  void segment() {
    Wire w;
    w.flags = in_.u8();
    uint8_t bits = in_.u8();
    w.seq = next_ + static_cast<uint32_t>(static_cast<int8_t>(in_.u8()) * ((bits & 1) != 0 ? 50 : 1));
    w.ack = last_end_ + static_cast<uint32_t>(static_cast<int8_t>(in_.u8()) * ((bits & 2) != 0 ? 100 : 1));
    w.window = in_.u16();
    w.urgent_pointer = in_.u8();
    w.payload.assign(in_.u8() * ((bits & 4) != 0 ? 20u : 1u), 'd');
    w.gso_size = (bits & 8) != 0 ? 100 : 0;
    w.options.has_timestamps = timestamps_ != ((bits & 16) != 0);
    w.options.ts_value = 1000 + static_cast<uint32_t>(now_.ms()) - ((bits & 32) != 0 ? in_.u8() : 0);
    w.options.ts_echo = (bits & 64) != 0 ? in_.u32() : static_cast<uint32_t>(now_.ms());
    if ((bits & 128) != 0) {
      w.options.sack_count = static_cast<uint8_t>(1 + in_.u8() % 4);
      for (uint8_t i = 0; i < w.options.sack_count; ++i) {
        SeqNum left = last_end_ - in_.u16() % 30000;
        w.options.sacks[i] = {left, left + in_.u16() % 10000};
      }
    }
    inject(w);
  }

  Wire plain() {
    Wire w;
    w.flags = kAck;
    w.seq = next_;
    w.ack = last_end_;
    w.window = 40000;
    w.options.has_timestamps = timestamps_;
    w.options.ts_value = 1000 + static_cast<uint32_t>(now_.ms());
    w.options.ts_echo = static_cast<uint32_t>(now_.ms());
    return w;
  }

  void data_in_order(uint32_t n) {
    Wire w = plain();
    w.payload.assign(n, 'd');
    inject(w);
  }

  void acknowledge(uint32_t back) {
    Wire w = plain();
    w.ack = last_end_ - back % 20000;
    inject(w);
  }

  void inject(const Wire& w) {
    note_window(w);
    end_.receive(now_, w);
  }

  // The furthest that anything said so far allows: an old segment may acknowledge and leave the window as it was.
  void note_window(const Wire& w) {
    uint32_t window = uint32_t{w.window} << 5;
    if (window > widest_) widest_ = window;
  }

  void pass(Duration d) {
    now_ = now_ + d;
    for (int rounds = 0; end_->next_deadline() <= now_; ++rounds) {
      check(rounds < 8);  // a timer that is due is dealt with
      end_->on_timer(now_);
      observe();
    }
  }

  void rebuild() {
    std::vector<std::byte> record = end_.save();
    if (record.empty()) return;
    end_.drop();
    Status s = end_.revive(now_, record);
    if (!s) {
      check(s.error() == Errc::no_memory);
      g_memory = true;
      check(end_.revive(now_, record).ok());
    }
  }

  // A record that someone has written into must be refused, or give a connection that keeps its invariants.
  void damaged_record() {
    std::vector<std::byte> record = end_.save();
    if (record.empty()) return;
    for (uint8_t n = in_.u8() % 4; n > 0; --n) record[in_.u16() % record.size()] = static_cast<std::byte>(in_.u8());
    tcp::testing::TcpEndpoint other;
    if (!other->restore(now_, record).ok()) return;
    std::vector<std::byte> again(other->record_size());
    Result<uint32_t> n = other->save(again);
    check(n.ok() && *n == again.size());
  }

  // What every state must satisfy.
  void observe() {
    check(end_.contract_error.empty());
    check(end_.completed <= end_.queued);
    check(end_->outstanding() == end_.queued - end_.completed);
    check(end_->unsent() <= end_->outstanding());
    check(end_->record_size() <= sizeof(Record) + 24 * 16384);
    check(end_.held <= 8u << 20);
    while (!end_.sent.empty()) {
      Wire w = std::move(end_.sent.front());
      end_.sent.pop_front();
      check(w.payload.empty() || (w.payload.size() <= 65535 && w.mss > 0));
      check(w.options.sack_count <= (w.options.has_timestamps ? 3 : 4));
      check(!(w.has(kSyn) && (w.has(kFin) || !w.payload.empty())));
      SeqNum end = w.seq + static_cast<uint32_t>(w.payload.size());
      if (!w.payload.empty()) check(end <= last_end_ + widest_);
      if (w.has(kAck) && !w.has(kRst)) next_ = w.ack;
      if (w.has(kRst)) continue;
      end = end + (w.has(kFin) ? 1 : 0) + (w.has(kSyn) ? 1 : 0);
      if (last_end_.value() == 0 || end > last_end_) last_end_ = end;
      last_seq_ = w.seq;
    }
    if (end_->state() == State::closed) check(end_->next_deadline().is_never() && end_.held == 0);
  }

  fuzz::FuzzInput in_;
  tcp::testing::TcpEndpoint end_;
  Instant now_ = Instant::from_ns(1'000'000);
  SeqNum irs_, next_, last_end_, last_seq_;
  uint32_t widest_ = 0;
  bool timestamps_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  g_memory = true;
  World(data, size).run();
  return 0;
}

#include "server/engine.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/atomics.h"
#include "port/api/log.h"

namespace ferry::server {
namespace {

constexpr uint32_t kReceiveBudget = 64;       // frames of one link per turn
constexpr uint32_t kRunBudget = 64;           // runs of sockets per turn: much more than the rest of a turn costs
constexpr uint32_t kTurnsBetweenPolls = 8;    // turns until descriptors are looked at again; links and bells cost no system call
constexpr uint32_t kTurnsBetweenYields = 4;   // idle turns until whoever else wants this CPU gets it
constexpr int kAcceptsPerTurn = 16;
constexpr Duration kShortestSpin = Duration::us(8);
constexpr Duration kCoolAfter = Duration::ms(10);  // a hot channel without doorbells

Instant clock_now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return Instant::from_ns(int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec);
}

}  // namespace

Engine::Engine(const EngineConfig& config, uint32_t number, Engines* engines)
    : config_(config),
      inbox_(poller_),
      memory_(config.limits.staging_bytes),
      ctx_(*this, memory_, poller_, holder_, counters_, config.limits, number, engines),
      peers_(ctx_),
      sockets_(ctx_),
      host_(ctx_, sockets_),
      captures_(ctx_, host_),
      receiver_(ctx_, host_, sockets_, captures_) {
  read_clock();
  started_ = ctx_.now;
}

Engine::~Engine() {
  for (Client* c = clients_.front(); c != nullptr; c = clients_.next(*c)) c->drop("");
  destroy_gone_clients();
  for (auto& port : ports_)
    if (port->link != nullptr && port->link->poll_fd() >= 0) poller_.remove(port->link->poll_fd(), *port);
  ferry::destroy(stack_);
}

void Engine::set_stack(stack::Stack* stack) {
  stack_ = stack;
  receiver_.set_stack(stack);
}

void Engine::set_links(std::vector<std::unique_ptr<link::Link>> links) {
  links_ = std::move(links);
  std::vector<link::Link*> plain;
  for (size_t i = 0; i < links_.size(); ++i) {
    plain.push_back(links_[i].get());
    if (!links_[i]) continue;
    auto port = std::make_unique<LinkPort>();
    port->engine = this;
    port->link = links_[i].get();
    port->index = static_cast<stack::LinkIndex>(i);
    if (int fd = port->link->poll_fd(); fd >= 0 && !poller_.add(fd, *port, EPOLLIN))
      port::log(port::LogLevel::error, "%s cannot be polled", port->link->name().c_str());
    port->link->set_placer(&receiver_);  // a link that cannot will not ask
    ports_.push_back(std::move(port));
  }
  host_.set_links(std::move(plain));
}

void Engine::serve(RequestHandler& handler, TurnPart& part) {
  handler_ = &handler;
  part_ = &part;
}

void Engine::listen(UniqueFd listener) {
  listener_.engine = this;
  listener_.fd = std::move(listener);
  listener_.spare.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!poller_.add(listener_.fd.get(), listener_, EPOLLIN))
    port::log(port::LogLevel::error, "the control socket cannot be polled");
}

void Engine::Listener::on_poll(uint32_t) { engine->accept_clients(); }

void Engine::accept_clients() {
  for (int n = 0; n < kAcceptsPerTurn; ++n) {
    long fd = ipc::accept_control(listener_.fd.get());
    if (fd == -EMFILE || fd == -ENFILE) return refuse_client();
    if (fd < 0) {
      if (fd != -EAGAIN) port::log(port::LogLevel::warning, "a client could not connect: error %d", static_cast<int>(-fd));
      return;
    }
    UniqueFd connection(static_cast<int>(fd));
    // The limit on channels is applied at hello; this one bounds connections that never say it.
    if (counters_.clients >= uint64_t{config_.limits.clients} * 2) {
      ++counters_.clients_refused;
      continue;
    }
    Client& client = take_in(std::move(connection));
    // Nobody keeps the others out with connections of which nothing is heard. A client may have one more, for the ferry command.
    if (connections_of_[client.peer()] <= uint64_t{config_.limits.clients_per_uid} * 2) continue;
    ++counters_.clients_refused;
    client.drop("");
  }
}

Client& Engine::take_in(UniqueFd connection) {
  clients_.push_back(*new Client(ctx_, *handler_, std::move(connection)));
  Client& client = *clients_.back();
  ++connections_of_[client.peer()];
  return client;
}

void Engine::add_client(UniqueFd connection, std::shared_ptr<ChannelMemory> memory, UniqueFd kick, bool peers) {
  Client& client = take_in(std::move(connection));
  if (client.gone()) return memory->stop_waking();
  if (!client.open_channel(memory, std::move(kick))) {
    memory->stop_waking();
    return client.drop("no room for its channel");
  }
  // Dropped elsewhere while this was under way: if not seen here, we are still to be told.
  if (memory->ended()) return client.drop("");
  client.set_greeted();
  if (peers) client.channel()->allow_peers();
}

void Engine::drop_client_of(const ChannelMemory& memory) {
  for (Client* c = clients_.front(); c != nullptr; c = clients_.next(*c))
    if (c->channel() != nullptr && c->channel()->memory().get() == &memory) return c->drop("");
}

Client* Engine::find_client(uint64_t serial) {
  for (Client* c = clients_.front(); c != nullptr; c = clients_.next(*c))
    if (c->serial() == serial && !c->gone()) return c;
  return nullptr;
}

// Without descriptors a connection cannot be accepted, and would keep the listener readable.
void Engine::refuse_client() {
  ++counters_.clients_refused;
  listener_.spare.reset();
  if (long fd = ipc::accept_control(listener_.fd.get()); fd >= 0) ::close(static_cast<int>(fd));
  listener_.spare.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

void Engine::read_clock() {
  ctx_.now = clock_now(CLOCK_MONOTONIC);
  if (ctx_.now < realtime_read_ + Duration::ms(10)) return;
  realtime_read_ = ctx_.now;
  ctx_.realtime_offset_ns = clock_now(CLOCK_REALTIME).ns() - ctx_.now.ns();
}

bool Engine::receive() {
  bool any = false;
  for (auto& port : ports_) {
    port->link->advance(ctx_.now);
    any |= receiver_.receive(*port->link, port->index, kReceiveBudget) > 0;
  }
  return any;
}

bool Engine::ring_doorbells() {
  bool any = false;
  for (Channel *c = ctx_.hot.front(), *next; c != nullptr; c = next) {
    next = ctx_.hot.next(*c);
    if (c->answer_doorbells() == 0) {
      if (ctx_.now - c->last_active > kCoolAfter) c->go_cold();
      continue;
    }
    c->last_active = ctx_.now;
    any = true;
  }
  return any;
}

// What one sends may mark another, or itself again: clients that go on and on could keep this up for ever. Who is left has its turn before
// all that is marked later, and whoever asks by a descriptor need not wait for more such turns.
void Engine::run_sockets() {
  for (uint32_t n = 0; n < kRunBudget && !ctx_.run.empty(); ++n) ctx_.run.pop_front()->run();
  if (!ctx_.run.empty()) turns_since_poll_ = kTurnsBetweenPolls;
  while (Socket* s = ctx_.run_next.pop_front()) ctx_.run.push_back(*s);
}

bool Engine::turn() {
  read_clock();
  ++counters_.turns;
  bool worked = receive();
  worked |= ring_doorbells();
  worked |= inbox_.run(*this);
  if (stack_->next_deadline() <= ctx_.now) {
    stack_->on_timer(ctx_.now);
    worked = true;
  }
  for (Socket *s = ctx_.moving.front(), *next; s != nullptr; s = next) {
    next = ctx_.moving.next(*s);
    s->mark();
  }
  for (Socket* s = ctx_.offering.front(); s != nullptr; s = ctx_.offering.next(*s))
    if (s->offer_deadline() <= ctx_.now) s->mark();
  if (++turns_since_poll_ >= kTurnsBetweenPolls) {
    turns_since_poll_ = 0;
    worked |= poller_.wait(Duration::zero()) > 0;
  }
  worked |= !ctx_.run.empty() && ctx_.moving.empty();
  if (worked)
    while (Socket* s = ctx_.starved.pop_front()) s->mark();
  run_sockets();
  worked |= !ctx_.run.empty();
  end_turn();
  if (!worked) ++counters_.idle_turns;
  return worked;
}

void Engine::end_turn() {
  for (auto& port : ports_) {
    port->link->flush();
    bool want = port->link->wants_write();
    if (want == port->writing || port->link->poll_fd() < 0) continue;
    port->writing = want;
    poller_.modify(port->link->poll_fd(), *port, want ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
  if (__builtin_expect(captures_.active(), 0)) {
    captures_.flush();
    peers_.suspend(captures_.active());
  }
  Client::drop_condemned(ctx_);
  for (Channel* c : ctx_.reclaimed) c->reclaimed_this_turn = false;
  ctx_.reclaimed.clear();
  destroy_gone_clients();
  sockets_.reap();
  if (part_ != nullptr) part_->on_turn();
}

void Engine::destroy_gone_clients() {
  for (Client* c : ctx_.gone) {
    clients_.erase(*c);
    if (auto of = connections_of_.find(c->peer()); --of->second == 0) connections_of_.erase(of);
    delete c;
  }
  ctx_.gone.clear();
}

// Before sleeping: true if every hot channel has been told that it needs to kick.
void Engine::cool_down() {
  for (Channel *c = ctx_.hot.front(), *next; c != nullptr; c = next) {
    next = ctx_.hot.next(*c);
    if (!c->go_cold()) return;  // it rang: the next turn serves it
  }
}

Instant Engine::next_deadline() {
  Instant deadline = stack_->next_deadline();
  for (auto& port : ports_) deadline = earlier(deadline, port->link->next_deadline());
  for (Socket* s = ctx_.moving.front(); s != nullptr; s = ctx_.moving.next(*s))
    deadline = earlier(deadline, s->move_deadline());
  for (Socket* s = ctx_.offering.front(); s != nullptr; s = ctx_.offering.next(*s))
    deadline = earlier(deadline, s->offer_deadline());
  return part_ != nullptr ? earlier(deadline, part_->next_deadline()) : deadline;
}

void Engine::sleep() {
  cool_down();
  if (!ctx_.hot.empty() || !ctx_.run.empty()) return;
  Instant deadline = next_deadline();
  Instant before = clock_now(CLOCK_MONOTONIC);
  if (deadline <= before) return;
  ++counters_.sleeps;
  poller_.wait(deadline.is_never() ? Poller::forever() : deadline - before);
  turns_since_poll_ = 0;
  // What was slept says what spinning would have been worth.
  Duration slept = clock_now(CLOCK_MONOTONIC) - before;
  if (slept <= config_.spin_max) {
    spin_ = std::min(config_.spin_max, std::max(kShortestSpin, spin_ * 2));
  } else {
    spin_ = spin_ / 2 < kShortestSpin ? Duration::zero() : spin_ / 2;
  }
}

void Engine::run(const std::function<bool()>& until) {
  Instant idle_since = Instant::never();
  uint32_t idle_turns = 0;
  while (!stopping_ && !(until && until())) {
    if (turn()) {
      idle_since = Instant::never();
      continue;
    }
    if (idle_since.is_never()) idle_since = ctx_.now;
    if (config_.busy_poll || ctx_.now - idle_since < spin_) {
      if (++idle_turns % kTurnsBetweenYields == 0) sched_yield();
      else cpu_relax();
      continue;
    }
    sleep();
    idle_since = Instant::never();
  }
}

void Engine::shut_down(Duration patience) {
  if (listener_.fd) poller_.remove(listener_.fd.get(), listener_);
  listener_.fd.reset();
  for (Client* c = clients_.front(); c != nullptr; c = clients_.next(*c)) c->drop("");
  sockets_.for_each([](Socket& s) { s.abandon(); });
  stopping_ = false;
  read_clock();
  Instant end = ctx_.now + patience;
  run([this, end] { return sockets_.size() == 0 || clock_now(CLOCK_MONOTONIC) >= end; });
}

}  // namespace ferry::server

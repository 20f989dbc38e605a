// The event loop: one thread, one stack, its links, clients and sockets.
//
//   turn:  time --> links: advance, receive --> doorbells of hot channels --> timers --> descriptors --> marked sockets run --> links: flush
//   A turn has an end whatever clients do: each of its parts does so much and no more, and goes on in the next turn.
//   A turn that did something is followed by another. After an idle one the engine spins for a while that adapts to what spinning
//   was worth lately, then tells the hot channels that it needs a kick, looks at their doorbells once more, and sleeps in epoll
//   until the next deadline of the stack or a link. Nothing ticks: an idle server uses no CPU.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "server/client.h"
#include "server/engines.h"
#include "server/peers.h"
#include "server/receiver.h"

namespace ferry::server {

// What else has a share in every turn.
class TurnPart {
 public:
  virtual void on_turn() = 0;
  virtual Instant next_deadline() const = 0;

 protected:
  ~TurnPart() = default;
};

struct EngineConfig {
  uint32_t count = 1;  // of engines
  Limits limits;       // of each of them
  Duration spin_max = Duration::us(50);  // longest spin before a sleep; zero: never spin
  bool busy_poll = false;                // never sleep
};

class Engine final : public Protocols {
 public:
  // `engines`: null if it is the only one; it lasts longer.
  explicit Engine(const EngineConfig& config, uint32_t number = 0, Engines* engines = nullptr);
  ~Engine();

  // --- set-up, in this order ---
  // The stack must have been created with host(); the engine destroys it.
  void set_stack(stack::Stack* stack);
  // The links by LinkIndex; nullptr for a loopback interface.
  void set_links(std::vector<std::unique_ptr<link::Link>> links);
  void serve(RequestHandler& handler, TurnPart& part);
  // Takes connections from this listening socket.
  void listen(UniqueFd listener);
  // Another engine's client, which is to have a part of its channel here; our end of the control connection.
  void add_client(UniqueFd connection, std::shared_ptr<ChannelMemory> memory, UniqueFd kick, bool peers);
  // The client with this channel has ended, or is not to be served any more.
  void drop_client_of(const ChannelMemory& memory);
  // A frame that another engine has received.
  void take_frame(stack::LinkIndex link, const buf::Frame& frame) { stack_->on_frame(ctx_.now, link, frame); }
  Client* find_client(uint64_t serial);
  Inbox& inbox() { return inbox_; }
  Host& host() { return host_; }
  Context& context() { return ctx_; }
  const Context& context() const { return ctx_; }
  Sockets& sockets() { return sockets_; }
  stack::Stack& stack() { return *stack_; }
  Captures& captures() { return captures_; }
  const Receiver& receiver() const { return receiver_; }
  const std::vector<std::unique_ptr<link::Link>>& links() const { return links_; }
  template <typename Visit>
  void for_each_client(Visit visit) {
    for (Client* c = clients_.front(); c != nullptr; c = clients_.next(*c)) visit(*c);
  }
  Instant started() const { return started_; }

  // Runs until stop(), or (`until` set) until it returns true.
  void run(const std::function<bool()>& until = nullptr);
  void stop() { stopping_ = true; }
  // Drops the clients, closes every socket and runs until the peers know, at most `patience`.
  void shut_down(Duration patience);

  // --- Protocols ---
  stack::CallResult call(const stack::Call& c) override { return stack_->call(ctx_.now, c); }
  uint32_t send_space(stack::SocketId socket) const override { return stack_->send_space(socket); }
  Result<stack::SocketInfo> info(stack::SocketId socket) const override { return stack_->socket_info(socket, ctx_.now); }
  Result<int64_t> option(stack::SocketId socket, stack::Option o) const override { return stack_->option(socket, o); }
  Result<size_t> protocol_option(stack::SocketId socket, int name, MutableByteSpan value, size_t length) const override {
    return stack_->protocol_option(socket, name, value, length);
  }
  const stack::Service* service(stack::SocketType type) const override { return stack_->service(type); }
  Result<tcp::TcpInfo> tcp_info(stack::SocketId socket) const override { return stack_->tcp_info(socket, ctx_.now); }
  Result<stack::Owner> twin(stack::SocketId socket) const override { return stack_->twin(socket); }

 private:
  struct LinkPort final : PollHandler {
    Engine* engine = nullptr;
    link::Link* link = nullptr;
    stack::LinkIndex index = 0;
    bool writing = false;
    void on_poll(uint32_t) override {}  // awake is enough: every turn receives
  };
  struct Listener final : PollHandler {
    Engine* engine = nullptr;
    UniqueFd fd;
    UniqueFd spare;  // given up for a moment when descriptors run out, so that a connection can be refused instead of waiting for ever
    void on_poll(uint32_t events) override;
  };

  void read_clock();
  bool turn();
  bool receive();
  bool ring_doorbells();
  void run_sockets();
  void end_turn();
  void sleep();
  Instant next_deadline();
  void cool_down();
  void destroy_gone_clients();
  void accept_clients();
  Client& take_in(UniqueFd connection);
  void refuse_client();

  EngineConfig config_;
  LocalHolder holder_;
  Poller poller_;
  Inbox inbox_;
  Counters counters_;
  Memory memory_;
  Context ctx_;
  Peers peers_;
  Sockets sockets_;
  Host host_;
  Captures captures_;
  Receiver receiver_;
  stack::Stack* stack_ = nullptr;
  std::vector<std::unique_ptr<link::Link>> links_;
  std::vector<std::unique_ptr<LinkPort>> ports_;
  Listener listener_;
  RequestHandler* handler_ = nullptr;
  TurnPart* part_ = nullptr;
  List<Client> clients_;
  std::unordered_map<uid_t, uint32_t> connections_of_;  // by who connected
  Duration spin_ = Duration::zero();
  Instant started_;
  Instant realtime_read_;
  uint32_t turns_since_poll_ = 0;
  bool stopping_ = false;
};

}  // namespace ferry::server

// Answers control requests (ipc/control.h): the system calls that are not on the data path, and the questions of the ferry command.
//
// Trust: a request may hold anything. Slots are looked up with their generation in the requester's own channel only, and are no sockets as long as
// they are only offered; a descriptor proves possession of a socket by its cookie and is closed again; privileged ports need the credentials of the message itself.
//
// Files: control.cc dispatch, hello, attaching; control_sockets.cc the socket calls; control_ports.cc bind and listen; admin.cc questions of the ferry command.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "server/client.h"
#include "server/sockets.h"

namespace ferry::server {

class Engine;

// What every hello tells, fixed at start.
struct ServerIdentity {
  ipc::control::ServerInfo info{};
  std::vector<ipc::control::InterfaceInfo> interfaces;
};

// Questions of the ferry command; see docs/admin-protocol.md. True: answered. False: Client::finish() follows.
class AdminHandler {
 public:
  virtual bool handle_admin(Client& client, const std::string& command, ipc::control::Reply& reply,
                            ipc::DescriptorList& fds) = 0;
  virtual void forget_admin(Client& client) = 0;

 protected:
  ~AdminHandler() = default;
};

class Control final : public RequestHandler {
 public:
  Control(Context& context, Sockets& sockets, ServerIdentity identity, AdminHandler& admin);

  bool handle(Client& client, const ipc::control::Request& request, ipc::DescriptorList& received,
              ipc::control::Reply& reply, ipc::DescriptorList& fds) override;
  void forget(Client& client) override;
  void adopt_orphan(std::unique_ptr<Channel> channel) override;

  // Frees channels of dead clients that nothing refers to any more. Between turns.
  void reap();
  size_t orphan_count() const { return orphans_.size(); }
  const ServerIdentity& identity() const { return identity_; }

 private:
  using Request = ipc::control::Request;
  using Reply = ipc::control::Reply;

  struct Orphan {
    std::unique_ptr<Channel> channel;
    bool counted;  // in clients_of_
  };
  void discount(const Channel& channel);

  Errc hello(Client& client, const Request& request, Reply& reply, ipc::DescriptorList& fds);
  Errc open_socket(Client& client, const Request& request, Reply& reply, ipc::DescriptorList& fds);
  Errc stock(Client& client, const Request& request, Reply& reply, ipc::DescriptorList& fds);
  Errc connect_to_engine(Client& client, const Request& request, ipc::DescriptorList& fds);
  Errc attach(Client& client, ipc::DescriptorList& received, Reply& reply);
  Errc event_queue(Client& client, const Request& request, ipc::DescriptorList& fds);
  Errc region(Channel& channel, const Request& request, ipc::DescriptorList& received);
  Errc peers(Client& client, const Request& request, Reply& reply, ipc::DescriptorList& fds);
  Errc interfaces(const Request& request, Reply& reply);
  Errc on_socket(Client& client, Socket& socket, const Request& request, Reply& reply, ipc::DescriptorList& fds);
  // --- bind and listen: control_ports.cc ---
  bool shares_ports(const Socket& socket) const;
  Errc call_for_port(const stack::Call& call, uint16_t port);
  Errc claim_port(Socket& socket, stack::Endpoint& local);
  Errc bind_here(Socket& socket, const stack::Endpoint& local, Reply& reply);
  Errc bind(Client& client, Socket& socket, const Request& request, Reply& reply);
  Errc listen_here(Socket& socket, int64_t backlog, Reply& reply);
  Errc prepare_listen(Socket& socket);
  Errc listen(Client& client, Socket& socket, const Request& request, Reply& reply);
  void open_parts(uint64_t asker, Socket& socket, int64_t backlog);
  template <typename Again>
  void ask_for_port(Client& client, Socket& socket, uint16_t port, Again again);
  static void finish_later(Engine& engine, uint64_t asker, Reply& reply);
  // --- on a socket: control_sockets.cc ---
  Errc connect(Socket& socket, const Request& request, Reply& reply);
  Errc disconnect(Socket& socket);
  Errc accept(Client& client, Socket& listener, const Request& request, Reply& reply, ipc::DescriptorList& fds);
  Errc shutdown(Socket& socket, const Request& request);
  void refresh_addresses(Socket& socket, Reply& reply);
  // Gives a socket that has a stack id a slot of the client and K: one of the client's stock, or a new one.
  Errc hand_over(Client& client, Socket& socket, bool kernel_mode, Reply& reply, ipc::DescriptorList& fds);

  Context& ctx_;
  Sockets& sockets_;
  ServerIdentity identity_;
  AdminHandler& admin_;
  std::unordered_map<uid_t, uint32_t> clients_of_;  // those that are gone but for a channel that is referred to included
  std::unordered_set<const Client*> admitted_;
  std::vector<Orphan> orphans_;
  bool deferred_ = false;  // the request being handled is answered later
  uint32_t port_turn_ = 0;
};

}  // namespace ferry::server

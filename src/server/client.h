// One client: a control connection and, unless it is only the ferry command, its channel.
//
// Owns: the connection, the channel while the process lives. Does not own: sockets (sockets.h) - they live as long as their K.
// Trust: requests are fixed-size copies; every number in them is checked; credentials are those of the message. A client that
// breaks the protocol, or does not read its replies, is dropped; what it had is released as if it had died.
#pragma once

#include <string>

#include "base/list.h"
#include "ipc/control_socket.h"
#include "server/channel.h"
#include "server/context.h"

namespace ferry::server {

class Client;
class Socket;

// Answers requests; see control.h.
class RequestHandler {
 public:
  // Fills in `reply` (op and sequence are set) and `fds`. False: the answer comes later, by Client::finish().
  virtual bool handle(Client& client, const ipc::control::Request& request, ipc::DescriptorList& received,
                      ipc::control::Reply& reply, ipc::DescriptorList& fds) = 0;
  // The client is gone: nothing may be finished for it any more.
  virtual void forget(Client& client) = 0;
  // The channel of a client that is gone, for as long as its memory is referred to.
  virtual void adopt_orphan(std::unique_ptr<Channel> channel) = 0;

 protected:
  ~RequestHandler() = default;
};

class Client final : public PollHandler, public ListNode<Client> {
 public:
  Client(Context& context, RequestHandler& handler, UniqueFd connection);
  ~Client();

  // The user who connected.
  uid_t peer() const { return peer_; }
  // Of the latest message.
  const ipc::Credentials& credentials() const { return credentials_; }
  Channel* channel() { return channel_.get(); }
  bool greeted() const { return greeted_; }
  bool gone() const { return gone_; }
  // Of all clients of its engine that there have been.
  uint64_t serial() const { return serial_; }

  // hello: opens the channel (unless admin). Errc::version_mismatch is the handler's business.
  // `kick`: the client's end is a duplicate of it.
  Status open_channel(std::shared_ptr<ChannelMemory> memory, UniqueFd kick);
  void set_greeted() { greeted_ = true; }
  // Makes the client's own lifeline: a pipe each, because libferry sets owner and signal on the open file description.
  // The read end, for the client; invalid when the process has no descriptors left.
  ipc::OwnedFd open_lifeline();

  void on_poll(uint32_t events) override;
  // Answers a request that was deferred.
  void finish(ipc::control::Reply& reply, ipc::DescriptorList& fds);
  bool waiting() const { return waiting_; }
  // The answer to rehome or demote.
  void on_move_done(Socket& socket, Errc outcome);
  // Drops the client: `why` goes to the log unless empty.
  void drop(const char* why);
  // Those whose channels were condemned in this turn.
  static void drop_condemned(Context& context);

 private:
  void serve();
  void send(ipc::control::Reply& reply, ipc::DescriptorList& fds);

  Context& ctx_;
  RequestHandler& handler_;
  UniqueFd connection_;
  const uint64_t serial_;
  std::unique_ptr<Channel> channel_;
  UniqueFd lifeline_;  // write end; nobody writes
  ipc::Credentials credentials_;
  uid_t peer_ = 0;
  ipc::control::Request pending_;  // the request that waits for finish()
  bool greeted_ = false;
  bool waiting_ = false;
  bool gone_ = false;
};

}  // namespace ferry::server

#include "server/client.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "port/api/log.h"
#include "server/engine.h"
#include "server/foreign_fd.h"
#include "server/peers.h"
#include "server/sockets.h"

namespace ferry::server {
namespace control = ipc::control;
namespace {
void close_all(ipc::DescriptorList& fds) {
  for (uint32_t i = 0; i < fds.count; ++i) close_foreign(fds.fds[i].release());
}
}  // namespace

Client::Client(Context& context, RequestHandler& handler, UniqueFd connection)
    : ctx_(context), handler_(handler), connection_(std::move(connection)), serial_(++context.counters.clients_total) {
  ++ctx_.counters.clients;
  // Who connected, until the first message says who speaks.
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(connection_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0) {
    credentials_.pid = peer.pid;
    credentials_.uid = peer_ = peer.uid;
    credentials_.gid = peer.gid;
  }
  if (!ctx_.poller.add(connection_.get(), *this, EPOLLIN | EPOLLRDHUP)) drop("no descriptors left");
}

Client::~Client() {
  FERRY_ASSERT(gone_);
  --ctx_.counters.clients;
}

Status Client::open_channel(std::shared_ptr<ChannelMemory> memory, UniqueFd kick) {
  if (channel_) return Errc::already;
  auto channel = Channel::create(ctx_, std::move(memory), std::move(kick));
  if (!channel) return channel.error();
  channel_ = std::move(*channel);
  channel_->set_client(this);
  return {};
}

ipc::OwnedFd Client::open_lifeline() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return ipc::OwnedFd();
  lifeline_.reset(ends[1]);
  return ipc::OwnedFd(ends[0]);
}

void Client::on_poll(uint32_t events) {
  if ((events & EPOLLIN) != 0) serve();
  if ((events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0 && (events & EPOLLIN) == 0) drop("");
}

void Client::serve() {
  for (uint32_t n = 0; n < ctx_.limits.requests_per_turn && !gone_ && !waiting_; ++n) {
    control::Request request;
    ipc::DescriptorList received;
    ipc::Credentials credentials;
    long r = ipc::receive_request(connection_.get(), request, received, credentials, close_foreign);
    if (r == -EAGAIN) return;
    if (r != 0) close_all(received);
    if (r == -EPIPE) return drop("");
    if (r == -EMFILE) {  // not the client's fault: this process can have no more descriptors
      control::Reply reply;
      reply.op = request.op;
      reply.sequence = request.sequence;
      reply.error = static_cast<uint32_t>(Errc::too_many);
      ipc::DescriptorList none;
      send(reply, none);
      continue;
    }
    if (r != 0 || !credentials.present || request.data_length > control::kMaxData) {
      close_all(received);
      ++ctx_.counters.protocol_violations;
      return drop("a message on the control socket that is no request");
    }
    credentials_ = credentials;
    ++ctx_.counters.control_requests;
    control::Reply reply;
    reply.op = request.op;
    reply.sequence = request.sequence;
    ipc::DescriptorList fds;
    pending_ = request;
    waiting_ = true;
    if (handler_.handle(*this, request, received, reply, fds)) {
      waiting_ = false;
      send(reply, fds);
    } else if (waiting_ && !gone_) {
      ctx_.poller.modify(connection_.get(), *this, EPOLLRDHUP);  // no more requests until finish()
    }
  }
}

void Client::finish(control::Reply& reply, ipc::DescriptorList& fds) {
  if (!waiting_ || gone_) return;
  waiting_ = false;
  reply.op = pending_.op;
  reply.sequence = pending_.sequence;
  ctx_.poller.modify(connection_.get(), *this, EPOLLIN | EPOLLRDHUP);
  send(reply, fds);
}

void Client::on_move_done(Socket& socket, Errc outcome) {
  control::Reply reply;
  reply.error = static_cast<uint32_t>(outcome);
  reply.slot = channel_ ? socket.slot_in(*channel_) : 0;
  if (reply.slot == Channel::kNoSlot) {
    reply.slot = 0;
  } else if (channel_) {
    reply.generation = channel_->generation(reply.slot);
  }
  ipc::DescriptorList none;
  finish(reply, none);
}

void Client::send(control::Reply& reply, ipc::DescriptorList& fds) {
  if (gone_) return;
  int numbers[control::kMaxDescriptors];
  for (uint32_t i = 0; i < fds.count; ++i) numbers[i] = fds.fds[i].get();
  long r = ipc::send_reply(connection_.get(), reply, numbers, fds.count);
  if (r == 0) return;
  ++ctx_.counters.control_replies_lost;
  drop(r == -EAGAIN ? "it does not read its replies" : "");
}

void Client::drop(const char* why) {
  if (gone_) return;
  gone_ = true;
  ctx_.gone.push_back(this);
  if (*why != 0)
    port::log(port::LogLevel::warning, "client pid %d dropped: %s", static_cast<int>(credentials_.pid), why);
  ctx_.poller.remove(connection_.get(), *this);
  connection_.reset();
  handler_.forget(*this);
  if (!channel_) return;
  channel_->client_gone();
  channel_->for_each_socket([this](Socket& s) { s.on_client_gone(*channel_); });
  ctx_.peers->on_channel_gone(*channel_);
  channel_->forget_regions();
  if (ctx_.engines != nullptr && channel_->memory()->end())
    ctx_.engines->post_to_others(ctx_.engine, [memory = channel_->memory()](Engine& other) { other.drop_client_of(*memory); });
  handler_.adopt_orphan(std::move(channel_));
}

// What a client leaves may show what another has done wrong: the list can grow meanwhile.
void Client::drop_condemned(Context& context) {
  for (size_t i = 0; i < context.condemned.size(); ++i)
    if (Client* c = context.condemned[i]->client(); c != nullptr) c->drop("");
  context.condemned.clear();
}

}  // namespace ferry::server

#include "server/ping.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "server/admin.h"
#include "server/config.h"

namespace ferry::server {

bool Pings::start(Client& client, const std::string& arguments, ipc::control::Reply& reply) {
  std::istringstream in(arguments);
  std::string address;
  uint32_t sequence = 0, size = 0, timeout_ms = 0;
  if (!(in >> address >> sequence >> size >> timeout_ms) || sequence > 0xffff || size > kMaxSize || timeout_ms > 60'000)
    return refuse(Errc::invalid, "ping needs an address, a sequence number, a size and a time-out in milliseconds", reply), true;
  auto target = parse_ipv4(address);
  if (!target) return refuse(Errc::invalid, "'" + address + "' is not an IPv4 address", reply), true;
  if (pings_.size() >= kMaxPings) return refuse(Errc::too_many, "too many pings at once", reply), true;

  Context& ctx = engine_.context();
  Ping ping;
  ping.client = &client;
  ping.owner = Host::kEchoOwner | next_owner_++;
  ping.address = address;
  ping.sequence = static_cast<uint16_t>(sequence);
  ping.size = size;
  ping.sent = ctx.now;
  ping.deadline = ctx.now + Duration::ms(timeout_ms);
  stack::Call call;
  call.op = stack::CallOp::open;
  call.type = stack::SocketType::icmp_echo;
  call.owner = ping.owner;
  stack::CallResult opened = engine_.call(call);
  if (opened.error != Errc::ok) return refuse(opened.error, "no socket for the ping", reply), true;
  ping.socket = opened.socket;
  stack::Call bind;
  bind.op = stack::CallOp::bind;
  bind.socket = ping.socket;
  bind.local.port = next_identifier_++;
  if (next_identifier_ == 0) next_identifier_ = 1;
  engine_.call(bind);
  stack::Call send;
  send.op = stack::CallOp::send_echo;
  send.socket = ping.socket;
  send.remote.address = wire::IpAddress::from(*target);
  send.number = sequence;
  Result<buf::IoDesc> staged = size > 0 ? ctx.memory.stage(size) : Result<buf::IoDesc>(buf::IoDesc{});
  if (staged) {
    MutableByteSpan bytes = size > 0 ? ctx.memory.write(*staged) : MutableByteSpan();
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
    send.data = *staged;
    pings_.push_back(ping);  // the answer may come within the call
    Errc error = engine_.call(send).error;
    if (size > 0) ctx.memory.unstage(*staged);
    if (error == Errc::ok) return false;
    pings_.pop_back();
    refuse(error, "cannot send to " + address, reply);
  } else {
    refuse(staged.error(), "no memory for the ping", reply);
  }
  close(ping);
  return true;
}

Pings::Ping* Pings::find(stack::Owner owner) {
  for (Ping& p : pings_)
    if (p.owner == owner) return &p;
  return nullptr;
}

void Pings::on_echo_reply(stack::Owner owner, const stack::DatagramInfo& info, ByteSpan) {
  Ping* p = find(owner);
  if (p == nullptr || p->done || info.remote.port != p->sequence) return;
  p->done = true;
  p->rtt = engine_.context().now - p->sent;
  p->ttl = info.ttl;
}

void Pings::on_echo_error(stack::Owner owner, Errc error) {
  if (Ping* p = find(owner); p != nullptr && !p->done) {
    p->done = true;
    p->error = error;
  }
}

void Pings::forget(Client& client) {
  for (Ping& p : pings_)
    if (p.client == &client) p.client = nullptr;
}

void Pings::on_turn() {
  if (pings_.empty()) return;
  for (Ping& p : pings_)
    if (p.client == nullptr || p.done || engine_.context().now >= p.deadline) answer(p);
  std::erase_if(pings_, [](const Ping& p) { return p.socket == 0; });
}

void Pings::answer(Ping& p) {
  if (p.client != nullptr) {
    nlohmann::json j = {{"address", p.address}, {"sequence", p.sequence}, {"size", p.size}};
    if (!p.done) {
      j["error"] = "timed out";
    } else if (p.error != Errc::ok) {
      j["error"] = errc_name(p.error);
    } else {
      j["rtt_us"] = static_cast<double>(p.rtt.count_ns()) / 1000.0;
      j["ttl"] = p.ttl;
    }
    ipc::control::Reply reply;
    ipc::DescriptorList fds;
    if (!answer_with(j.dump(), reply, fds)) refuse(Errc::too_many, "no descriptors left", reply);
    p.client->finish(reply, fds);
  }
  close(p);
}

void Pings::close(Ping& p) {
  stack::Call call;
  call.op = stack::CallOp::close;
  call.socket = p.socket;
  engine_.call(call);
  p.socket = 0;
}

Instant Pings::next_deadline() const {
  Instant deadline = Instant::never();
  for (const Ping& p : pings_) deadline = earlier(deadline, p.done ? engine_.context().now : p.deadline);
  return deadline;
}

}  // namespace ferry::server

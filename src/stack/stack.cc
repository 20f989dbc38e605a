// The public face: every input passes the observer and goes to the engine.
#include "stack/stack.h"

#include "stack/engine.h"

namespace ferry::stack {

Result<Stack*> Stack::create(const Config& config, Host& host) {
  if (config.max_sockets == 0 || config.ephemeral_first == 0 || config.ephemeral_first > config.ephemeral_last ||
      config.max_backlog == 0 || config.share.index >= config.share.count || config.loopback_bytes < 256 * 1024 || config.loopback_bytes > (1u << 30))
    return Errc::invalid;
  Engine* engine = make<Engine>(config, host);
  if (engine == nullptr) return Errc::no_memory;
  Stack* stack = make<Stack>(*engine);
  if (stack == nullptr) {
    ferry::destroy(engine);
    return Errc::no_memory;
  }
  return stack;
}

Stack::~Stack() { ferry::destroy(&engine_); }

Status Stack::add_server(ProtocolServer& server) { return engine_.add_server(server); }

CallResult Stack::handle(const Input& input) {
  if (observer_ != nullptr) observer_->on_input(input);
  return engine_.handle(input);
}

Instant Stack::next_deadline() const { return engine_.next_deadline(); }

void Stack::on_frame(Instant now, LinkIndex link, const buf::Frame& frame) {
  Input in;
  in.kind = InputKind::frame;
  in.now = now;
  in.link = link;
  in.frame = frame;
  handle(in);
}

void Stack::on_timer(Instant now) {
  Input in;
  in.kind = InputKind::timer;
  in.now = now;
  handle(in);
}

CallResult Stack::call(Instant now, const Call& call) {
  Input in;
  in.kind = InputKind::call;
  in.now = now;
  in.call = &call;
  return handle(in);
}

Result<LinkIndex> Stack::add_interface(Instant now, const InterfaceConfig& interface) {
  Input in;
  in.kind = InputKind::interface;
  in.now = now;
  in.interface = &interface;
  const CallResult r = handle(in);
  if (r.error != Errc::ok) return r.error;
  return static_cast<LinkIndex>(r.socket);
}

Status Stack::add_route(Instant now, const Route& route) {
  Input in;
  in.kind = InputKind::route;
  in.now = now;
  in.route = &route;
  return handle(in).error;
}

CallResult Stack::restore(Instant now, ByteSpan record) {
  Input in;
  in.kind = InputKind::restore;
  in.now = now;
  in.record = record;
  return handle(in);
}

const Service* Stack::service(SocketType type) const { return engine_.service(type); }
Result<size_t> Stack::save(SocketId socket, MutableByteSpan out) const { return engine_.save(socket, out); }
Status Stack::for_each_record(RecordSink& sink) const { return engine_.for_each_record(sink); }
void Stack::for_each_socket(SocketVisitor& visitor, Instant now) const { engine_.for_each_socket(visitor, now); }
void Stack::for_each_counter(CounterVisitor& visitor) const { engine_.for_each_counter(visitor); }
void Stack::for_each_neighbor(NeighborVisitor& visitor) const { engine_.for_each_neighbor(visitor); }
uint32_t Stack::interface_count() const { return engine_.interface_count(); }
const InterfaceConfig* Stack::interface(LinkIndex link) const { return engine_.interface(link); }
Result<SocketInfo> Stack::socket_info(SocketId socket, Instant now) const { return engine_.socket_info(socket, now); }
Result<tcp::TcpInfo> Stack::tcp_info(SocketId socket, Instant now) const { return engine_.tcp_info(socket, now); }
Result<size_t> Stack::protocol_option(SocketId socket, int name, MutableByteSpan value, size_t length) const {
  return engine_.protocol_option(socket, name, value, length);
}
uint32_t Stack::send_space(SocketId socket) const { return engine_.send_space(socket); }
Result<int64_t> Stack::option(SocketId socket, Option option) const { return engine_.option(socket, option); }
Result<PayloadOwner> Stack::payload_owner(LinkIndex link, const buf::Frame& head, uint32_t frame_length) const {
  return engine_.payload_owner(link, head, frame_length);
}
Result<Owner> Stack::twin(SocketId socket) const { return engine_.twin(socket); }
bool Stack::serves(wire::Ipv4Address destination) const { return engine_.serves(destination); }
void Stack::set_observer(InputObserver* observer) { observer_ = observer; }

}  // namespace ferry::stack

#include "server/engine_unit.h"

#include <algorithm>
#include <cstring>

#include "link/interface.h"
#include "link/open.h"

namespace ferry::server {
namespace {

namespace control = ipc::control;

constexpr Duration kStopPatience = Duration::ms(500);

}  // namespace

EngineUnit::EngineUnit(const EngineConfig& config, uint32_t number, Engines& all)
    : number_(number), engine_(config, number, config.count > 1 ? &all : nullptr) {
  all.add(engine_.inbox());
}

// Foreign servers of anything but TCP belong to the first engine, which has everything else.
std::string EngineUnit::make_servers(const Config& config, stack::Config& stack) {
  if (number_ != 0) return {};
  for (const std::string& name : config.servers) {
    const ForeignKind& kind = *find_foreign(name);
    if (kind.make == nullptr) return "this ferryd was built without the server " + name;
    servers_.push_back(kind.make());
    if (servers_.back() == nullptr) return "the server " + name + " cannot be had twice";
    if (kind.replaces_tcp) stack.own_tcp = false;
  }
  return {};
}

std::string EngineUnit::build(const Config& config, uint64_t seed, std::unique_ptr<link::Link> link, stack::Recorder* recorder,
                              ServerIdentity& identity) {
  stack::Config stack_config;
  stack_config.seed = seed;
  stack_config.share = {number_, config.engine.count};
  if (std::string why = make_servers(config, stack_config); !why.empty()) return why;
  if (recorder != nullptr) recorder->start(stack_config);
  stack::Host& host = recorder != nullptr ? static_cast<stack::Host&>(*recorder) : engine_.host();
  auto stack = stack::Stack::create(stack_config, host);
  if (!stack) return std::string("no stack: ") + errc_name(stack.error());
  if (recorder != nullptr) (*stack)->set_observer(recorder);
  engine_.set_stack(*stack);
  for (auto& server : servers_)
    if (Status added = (*stack)->add_server(server->server()); !added)
      return std::string("a protocol server is refused: ") + errc_name(added.error());
  std::vector<std::unique_ptr<link::Link>> links;
  if (link != nullptr) links.push_back(std::move(link));
  engine_.set_links(std::move(links));
  return add_interfaces(config, number_ == 0 ? &identity : nullptr);
}

// Programs see the interface in their lists and, by its number, with every datagram that came in by it.
void EngineUnit::publish(const control::InterfaceInfo& info, stack::LinkIndex link, ServerIdentity* identity) {
  std::vector<uint32_t>& numbers = engine_.context().interface_numbers;
  if (numbers.size() <= link) numbers.resize(link + 1);
  numbers[link] = info.index;
  if (identity != nullptr) identity->interfaces.push_back(info);
}

std::string EngineUnit::add_interfaces(const Config& config, ServerIdentity* identity) {
  std::string why;
  if (!engine_.links().empty()) why = add_link(config, identity);
  if (why.empty() && config.loopback) why = add_loopback(identity);
  if (identity != nullptr) identity->info.interface_count = static_cast<uint32_t>(identity->interfaces.size());
  return why;
}

std::string EngineUnit::add_link(const Config& config, ServerIdentity* identity) {
  stack::Stack& stack = engine_.stack();
  const Instant now = engine_.context().now;
  const link::Link& link = *engine_.links()[0];
  const link::Capabilities& can = link.capabilities();
  stack::InterfaceConfig i;
  i.mac = can.mac;
  i.prefix = config.prefix;
  i.mtu = can.mtu;
  i.max_gso = can.max_gso;
  i.checksum_tx = can.checksum_tx;
  i.probe = true;
  auto added = stack.add_interface(now, i);
  if (!added) return std::string("the stack refuses the interface: ") + errc_name(added.error());
  if (config.gateway && !stack.add_route(now, {{}, *config.gateway, *added})) return "the stack refuses the gateway";
  control::InterfaceInfo info{};
  const std::string name = link.name().substr(link.name().find(':') + 1);
  std::memcpy(info.name, name.data(), std::min(name.size(), sizeof info.name - 1));
  std::memcpy(info.mac, can.mac.octets.data(), 6);
  info.prefix_length = config.prefix.length;
  info.address = config.prefix.address.value;
  info.mtu = can.mtu;
  if (auto kernel = link::find_interface(name)) info.index = static_cast<uint32_t>(kernel->index);
  publish(info, *added, identity);
  return {};
}

std::string EngineUnit::add_loopback(ServerIdentity* identity) {
  stack::InterfaceConfig i;
  i.prefix = {wire::Ipv4Address::of(127, 0, 0, 1), 8};
  i.mtu = 65535;
  i.loopback = true;
  auto added = engine_.stack().add_interface(engine_.context().now, i);
  if (!added) return std::string("the stack refuses the loopback interface: ") + errc_name(added.error());
  control::InterfaceInfo info{};
  std::memcpy(info.name, "lo", 2);
  info.prefix_length = 8;
  info.address = i.prefix.address.value;
  info.mtu = i.mtu;
  info.index = 1;
  publish(info, *added, identity);
  return {};
}

void EngineUnit::serve(const ServerIdentity& identity, const Calibration& calibration) {
  admin_.emplace(engine_, calibration);
  control_.emplace(engine_.context(), engine_.sockets(), identity, *admin_);
  admin_->set_identity(control_->identity());
  engine_.serve(*control_, housekeeping_);
}

void EngineUnit::Housekeeping::on_turn() {
  unit.admin_->on_turn();
  if (unit.control_->orphan_count() > 0) unit.control_->reap();
}

void EngineUnit::start() {
  thread_ = std::thread([this] {
    engine_.run();
    engine_.shut_down(kStopPatience);
  });
}

void EngineUnit::join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace ferry::server

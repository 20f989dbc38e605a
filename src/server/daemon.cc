#include "server/daemon.h"

#include <signal.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "link/interface.h"
#include "link/open.h"
#include "server/admin.h"
#include "server/calibration.h"
#include "server/control_path.h"
#include "server/foreign.h"
#include "server/privileges.h"
#include "server/version.h"
#include "stack/recording.h"

namespace ferry::server {
namespace {

namespace control = ipc::control;
using port::LogLevel;

constexpr Duration kProbePatience = Duration::seconds(3);   // RFC 5227 probing takes less
constexpr Duration kStopPatience = Duration::ms(500);

int fail(const std::string& sentence) {
  port::log(LogLevel::error, "%s", sentence.c_str());
  return 1;
}

uint64_t random_number() {
  uint64_t n = 0;
  if (getrandom(&n, sizeof n, 0) != sizeof n) throw std::runtime_error("the kernel gives no random numbers");
  return n;
}

// SIGTERM and SIGINT stop the engine.
class StopSignals final : public PollHandler {
 public:
  explicit StopSignals(Engine& engine) : engine_(engine) {
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    fd_.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd_ || !engine_.context().poller.add(fd_.get(), *this, EPOLLIN)) throw std::runtime_error("no signal descriptor");
  }
  ~StopSignals() { engine_.context().poller.remove(fd_.get(), *this); }
  void on_poll(uint32_t) override {
    signalfd_siginfo info;
    [[maybe_unused]] ssize_t n = read(fd_.get(), &info, sizeof info);
    seen_ = true;
    engine_.stop();
  }
  bool seen() const { return seen_; }

 private:
  Engine& engine_;
  UniqueFd fd_;
  bool seen_ = false;
};

// Where a recording goes. A file that cannot be written any more ends the recording, not the service.
class RecordingFile final : public stack::ByteSink {
 public:
  // Empty path: no recording. Throws with a sentence.
  explicit RecordingFile(const std::string& path) {
    if (path.empty()) return;
    file_ = std::fopen(path.c_str(), "wbe");
    if (file_ == nullptr) throw std::runtime_error("cannot record to " + path + ": " + std::strerror(errno));
  }
  ~RecordingFile() {
    if (file_ != nullptr && std::fclose(file_) != 0) report();
  }
  RecordingFile(const RecordingFile&) = delete;
  RecordingFile& operator=(const RecordingFile&) = delete;
  bool is_open() const { return file_ != nullptr; }
  void write(ByteSpan bytes) override {
    if (failed_ || std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size()) return;
    report();
  }

 private:
  void report() {
    failed_ = true;
    port::log(LogLevel::error, "the recording ends here: %s", std::strerror(errno));
  }
  std::FILE* file_ = nullptr;
  bool failed_ = false;
};

// Everything between turns that is not the engine's own.
class Housekeeping final : public TurnPart {
 public:
  Housekeeping(Admin& admin, Control& control) : admin_(admin), control_(control) {}
  void on_turn() override {
    admin_.on_turn();
    if (control_.orphan_count() > 0) control_.reap();
  }
  Instant next_deadline() const override { return admin_.next_deadline(); }

 private:
  Admin& admin_;
  Control& control_;
};

// Programs see the interface in their lists and, by its number, with every datagram that came in by it.
void publish(const control::InterfaceInfo& info, stack::LinkIndex link, Engine& engine, ServerIdentity& identity) {
  std::vector<uint32_t>& numbers = engine.context().interface_numbers;
  if (numbers.size() <= link) numbers.resize(link + 1);
  numbers[link] = info.index;
  identity.interfaces.push_back(info);
}

// Makes the foreign servers that the configuration names. Empty, or why it cannot be.
std::string make_servers(const Config& config, std::vector<std::unique_ptr<ForeignServer>>& servers, stack::Config& stack) {
  for (const std::string& name : config.servers) {
    const ForeignKind& kind = *find_foreign(name);
    if (kind.make == nullptr) return "this ferryd was built without the server " + name;
    servers.push_back(kind.make());
    if (servers.back() == nullptr) return "the server " + name + " cannot be had twice";
    if (kind.replaces_tcp) stack.own_tcp = false;
  }
  return {};
}

std::string add_interfaces(const Config& config, Engine& engine, ServerIdentity& identity) {
  stack::Stack& stack = engine.stack();
  Instant now = engine.context().now;
  if (!engine.links().empty() && engine.links()[0]) {
    const link::Link& link = *engine.links()[0];
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
    std::string name = link.name().substr(link.name().find(':') + 1);
    std::memcpy(info.name, name.data(), std::min(name.size(), sizeof info.name - 1));
    std::memcpy(info.mac, can.mac.octets.data(), 6);
    info.prefix_length = config.prefix.length;
    info.address = config.prefix.address.value;
    info.mtu = can.mtu;
    if (auto kernel = link::find_interface(name)) info.index = static_cast<uint32_t>(kernel->index);
    publish(info, *added, engine, identity);
  }
  if (config.loopback) {
    stack::InterfaceConfig i;
    i.prefix = {wire::Ipv4Address::of(127, 0, 0, 1), 8};
    i.mtu = 65535;
    i.loopback = true;
    auto added = stack.add_interface(now, i);
    if (!added) return std::string("the stack refuses the loopback interface: ") + errc_name(added.error());
    control::InterfaceInfo info{};
    std::memcpy(info.name, "lo", 2);
    info.prefix_length = 8;
    info.address = i.prefix.address.value;
    info.mtu = i.mtu;
    info.index = 1;
    publish(info, *added, engine, identity);
  }
  identity.info.region_bytes = config.engine.limits.region_bytes;
  identity.info.interface_count = static_cast<uint32_t>(identity.interfaces.size());
  return {};
}

// Waits until the link has said whether the address is free. Empty, or why we cannot go on.
std::string await_address(const Config& config, Engine& engine, const StopSignals& signals) {
  Host& host = engine.host();
  Instant end = engine.context().now + kProbePatience;
  engine.run([&] { return host.address_state() != Host::AddressState::probing || engine.context().now >= end; });
  if (signals.seen()) return "stopped while asking whether the address is free";
  if (host.address_state() == Host::AddressState::taken)
    return "the address " + to_string(config.prefix.address) + " is already in use on " + config.link + " by " +
           link::to_string(host.holder());
  return {};
}

}  // namespace

int serve(const Config& config) {
  server::Identity identity;
  if (std::string why = find_identity(config.user, config.group, identity); !why.empty()) return fail(why);
  raise_descriptor_limit();
  auto path = ControlPath::create(config.socket_path);
  if (!path) return fail(path.error());
  struct Remover {
    const ControlPath& p;
    ~Remover() { p.remove(); }
  } remover{*path};

  std::vector<std::unique_ptr<link::Link>> links;
  if (!config.link.empty()) {
    link::Options options;
    options.mac = config.mac;
    options.interface_mac = config.interface_mac;
    options.address = config.prefix.address;
    auto opened = link::open(config.link, options);
    if (!opened) return fail(opened.error());
    links.push_back(std::move(*opened));
  }
  stack::Config stack_config;
  stack_config.seed = random_number();
  std::vector<std::unique_ptr<ForeignServer>> servers;  // outlive the engine's stack
  if (std::string why = make_servers(config, servers, stack_config); !why.empty()) return fail(why);
  RecordingFile recording(config.record_path);
  Engine engine(config.engine);
  StopSignals signals(engine);
  stack::Recorder recorder(engine.host(), recording);
  if (recording.is_open()) recorder.start(stack_config);
  stack::Host& stack_host = recording.is_open() ? static_cast<stack::Host&>(recorder) : engine.host();
  auto stack = stack::Stack::create(stack_config, stack_host);
  if (!stack) return fail(std::string("no stack: ") + errc_name(stack.error()));
  if (recording.is_open()) (*stack)->set_observer(&recorder);
  engine.set_stack(*stack);
  for (auto& server : servers)
    if (Status added = (*stack)->add_server(server->server()); !added)
      return fail(std::string("a protocol server is refused: ") + errc_name(added.error()));
  engine.set_links(std::move(links));

  ServerIdentity who;
  who.info.instance = random_number();
  who.info.abi_version = ipc::abi::kVersion;
  who.info.has_gateway = config.gateway ? 1 : 0;
  who.info.server_pid = static_cast<uint32_t>(getpid());
  who.info.serves_loopback = config.loopback;
  who.info.busy_poll = config.engine.busy_poll;
  who.info.client_spin_ns = config.client_spin_us * 1000;
  std::strncpy(who.info.version, kVersion, sizeof who.info.version - 1);
  if (std::string why = add_interfaces(config, engine, who); !why.empty()) return fail(why);

  Calibration calibration = calibrate(std::filesystem::path(config.socket_path).parent_path() / "calibration");
  if (config.reference_bytes != 0) calibration.reference_bytes = config.reference_bytes;
  who.info.reference_bytes = calibration.reference_bytes;

  if (identity.change) path->hand_over(identity.uid, identity.gid);
  if (std::string why = drop_privileges(identity); !why.empty()) return fail(why);
  if (!config.link.empty())
    if (std::string why = await_address(config, engine, signals); !why.empty()) return fail(why);

  Admin admin(engine, calibration);
  Control control(engine.context(), engine.sockets(), std::move(who), admin);
  admin.set_identity(control.identity());
  Housekeeping housekeeping(admin, control);
  engine.listen(path->take_listener(), control, housekeeping);
  port::log(LogLevel::info, "ferryd %s serves %s%s%s on %s", kVersion, config.link.c_str(),
            config.link.empty() || !config.loopback ? "" : " and ", config.loopback ? "127.0.0.0/8" : "",
            config.socket_path.c_str());
  engine.run();
  port::log(LogLevel::info, "stopping");
  engine.shut_down(kStopPatience);
  return 0;
}

}  // namespace ferry::server

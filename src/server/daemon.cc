#include "server/daemon.h"

#include <signal.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "link/open.h"
#include "server/calibration.h"
#include "server/control_path.h"
#include "server/engine_unit.h"
#include "server/privileges.h"
#include "server/version.h"
#include "stack/recording.h"

namespace ferry::server {
namespace {

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

ServerIdentity make_identity(const Config& config) {
  ServerIdentity who;
  who.info.instance = random_number();
  who.info.abi_version = ipc::abi::kVersion;
  who.info.has_gateway = config.gateway ? 1 : 0;
  who.info.server_pid = static_cast<uint32_t>(getpid());
  who.info.serves_loopback = config.loopback;
  who.info.client_spin_ns = config.client_spin_us * 1000;
  who.info.engines = config.engine.count;
  who.info.region_bytes = config.engine.limits.region_bytes;
  std::strncpy(who.info.version, kVersion, sizeof who.info.version - 1);
  return who;
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
    options.gso_max_size = config.gso_max_size;
    auto opened = link::open_spread(config.link, options, config.engine.count);
    if (!opened) return fail(opened.error());
    links = std::move(*opened);
  }
  links.resize(config.engine.count);
  RecordingFile recording(config.record_path);
  Engines all;
  std::vector<std::unique_ptr<EngineUnit>> units;
  for (uint32_t i = 0; i < config.engine.count; ++i) units.push_back(std::make_unique<EngineUnit>(config.engine, i, all));
  Engine& first = units.front()->engine();
  StopSignals signals(first);
  stack::Recorder recorder(first.host(), recording);
  ServerIdentity who = make_identity(config);
  for (auto& unit : units)
    if (std::string why = unit->build(config, random_number(), std::move(links[unit->number()]), recording.is_open() ? &recorder : nullptr, who); !why.empty())
      return fail(why);

  Calibration calibration = calibrate(std::filesystem::path(config.socket_path).parent_path() / "calibration");
  if (config.reference_bytes != 0) calibration.reference_bytes = config.reference_bytes;
  who.info.reference_bytes = calibration.reference_bytes;
  if (config.swap_bytes != 0) calibration.swap_bytes = config.swap_bytes;
  who.info.swap_bytes = calibration.swap_bytes;

  if (identity.change) path->hand_over(identity.uid, identity.gid);
  if (std::string why = drop_privileges(identity); !why.empty()) return fail(why);
  if (!config.link.empty())
    if (std::string why = await_address(config, first, signals); !why.empty()) return fail(why);

  for (auto& unit : units) unit->serve(who, calibration);
  first.listen(path->take_listener());
  port::log(LogLevel::info, "ferryd %s serves %s%s%s on %s", kVersion, config.link.c_str(),
            config.link.empty() || !config.loopback ? "" : " and ", config.loopback ? "127.0.0.0/8" : "",
            config.socket_path.c_str());
  for (size_t i = 1; i < units.size(); ++i) units[i]->start();
  first.run();
  port::log(LogLevel::info, "stopping");
  all.post_to_others(0, [](Engine& engine) { engine.stop(); });
  first.shut_down(kStopPatience);
  for (size_t i = 1; i < units.size(); ++i) units[i]->join();
  return 0;
}

}  // namespace ferry::server

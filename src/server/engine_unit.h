// An engine with everything that belongs to it - stack, link, interfaces, control, the thread - in the order in which it is built.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/admin.h"
#include "server/config.h"
#include "server/foreign.h"
#include "stack/recording.h"

namespace ferry::server {

class EngineUnit {
 public:
  // Enters itself in `all`, which lasts longer. Throws without descriptors.
  EngineUnit(const EngineConfig& config, uint32_t number, Engines& all);
  ~EngineUnit() { join(); }

  Engine& engine() { return engine_; }
  uint32_t number() const { return number_; }

  // Makes the stack, its servers and interfaces. `link`: null without one. `recorder`: null unless everything is recorded. The first engine
  // enters the interfaces in `identity`. Empty, or why it cannot be.
  std::string build(const Config& config, uint64_t seed, std::unique_ptr<link::Link> link, stack::Recorder* recorder,
                    ServerIdentity& identity);
  // Ready for clients.
  void serve(const ServerIdentity& identity, const Calibration& calibration);
  // Runs the engine on a thread of its own until it is stopped, then shuts it down.
  void start();
  void join();

 private:
  // Everything between turns that is not the engine's own.
  struct Housekeeping final : TurnPart {
    explicit Housekeeping(EngineUnit& u) : unit(u) {}
    void on_turn() override;
    Instant next_deadline() const override { return unit.admin_->next_deadline(); }
    EngineUnit& unit;
  };
  std::string make_servers(const Config& config, stack::Config& stack);
  std::string add_interfaces(const Config& config, ServerIdentity* identity);
  std::string add_link(const Config& config, ServerIdentity* identity);
  std::string add_loopback(ServerIdentity* identity);
  void publish(const ipc::control::InterfaceInfo& info, stack::LinkIndex link, ServerIdentity* identity);

  const uint32_t number_;
  std::vector<std::unique_ptr<ForeignServer>> servers_;  // outlive the engine's stack
  Engine engine_;
  std::optional<Admin> admin_;
  std::optional<Control> control_;
  Housekeeping housekeeping_{*this};
  std::thread thread_;
};

}  // namespace ferry::server

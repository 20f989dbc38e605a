// What ferryd is told: settings by name, from the command line and a TOML file alike, checked in one place.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "link/outcome.h"
#include "port/api/log.h"
#include "server/engine.h"
#include "wire/address.h"

namespace ferry::server {

// Name of a setting (a flag without its dashes, a key of the file) to its value or values as text; flags are "true" or "false".
using Settings = std::map<std::string, std::vector<std::string>>;

struct Config {
  std::string link;                           // "packet:veth0"; empty: none
  wire::Ipv4Prefix prefix;                    // own address and network
  std::optional<wire::Ipv4Address> gateway;
  std::optional<wire::MacAddress> mac;
  bool interface_mac = false;                 // --mac interface
  uint32_t gso_max_size = 0;                  // of a packet link's interface; 0: as it is
  bool loopback = false;
  std::vector<std::string> servers;           // foreign protocol servers, by name (foreign.h)
  uint32_t client_spin_us = 35;               // longest spin of clients before they sleep
  std::string socket_path;
  uint64_t reference_bytes = 0;               // output from this size on is referred to; 0: as calibrated
  uint64_t swap_bytes = 0;                    // a page into which so much is received is exchanged; 0: as calibrated
  std::string record_path;                    // empty: not recorded
  std::string user, group;                    // to become; empty: stay
  port::LogLevel log_level = port::LogLevel::info;
  EngineConfig engine;
};

enum class SettingKind { text, list, flag, number };
struct SettingInfo {
  const char* name;
  SettingKind kind;
  const char* value_name;
  const char* help;
};
// Every setting there is, in the order of --help.
const std::vector<SettingInfo>& known_settings();

// Checks everything; the failure is one sentence that names the setting.
link::Outcome<Config> make_config(const Settings& settings);

// Reads a TOML file of settings. Failure: one sentence with file and line.
link::Outcome<Settings> read_config_file(const std::string& path);

// "10.9.0.1" / "10.9.0.1/24".
std::optional<wire::Ipv4Address> parse_ipv4(const std::string& text);
std::optional<wire::Ipv4Prefix> parse_prefix(const std::string& text);
std::string to_string(wire::Ipv4Address a);

}  // namespace ferry::server

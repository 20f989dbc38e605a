#include "server/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "server/version.h"

namespace ferry::server {
namespace {

int wrong_use(const std::string& sentence) {
  std::fprintf(stderr, "ferryd: %s\n", sentence.c_str());
  return 2;
}

}  // namespace

std::variant<Config, int> read_command_line(int argc, char** argv) {
  CLI::App app("ferryd serves network programs from a TCP/IP stack in this process.");
  app.set_version_flag("--version", std::string("ferryd ") + kVersion);
  std::string config_file;
  app.add_option("--config", config_file, "TOML file with the same settings; flags override it")->type_name("FILE");
  std::map<std::string, std::vector<std::string>> values;
  std::map<std::string, bool> flags;
  for (const SettingInfo& s : known_settings()) {
    std::string flag = std::string("--") + s.name;
    if (s.kind == SettingKind::flag) {
      app.add_flag(flag, flags[s.name], s.help);
      continue;
    }
    CLI::Option* option = app.add_option(flag, values[s.name], s.help)->type_name(s.value_name)->type_size(1);
    option->expected(1)->allow_extra_args(false);
    option->multi_option_policy(s.kind == SettingKind::list ? CLI::MultiOptionPolicy::TakeAll : CLI::MultiOptionPolicy::TakeLast);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    return wrong_use(e.what());
  }
  Settings settings;
  if (!config_file.empty()) {
    auto file = read_config_file(config_file);
    if (!file) return wrong_use(file.error());
    settings = *file;
  }
  for (auto& [name, value] : values)
    if (app.count("--" + name) > 0) settings[name] = value;
  for (auto& [name, on] : flags)
    if (app.count("--" + name) > 0) settings[name] = {on ? "true" : "false"};
  auto config = make_config(settings);
  if (!config) return wrong_use(config.error());
  return *config;
}

}  // namespace ferry::server

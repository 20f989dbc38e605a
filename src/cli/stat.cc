// `ferry stat`: every counter of ferryd, one "path value" per line, or the server's JSON as it is.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/admin.h"
#include "cli/command.h"

namespace ferry::cli {
namespace {

struct Options {
  std::string socket;
  std::vector<std::string> prefixes;
  bool json = false;
  bool all = false;
};

bool wanted(const Options& options, const std::string& path) {
  if (options.prefixes.empty()) return true;
  for (const std::string& prefix : options.prefixes) {
    if (path.compare(0, prefix.size(), prefix) == 0) return true;
  }
  return false;
}

// Prints the leaves below `value`. Array members are named by their "name" where they have one.
void print(const Options& options, const nlohmann::json& value, const std::string& path) {
  if (value.is_object()) {
    for (const auto& [name, member] : value.items()) print(options, member, path.empty() ? name : path + "." + name);
  } else if (value.is_array()) {
    size_t index = 0;
    for (const auto& element : value) {
      const bool named = element.is_object() && element.contains("name") && element["name"].is_string();
      print(options, element, path + "[" + (named ? element["name"].get<std::string>() : std::to_string(index)) + "]");
      ++index;
    }
  } else if (wanted(options, path) && (options.all || value != 0)) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    printf("%-48s %s\n", path.c_str(), text.c_str());
  }
}

}  // namespace

void add_stat(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("stat", "Show the counters of ferryd");
  auto options = std::make_shared<Options>();
  add_socket_option(*command, options->socket);
  command->add_option("prefix", options->prefixes, "Only counters whose path begins so, e.g. tcp or drops")
      ->type_name("PREFIX");
  command->add_flag("--json", options->json, "Print JSON");
  command->add_flag("-a,--all", options->all, "Print counters that are zero, too");
  command->callback([options, &status] {
    const std::string text = Admin(options->socket).ask_text("stat");
    const auto document = nlohmann::json::parse(text, nullptr, false);
    if (document.is_discarded()) throw Failure(kFailed, "ferryd's answer is not JSON");
    if (options->json) {
      printf("%s\n", document.dump(2).c_str());
    } else {
      print(*options, document, "");
    }
    status = 0;
  });
}

}  // namespace ferry::cli

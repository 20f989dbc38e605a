// `ferry demo` and `ferry bench`: the scripts of the source tree or of the installation, as commands.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>

#include "cli/command.h"

namespace ferry::cli {
namespace {

// In a build tree this command is build/NAME/bin/ferry; installed it is PREFIX/bin/ferry.
std::string find_script(const std::string& in_source, const std::string& installed) {
  const std::string own = own_directory();
  for (const std::string& candidate : {own + "/../../../" + in_source, own + "/../share/ferry/" + installed}) {
    if (access(candidate.c_str(), R_OK) == 0) return candidate;
  }
  throw Failure(kFailed, "the script " + installed + " did not come with this installation");
}

[[noreturn]] void run_script(const std::string& script, const std::vector<std::string>& rest) {
  std::vector<std::string> words = {"/usr/bin/python3", script, "--programs", own_directory()};
  words.insert(words.end(), rest.begin(), rest.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  throw Failure(kFailed, std::string("cannot start /usr/bin/python3: ") + strerror(errno));
}

}  // namespace

void add_demo(CLI::App& app) {
  auto* command =
      app.add_subcommand("demo", "Run well-known programs over Ferry and over the kernel, and compare (needs root)");
  command->callback([] { run_script(find_script("bench/demo.py", "demo.py"), {}); });
}

void add_bench(CLI::App& app) {
  auto* command = app.add_subcommand("bench", "Measure Ferry against the kernel side by side (needs root)");
  command->prefix_command();
  command->footer(
      "ferry bench [--pairs N] [--seconds S] [--rows NAME…] [--json FILE]: well-known programs.\n"
      "ferry bench passing [--rounds N] [--sizes BYTES…] [--schemes NAME…] [--json FILE] [--plots FOLDER]: how data passes, against the\n"
      "size of a transfer. Both explain themselves with -- --help.");
  command->callback([command] {
    std::vector<std::string> words = command->remaining();
    const bool passing = !words.empty() && words.front() == "passing";
    if (passing) words.erase(words.begin());
    run_script(passing ? find_script("bench/passing.py", "passing.py") : find_script("bench/run.py", "run.py"), words);
  });
}

}  // namespace ferry::cli

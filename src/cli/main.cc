// The ferry command: everything about Ferry that a person types. Dispatches to one file per subcommand.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "cli/command.h"

namespace {

// CLI11 explains wrong use in one sentence; which command's help is worth reading is added here.
int explain(const CLI::App& app, const CLI::ParseError& error) {
  std::string command = "ferry";
  for (const CLI::App* chosen : app.get_subcommands()) command += " " + chosen->get_name();
  std::string sentence = error.what();
  if (const size_t newline = sentence.find('\n'); newline != std::string::npos) sentence.resize(newline);
  while (!sentence.empty() && (sentence.back() == '.' || sentence.back() == ' ')) sentence.pop_back();
  fprintf(stderr, "ferry: %s (see '%s --help')\n", sentence.c_str(), command.c_str());
  return ferry::cli::kUsage;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace ferry::cli;
  int status = 0;
  CLI::App app{"Runs unmodified network programs on a TCP/IP stack that is an ordinary process (ferryd)", "ferry"};
  app.require_subcommand(1);
  // What follows "--" is a program with its own options: not for the parser.
  std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  std::vector<std::string> program;
  if (const auto dashes = std::find(words.begin(), words.end(), "--"); dashes != words.end()) {
    program.assign(dashes + 1, words.end());
    words.erase(dashes, words.end());
  }
  add_run(app, program);
  add_ss(app, status);
  add_stat(app, status);
  add_ping(app, status);
  add_capture(app, status);
  add_relay(app, status);
  add_replay(app, status);
  add_demo(app);
  add_bench(app);
  add_version(app, status);

  try {
    const auto commands = app.get_subcommands([](CLI::App*) { return true; });
    if (!words.empty() && words.front()[0] != '-' &&
        std::none_of(commands.begin(), commands.end(), [&](CLI::App* c) { return c->get_name() == words.front(); })) {
      throw CLI::ParseError("there is no command " + words.front(), kUsage);
    }
    std::reverse(words.begin(), words.end());  // as CLI11 wants them
    app.parse(words);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return explain(app, error);
  } catch (const Failure& failure) {
    fprintf(stderr, "ferry: %s\n", failure.what());
    return failure.status();
  } catch (const std::exception& error) {
    fprintf(stderr, "ferry: %s\n", error.what());
    return kFailed;
  }
  return status;
}

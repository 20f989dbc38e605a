// What every subcommand of `ferry` shares: how it is added, how it fails, how it ends.
// One file per subcommand; main.cc lists them.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace ferry::cli {

// Exit statuses. kUsage as the shell's built-ins have it; kRunFailed, kCannotExecute, kNotFound as env(1) has them.
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kRunFailed = 125;
inline constexpr int kCannotExecute = 126;
inline constexpr int kNotFound = 127;

// Ends the command: main prints "ferry: SENTENCE" and exits with `status`.
class Failure : public std::runtime_error {
 public:
  Failure(int status, const std::string& sentence) : std::runtime_error(sentence), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

// Each adds its subcommand to `app`; when the subcommand was chosen, its callback does the work and sets `status`.
// `program` outlives the parsing: the words after "--".
void add_run(CLI::App& app, const std::vector<std::string>& program);
void add_ss(CLI::App& app, int& status);
void add_stat(CLI::App& app, int& status);
void add_ping(CLI::App& app, int& status);
void add_capture(CLI::App& app, int& status);
void add_relay(CLI::App& app, int& status);
void add_replay(CLI::App& app, int& status);
void add_demo(CLI::App& app);
void add_bench(CLI::App& app);
void add_version(CLI::App& app, int& status);

// --socket PATH, with FERRY_SOCKET and then the built-in path as its default.
void add_socket_option(CLI::App& command, std::string& path);

// "build/release/bin" or "/usr/bin": where this command's own file is. Throws Failure.
std::string own_directory();

}  // namespace ferry::cli

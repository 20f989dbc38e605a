// Owns what the subcommands share (command.h).
#include "cli/command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <climits>
#include <cstdlib>

#include "ipc/control.h"

namespace ferry::cli {

void add_socket_option(CLI::App& command, std::string& path) {
  const char* from_environment = getenv("FERRY_SOCKET");
  path = from_environment != nullptr && *from_environment != '\0' ? from_environment : ipc::control::kDefaultSocketPath;
  command.add_option("--socket", path, "Control socket of ferryd (also FERRY_SOCKET)")
      ->type_name("PATH")
      ->capture_default_str();
}

std::string own_directory() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path));
  if (length <= 0) throw Failure(kFailed, "cannot find this command's own file: /proc/self/exe is not readable");
  const std::string file(path, static_cast<size_t>(length));
  return file.substr(0, file.rfind('/'));
}

}  // namespace ferry::cli

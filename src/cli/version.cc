// `ferry version`: this command's version, and the running ferryd's if there is one.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/admin.h"
#include "cli/command.h"
#include "ipc/abi.h"

namespace ferry::cli {

void add_version(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("version", "Print the versions of this command and of the running ferryd");
  auto socket = std::make_shared<std::string>();
  add_socket_option(*command, *socket);
  command->callback([socket, &status] {
    printf("ferry %s (channel version %u)\n", FERRY_VERSION, ipc::abi::kVersion);
    try {
      const Admin admin(*socket);
      printf("ferryd %s (channel version %u, pid %u)\n", admin.server().version, admin.server().abi_version,
             admin.server().server_pid);
    } catch (const Failure& failure) {
      printf("ferryd: %s\n", failure.what());
    }
    status = 0;
  });
}

}  // namespace ferry::cli

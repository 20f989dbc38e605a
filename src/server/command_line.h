// ferryd's command line: flags, --help, --version, --config.
#pragma once

#include <variant>

#include "server/config.h"

namespace ferry::server {

// The settings of this run, the file's overridden by the flags'; or the exit status when there is nothing to run: 0 after --help
// and --version, 2 after wrong use (one sentence was printed).
std::variant<Config, int> read_command_line(int argc, char** argv);

}  // namespace ferry::server

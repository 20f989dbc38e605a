// ferryd: the protocol servers as an ordinary process. See docs/ferryd.md.
#include <cstdio>
#include <exception>

#include "server/command_line.h"
#include "server/daemon.h"
#include "server/logging.h"

int main(int argc, char** argv) {
  using namespace ferry::server;
  try {
    auto parsed = read_command_line(argc, argv);
    if (const int* status = std::get_if<int>(&parsed)) return *status;
    const Config& config = std::get<Config>(parsed);
    start_logging(config.log_level);
    return serve(config);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "ferryd: %s\n", e.what());
    return 1;
  }
}

#include "server/credentials.h"

#include <linux/capability.h>

#include <cstdlib>
#include <fstream>

namespace ferry::server {

bool may_bind_privileged_ports(pid_t pid, uid_t uid) {
  if (uid == 0) return true;
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("CapEff:", 0) != 0) continue;
    unsigned long long capabilities = std::strtoull(line.c_str() + 7, nullptr, 16);
    return (capabilities >> CAP_NET_BIND_SERVICE & 1) != 0;
  }
  return false;
}

std::string process_name(pid_t pid) {
  std::string name;
  std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
  std::getline(comm, name);
  return name;
}

}  // namespace ferry::server

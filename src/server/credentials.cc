#include "server/credentials.h"

#include <linux/capability.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace ferry::server {
namespace {

std::string proc(const std::string& process, const char* file) { return "/proc/" + process + "/" + file; }

std::string contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Whether its capabilities are of the user namespace that ferryd is in: in one of their own everybody has all of them. Whoever may not look at
// another's namespace compares what ids mean there (user_namespaces(7)): nobody can map all ids of ours without privileges in it.
bool is_in_our_user_namespace(const std::string& process) {
  struct stat theirs, ours;
  if (stat(proc(process, "ns/user").c_str(), &theirs) == 0 && stat("/proc/self/ns/user", &ours) == 0)
    return theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
  const std::string map = contents("/proc/self/uid_map");
  return !map.empty() && contents(proc(process, "uid_map")) == map;
}

}  // namespace

bool may_bind_privileged_ports(pid_t pid, uid_t uid) {
  if (uid == 0) return true;
  const std::string process = std::to_string(pid);
  std::ifstream status(proc(process, "status"));
  unsigned long long capabilities = 0;
  bool same_user = false;
  for (std::string line; std::getline(status, line);) {
    // Real and effective. It may run another program by now, with the privileges of that one's owner.
    if (line.rfind("Uid:", 0) == 0) {
      char* end;
      std::strtoul(line.c_str() + 4, &end, 10);
      same_user = std::strtoul(end, nullptr, 10) == uid;
    } else if (line.rfind("CapEff:", 0) == 0) {
      capabilities = std::strtoull(line.c_str() + 7, nullptr, 16);
    }
  }
  return same_user && (capabilities >> CAP_NET_BIND_SERVICE & 1) != 0 && is_in_our_user_namespace(process);
}

std::string process_name(pid_t pid) {
  std::string name;
  std::ifstream comm(proc(std::to_string(pid), "comm"));
  std::getline(comm, name);
  return name;
}

}  // namespace ferry::server

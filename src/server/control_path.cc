#include "server/control_path.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "ipc/control_socket.h"
#include "port/api/log.h"

namespace ferry::server {
namespace {
constexpr int kBacklog = 512;
}

link::Outcome<ControlPath> ControlPath::create(const std::string& path) {
  using Failure = link::Outcome<ControlPath>;
  ControlPath c;
  c.path_ = path;
  struct stat st{};
  if (lstat(path.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode)) return Failure::failure(path + " exists and is not a socket");
    long probe = ipc::connect_control(path);
    if (probe >= 0) {
      UniqueFd closed(static_cast<int>(probe));
      return Failure::failure("another ferryd serves " + path);
    }
    if (probe != -ECONNREFUSED)
      return Failure::failure("cannot tell whether " + path + " is in use: " + std::strerror(static_cast<int>(-probe)));
    if (unlink(path.c_str()) != 0) return Failure::failure("cannot remove the stale socket " + path + ": " + std::strerror(errno));
    port::log(port::LogLevel::info, "removed the stale socket %s", path.c_str());
  } else if (size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0) {
    std::string directory = path.substr(0, slash);
    if (mkdir(directory.c_str(), 0755) == 0) c.made_directory_ = directory;
  }
  long fd = ipc::listen_control(path, kBacklog);
  if (fd < 0) return Failure::failure("cannot make the control socket " + path + ": " + std::strerror(static_cast<int>(-fd)));
  c.listener_.reset(static_cast<int>(fd));
  if (chmod(path.c_str(), 0666) != 0 || stat(path.c_str(), &st) != 0)
    return Failure::failure("cannot open the control socket " + path + " to other users: " + std::strerror(errno));
  c.device_ = st.st_dev;
  c.inode_ = st.st_ino;
  return c;
}

void ControlPath::hand_over(uid_t uid, gid_t gid) const {
  if (lchown(path_.c_str(), uid, gid) != 0 ||
      (!made_directory_.empty() && lchown(made_directory_.c_str(), uid, gid) != 0))
    port::log(port::LogLevel::warning, "%s will be left behind: %s", path_.c_str(), std::strerror(errno));
}

void ControlPath::remove() const {
  struct stat st{};
  if (lstat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_) unlink(path_.c_str());
}

}  // namespace ferry::server
